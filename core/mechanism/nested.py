"""MACL with nested comparison sets in numpy: whom a positive is compared with, its weights and forces.

The formulas are those of `core.losses.nested`.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from core.labels import jaccard, overlap_ranks
from core.losses import LOSSES, Value
from core.mechanism.macl import label_pull, pair_terms

Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]


def is_nested(params: Mapping[str, Value]) -> bool:
    """Whether positives are compared only with images that share less."""
    return bool(params["nested"]) and params["target"] != "overlap"


def nested_weights(y: Labels, labels: Labels, params: Mapping[str, Value]) -> Floats:
    """Factor q/B of −log p of each pair, (B, B)."""
    pull = label_pull(y)
    if params["use_w"]:
        pull = pull * pair_terms(y, labels, LOSSES["macl"].check({})).w
    if params["target"] == "overlap":
        pull = pull * np.exp(float(params["alpha"]) * jaccard(y, y))
    total = pull.sum(1, keepdims=True)
    return np.asarray(pull / np.where(total > 0, total * len(y), 1))


def ranks(y: Labels) -> NDArray[np.int32]:
    """Order of each anchor's images by overlap, (B, B): equal overlaps share a rank, 0 is without overlap."""
    a = y.astype(np.int64)
    shared, size = a @ a.T, a.sum(1)
    return np.asarray(overlap_ranks(int(size.max()))[shared, size[:, None] + size - shared])


def compared(y: Labels, i: int) -> NDArray[np.bool_]:
    """Whom anchor i compares each image with as a positive, (B, B): itself, and all that share less with i.

    A row without a shared label is no positive and has nobody in it; column i is empty.
    """
    rank = ranks(y)[i]
    sets = (rank[None, :] < rank[:, None]) | np.eye(len(y), dtype=bool)
    sets[rank == 0], sets[i], sets[:, i] = False, False, False
    return np.asarray(sets)


def nested_forces(s: Floats, y: Labels, w: Floats, tau: float) -> Floats:
    """−∂L/∂s of every pair, (B, B): each positive has a softmax over itself and what shares less."""
    rank, force = ranks(y), np.zeros_like(s)
    for i in range(len(s)):
        order = np.argsort(rank[i], kind="stable")
        order = order[order != i]  # (B−1,)
        force[i, order] = -_anchor(s[i, order] / tau, rank[i, order], w[i, order])[1] / tau
    return force


def nested_optimum(y: Labels, w: Floats, tau: float, anchors: int) -> Floats:
    """Similarities to its positives at which an anchor's loss is smallest, each free in −1 … 1; (R, B).

    Negatives are at −1; nan there. Images of one overlap and one weight are alike, so they move together.

    Args:
        y: (B, L) labels of the batch.
        w: (B, B) from `nested_weights`.
        tau: Temperature.
        anchors: R, the first so many images.
    """
    rank, optimum = ranks(y), np.full((anchors, len(y)), np.nan)
    for i in range(min(anchors, len(y))):
        order = np.argsort(rank[i], kind="stable")
        order = order[order != i]
        if w[i].any():
            optimum[i, order] = _smallest(rank[i, order], w[i, order] / w[i].sum(), tau)
    return optimum


def _smallest(rank: NDArray[np.int32], q: Floats, tau: float) -> Floats:
    """Similarities of one anchor to all others, sorted by rank, at which its loss is smallest; (B−1,)."""
    kinds, kind = np.unique(np.stack([rank, q], axis=1), axis=0, return_inverse=True)  # (K, 2), (B−1,)
    positive = kinds[:, 1] > 0
    bounds = [(-1.0, 1.0) if free else (-1.0, -1.0) for free in positive]

    def loss(s: Floats) -> tuple[float, Floats]:
        value, slope = _anchor(s[kind] / tau, rank, q)
        return value, np.bincount(kind, slope) / tau

    best = minimize(loss, np.where(positive, 0.0, -1.0), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(np.where(positive, best.x, np.nan)[kind])


def _anchor(x: Floats, rank: NDArray[np.int32], q: Floats) -> tuple[float, Floats]:
    """Loss of one anchor and its slope by the logits x of all others, sorted by rank; all (B−1,)."""
    log_sum = np.logaddexp(_before(x, np.searchsorted(rank, rank)), x)  # of each image as a positive
    with np.errstate(divide="ignore"):
        share = np.log(q) - log_sum
    after = _before(share[::-1], len(rank) - np.searchsorted(rank, rank, "right")[::-1])[::-1]
    return float(q @ (log_sum - x)), np.exp(x + after) + q * np.expm1(x - log_sum)


def _before(x: Floats, ends: NDArray[np.int64]) -> Floats:
    """Logarithm of Σ e^x over the first `ends` entries; −∞ for none."""
    return np.concatenate([[-np.inf], np.logaddexp.accumulate(x)])[ends]
