"""What every loss does around its formula: check the batch, compute in float32 or more, check the result."""

from typing import Protocol

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor


class BatchLoss(Protocol):
    """A loss in two steps, because the force on a pair, −∂L/∂s, needs the similarities as leaves."""

    classes: int

    def similarities(self, z: Tensor) -> Tensor:
        """Inner products of anchors and references; the B images come first in rows and columns."""
        ...

    def from_similarities(self, s: Tensor, y: Tensor) -> Tensor:
        """The loss, a scalar, of those similarities; y (B, L) in their type."""
        ...


def evaluate(loss: BatchLoss, z: Tensor, y: Tensor) -> Tensor:
    """The loss of a batch: z (B, D) unit rows, y (B, L) in {0, 1} -> scalar, float32 (float64 for float64).

    Autocast is switched off inside; else `z @ z.T` and label counts would silently become bfloat16.

    Raises:
        TypeError: If z is not floating point.
        ValueError: If the shapes disagree, B < 2, z is not finite, or y holds anything but 0 and 1.
        FloatingPointError: If the result is not finite.
    """
    z, y = check_batch(z, y, loss.classes, getattr(loss, "prototypes", None))
    value = unchecked(loss, z, y)
    if not is_fake(value) and not value.isfinite():
        raise FloatingPointError(_blame(value, z, getattr(loss, "prototypes", None)))
    return value


def unchecked(loss: BatchLoss, z: Tensor, y: Tensor) -> Tensor:
    """The loss of a batch known to be valid; a result that is not finite is returned as it is.

    Nothing here reads a value, which on a GPU would wait for all earlier work.
    """
    with torch.autocast(z.device.type, enabled=False):
        return loss.from_similarities(loss.similarities(z), y.to(z.dtype))


def add_rows(into: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """`into[index] += rows` in place, adding up repeated indices; returns `into`.

    On CUDA `index_add_` adds in any order, so a run would not repeat to the bit; `index_put_` sorts first.
    """
    if into.is_cuda:
        return into.index_put_((index,), rows, accumulate=True)
    return into.index_add_(0, index, rows)


def check_batch(
    z: Tensor, y: Tensor, classes: int, prototypes: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The batch with z in at least float32 and y in the same type.

    Values are checked with one device synchronisation. Fake tensors have no values: only their shapes,
    types and devices are checked.

    Raises:
        TypeError: If z is not floating point.
        ValueError: If shapes or devices disagree, B < 2, z is not finite, or y holds anything but 0 and 1.
    """
    if z.ndim != 2 or not z.is_floating_point():
        kind = TypeError if z.ndim == 2 else ValueError
        raise kind(f"z: need floating-point rows (B, D), got {z.dtype} of shape {tuple(z.shape)}")
    if len(z) < 2:
        raise ValueError(f"z: need at least 2 images to compare, got {len(z)}")
    if y.shape != (len(z), classes):
        raise ValueError(f"y: need shape {(len(z), classes)}, got {tuple(y.shape)}")
    if y.device != z.device:
        raise ValueError(f"y: need device {z.device} as z has, got {y.device}")
    if prototypes is not None and z.shape[1] != prototypes.shape[1]:
        raise ValueError(f"z: need {prototypes.shape[1]} columns as the prototypes have, got {z.shape[1]}")
    if not is_fake(z):
        finite, binary = z.isfinite().all(), (y == (y != 0)).all()
        if not (finite & binary):
            if not finite:
                bad = (~z.isfinite()).any(dim=1).nonzero().flatten().tolist()  # rows
                raise ValueError(
                    f"z: need finite embeddings, got NaN or infinity in row {bad[0]} ({len(bad)} rows)"
                )
            raise ValueError("y: need only 0 and 1, got other values")
    if z.dtype not in (torch.float32, torch.float64):
        z = z.float()
    return z, y.to(z.dtype)


def is_fake(x: Tensor) -> bool:
    """Whether a tensor has a shape and a device but no values, so that no branch may depend on them."""
    return isinstance(x, FakeTensor)


def _blame(value: Tensor, z: Tensor, prototypes: Tensor | None) -> str:
    if prototypes is not None and not prototypes.isfinite().all():
        return (
            f"need a finite loss, got {value.item()}: the prototypes are not finite (learning rate too high?)"
        )
    largest = z.detach().abs().max().item()
    return (
        f"need a finite loss, got {value.item()}: the temperature is too small for these similarities "
        f"(largest entry of z: {largest:.3g}; need unit rows)"
    )
