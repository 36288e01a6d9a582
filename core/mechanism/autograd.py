"""The force of a loss on every pair of a batch by automatic differentiation, for losses of any form."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import MaclError
from core.losses import LOSSES, make_loss
from core.losses.own import text_of
from core.mechanism.maps import Answer, How

_NONE: How = ""
DIM = 128  # of the embeddings that a loss is told of where there are none


def answer(key: str, params: Mapping[str, Any], batch: Mapping[str, NDArray[Any]]) -> Answer:
    """What a loss does with a batch: in float64 if it can, else in float32.

    Args:
        key: The loss.
        params: All of its parameters.
        batch: As `core.mechanism.ask.batch_path` keeps it.
    """
    if key not in LOSSES:
        text_of(key)  # or it says what to do for a loss that came with a copied run
    dim = next((batch[name].shape[1] for name in ("z", "prototypes") if name in batch), DIM)

    def compute(dtype: torch.dtype) -> Answer:
        torch.manual_seed(0)  # what a loss draws is the same for every place of a slider
        loss = make_loss(key, batch["labels"], dim, **params).to(dtype)
        _set_prototypes(loss, batch.get("prototypes"))
        y = torch.from_numpy(batch["y"]).to(dtype)
        arrays, how = terms(loss, y), _NONE
        if "z" in batch:
            found, how = force(loss, torch.from_numpy(batch["z"]).to(dtype), y)
            arrays |= {} if found is None else {"force": found}
        return Answer({name: array.double().numpy() for name, array in arrays.items()}, how)

    try:
        return compute(torch.float64)
    except Exception:  # about the type; or another one, which float32 meets again and tells
        return compute(torch.float32)


def force(loss: Any, z: Tensor, y: Tensor) -> tuple[Tensor | None, How]:
    """−∂L/∂s of every pair of a batch, (B, B), 0 on the diagonal, and how it was found.

    With the similarities as leaves where the loss can be computed of them ("autograd"); None if it has no
    pairs of images. Else ("pull-back") from −∂L/∂z = M z with the M of least norm: for a loss that sees z
    only through z zᵀ, and rows that are independent, M is F + Fᵀ, F being the force. What it says of a pair
    is shared equally between the two anchors: (M + Mᵀ)/4.
    """
    size = len(z)
    if getattr(loss, "has_similarities", hasattr(loss, "similarities")):
        s = (loss.similarities(z) if hasattr(loss, "similarities") else z @ z.T).detach().requires_grad_()
        gradient = _gradient(loss.from_similarities(s, y), s, "the similarities")
        if s.shape[1] == (y.shape[1] if hasattr(loss, "prototypes") else -1):
            return None, _NONE  # images and prototypes only
        return (-gradient[:size, :size]).fill_diagonal_(0), "autograd"
    z = z.clone().requires_grad_()
    gradient = _gradient(loss(z, y), z, "the embeddings")
    eps = torch.finfo(z.dtype).eps
    m = (-gradient @ torch.linalg.pinv(z.detach(), rtol=eps**0.5)).fill_diagonal_(0)
    m[m.abs() < eps**0.75 * m.abs().max()] = 0  # what rounding leaves of pairs without a force
    return (m + m.T) / 4, "pull-back"


def terms(loss: Any, y: Tensor) -> dict[str, Tensor]:
    """Weights w and temperatures T of all pairs, each (B, B), as far as the loss offers them."""
    if not hasattr(loss, "pair_terms"):
        return {}
    with torch.no_grad():
        given = loss.pair_terms(y)
    given = given._asdict() if hasattr(given, "_asdict") else given
    size, found = len(y), {name: given[name] for name in ("w", "T") if name in given}
    for name, array in found.items():
        if not isinstance(array, Tensor) or array.shape != (size, size):
            got = f"shape {tuple(array.shape)}" if isinstance(array, Tensor) else type(array).__name__
            raise MaclError(f"pair_terms: need {name} as a tensor of shape {(size, size)}, got {got}")
        if not array.isfinite().all() or (name == "T" and (array <= 0).any()):
            raise MaclError(f"pair_terms: need {name} finite{' and above 0' if name == 'T' else ''}")
    return found


def _gradient(value: Tensor, leaf: Tensor, of: str) -> Tensor:
    if value.ndim:
        raise MaclError(f"need a scalar, got shape {tuple(value.shape)}")
    if not value.requires_grad:
        raise MaclError(f"its value does not depend on {of}")
    (gradient,) = torch.autograd.grad(value, leaf, allow_unused=True)
    if gradient is None:
        raise MaclError(f"its value does not depend on {of}")
    if not (value.isfinite() and gradient.isfinite().all()):
        raise MaclError("its value or its gradient is not finite on this batch")
    return gradient


def _set_prototypes(loss: Any, given: NDArray[Any] | None) -> None:
    own = getattr(getattr(loss, "inner", loss), "prototypes", None)
    if given is not None and isinstance(own, Tensor) and own.shape == given.shape:
        own.data = torch.from_numpy(given).to(own)
