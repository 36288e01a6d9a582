"""From a key to a module: the one place that knows every loss class."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from core.losses.batch import is_fake
from core.losses.lbase import LBase
from core.losses.lmsc import LMsc
from core.losses.lproto import LProto
from core.losses.lreg import LReg
from core.losses.macl import MACL
from core.losses.mulsupcon import MulSupCon
from core.losses.oml import OML
from core.losses.parameters import Value
from core.losses.simdis import SimDis
from core.losses.supcon import SupCon


def build(key: str, labels: ArrayLike | Tensor, dim: int, params: Mapping[str, Value]) -> nn.Module:
    """The module for checked parameters; see `core.losses.make_loss`."""
    y = _checked_labels(labels)
    if isinstance(dim, bool) or not isinstance(dim, int | np.integer):
        raise TypeError(f"dim: need an integer, got {dim!r}")
    if dim < 1:
        raise ValueError(f"dim: need at least 1, got {dim}")
    classes, dim, p = y.shape[1], int(dim), dict[str, Any](params)
    builders: dict[str, Callable[[], nn.Module]] = {
        "supcon_all": lambda: SupCon(classes, positives="all", **p),
        "supcon_any": lambda: SupCon(classes, positives="any", **p),
        "lbase": lambda: LBase(classes, **p),
        "lproto": lambda: LProto(classes, dim, **p),
        "lmsc": lambda: LMsc(classes, dim, **p),
        "oml": lambda: OML(classes, **p),
        "mulsupcon": lambda: MulSupCon(classes, **p),
        "wg_mulsupcon": lambda: MulSupCon(classes, weighted=True, **p),
        "simdis": lambda: SimDis(classes, **p),
        "lreg": lambda: LReg(classes, dim, **p),
        "lworeg": lambda: LReg(classes, dim, regularise=False, **p),
        "macl": lambda: MACL(y, **p),
        "wg_macl": lambda: MACL(y, weighted=True, **p),
    }
    return builders[key]()


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
