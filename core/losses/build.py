"""From the description of a loss to its module."""

from collections.abc import Mapping
from importlib import import_module
from inspect import signature

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from core.losses.batch import is_fake
from core.losses.file import build_own
from core.losses.own import text_of
from core.losses.parameters import LossSpec, Value


def build(spec: LossSpec, labels: ArrayLike | Tensor, dim: int, params: Mapping[str, Value]) -> nn.Module:
    """The module for checked parameters; see `core.losses.make_loss`."""
    y = _checked_labels(labels)
    if isinstance(dim, bool) or not isinstance(dim, int | np.integer):
        raise TypeError(f"dim: need an integer, got {dim!r}")
    if dim < 1:
        raise ValueError(f"dim: need at least 1, got {dim}")
    if spec.sha256:
        return build_own(text_of(spec.key), spec, y, int(dim), params)
    file, name = spec.cls.split(".")
    cls = getattr(import_module(f"core.losses.{file}"), name)
    given = {"labels": y, "classes": y.shape[1], "dim": int(dim)}
    wanted = {key: value for key, value in given.items() if key in signature(cls).parameters}
    module: nn.Module = cls(**wanted, **dict(spec.fixed), **params)
    return module


def _checked_labels(labels: ArrayLike | Tensor) -> NDArray[np.uint8]:
    if isinstance(labels, Tensor):
        # a fake tensor has no values: the counts of an unlabelled split stand in for them
        with unset_fake_temporarily():
            labels = np.zeros(labels.shape) if is_fake(labels) else labels.detach().cpu().numpy()
    y = np.asarray(labels)
    if y.ndim != 2 or 0 in y.shape:
        raise ValueError(f"labels: need a matrix (N, L) with N, L ≥ 1, got shape {y.shape}")
    if y.dtype.kind not in "biuf" or not np.isin(y, (0, 1)).all():
        raise ValueError("labels: need only 0 and 1, got other values")
    return y.astype(np.uint8)
