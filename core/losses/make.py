"""From the key of a loss, built-in or a person's own, to its parameters and its module."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.losses.own import spec_of
from core.losses.parameters import Value

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor, nn


def temperature(key: str, params: Mapping[str, object]) -> str:
    """The parameter that plays the part of τ: `tau_scale` of MACL, `temperature` of OML; empty: none."""
    names = [parameter.name for parameter in spec_of(key).parameters]
    if "tau_scale" in names and params.get("use_T", True):
        return "tau_scale"
    return next((name for name in ("tau", "temperature") if name in names), "")


def check_params(key: str, params: Mapping[str, object]) -> dict[str, Value]:
    """All parameters of a loss with the defaults filled in; nothing is converted.

    Raises:
        TypeError: If a parameter is unknown or of another kind.
        ValueError: If the loss is unknown or a value is out of range.
    """
    return spec_of(key).check(params)


def make_loss(key: str, labels: "ArrayLike | Tensor", dim: int, **params: Value) -> "nn.Module":
    """A loss as a module: `loss(z, y)` with z (B, D) unit rows and y (B, L) in {0, 1} is a scalar.

    Args:
        key: One of LOSSES, or that of an own loss.
        labels: (N, L) multi-hot labels of the training split, for label counts.
        dim: Embedding size D, for prototypes (the parameter `.prototypes`, (L, D), where a loss has them).
        params: Parameters of the loss by name.

    Raises:
        TypeError: If a parameter is unknown or of another kind, or `dim` is no integer.
        ValueError: If the loss is unknown, a value out of range, or `labels` no (N, L) matrix of 0 and 1.
        MaclError: If the text of an own loss is not in the folder of losses, or cannot be used.
    """
    checked = check_params(key, params)
    from core.losses.build import build  # torch loads here, not with the table

    return build(spec_of(key), labels, dim, checked)
