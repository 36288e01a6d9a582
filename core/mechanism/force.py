"""Pair weights of the built-in losses, and the force −∂L/∂s on every pair with the similarities as leaves.

All losses but OML are sums of weighted softmax cross-entropies over anchors, so their force has one form: the
weight of a pair minus the anchor's weight times the softmax, over the temperature.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.losses import Value
from core.mechanism.macl import PairTerms, label_mean, label_pull, pair_terms, softmax
from core.mechanism.nested import is_nested, nested_forces, nested_weights

Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]
Params = Mapping[str, Value]

MACL = ("macl", "wg_macl")
WITH_PROTOTYPES = ("lmsc", "lreg", "lworeg")  # columns: the batch, then the prototypes
_EPS = 1e-8
_BLOCK = 1 << 18  # entries of a temporary array of OML


class Factors(NamedTuple):
    """What a loss derives from the labels of a batch.

    Attributes:
        weights: Factor of −log p of each pair in the loss, 0 for a pair that is not positive; (B, K). K is B;
            B+L for losses with prototypes (the last L columns); L for LProto, whose pairs are an image and a
            prototype. For OML, which has no softmax: the factor of the precision at p in the ranking of i.
        T: Temperatures, (B, B), or () if all share one; None for OML.
        terms: f, h, J, w and T of MACL; None for the other losses.
    """

    weights: Floats
    T: Floats | None
    terms: PairTerms | None = None


def written(key: str) -> bool:
    """Whether a loss has its formula here; any other is asked by `core.mechanism.ask`."""
    return key in MACL or key in _WEIGHTS


def factors(key: str, y: Labels, labels: Labels, params: Params) -> Factors:
    """Weights and temperatures of all pairs of a batch.

    Args:
        key: One that is `written`.
        y: (B, L) labels of the batch.
        labels: (N, L) labels of the training split.
        params: All parameters of the loss, see `core.losses.check_params`.
    """
    if key in MACL:
        terms, weighted = pair_terms(y, labels, params), key == "wg_macl"
        if params["use_w"] or params["use_T"]:
            return Factors(terms.w * label_pull(y) * label_mean(y, weighted), terms.T, terms)
        return Factors(terms.w * _mulsupcon(y, weighted), terms.T, terms)
    return Factors(
        _WEIGHTS[key](y, labels, params), np.asarray(float(params["tau"])) if "tau" in params else None
    )


def forces(key: str, s: Floats, y: Labels, params: Params, factors: Factors) -> Floats:
    """−∂L/∂s of every pair: above 0 the loss pulls it together, below 0 it pushes it apart; (B, K).

    Args:
        key: One that is `written`.
        s: (B, K) similarities of the batch to itself and, if the loss has them, to its prototypes.
        y: (B, L) labels of the batch.
        params: All parameters of the loss.
        factors: From `factors`, for the same batch and parameters.

    Raises:
        ValueError: If s has another shape than the weights.
    """
    w, T = factors.weights, factors.T
    if s.shape != w.shape:
        raise ValueError(f"s: need shape {w.shape}, got {s.shape}")
    if T is None:
        return _oml_forces(s, y, params)
    if key == "macl_nested" and is_nested(params):
        return nested_forces(s, y, w, float(params["tau"]))
    if params.get("denominator") == "own":
        return _own_forces(s, w, T)
    x = s / T
    if key != "lproto":
        np.fill_diagonal(x, -np.inf)  # the anchor itself
    if key == "lmsc":
        with np.errstate(divide="ignore"):
            x[:, : len(y)] += np.log(float(params["beta"]))  # images weigh β in the denominator
    p = softmax(x)
    push = w.sum(1, keepdims=True) * p
    if key == "lreg":  # r, a constant of the gradient, takes away the push on a positive
        anchors = _lreg_anchors(y, float(params["alpha"]))
        push -= np.maximum(p / anchors - w, 0) * (w != 0)
    return np.asarray((w - push) / T)


def _own_forces(s: Floats, w: Floats, T: Floats) -> Floats:
    """Every positive has a softmax at its own temperature; positives of equal temperature share one."""
    force = np.zeros_like(s)
    for i in range(len(s)):
        positive = np.flatnonzero(w[i])
        if not len(positive):
            continue
        t, group = np.unique(T[i, positive], return_inverse=True)  # (G,), (P,)
        x = s[i] / t[:, None]  # (G, B)
        x[:, i] = -np.inf
        push = np.bincount(group, w[i, positive]) / t @ softmax(x)  # (B,)
        force[i] = w[i] / T[i] - push
    return force


def _shared(y: Labels) -> Floats:
    a = y.astype(np.float64)
    shared = a @ a.T
    np.fill_diagonal(shared, 0)
    return np.asarray(shared)


def _same_set(y: Labels) -> NDArray[np.bool_]:
    a = y.astype(np.float64)
    size, shared = a.sum(1), a @ a.T
    same = (shared == size) & (shared == size[:, None])
    np.fill_diagonal(same, False)
    return np.asarray(same)


def _equal(positive: NDArray[np.bool_]) -> Floats:
    """1/(|P(i)|·B) on the positives."""
    return np.asarray(positive / (np.maximum(positive.sum(1, keepdims=True), 1) * float(len(positive))))


def _lbase(y: Labels) -> Floats:
    size, shared = y.sum(1, dtype=np.float64), _shared(y)
    J = shared / (size[:, None] + size - shared + _EPS)
    np.fill_diagonal(J, 0)
    total = J.sum(1, keepdims=True)
    anchors = np.float32((total > 0).sum() + _EPS)  # rounded as in the published code
    return np.asarray(J / ((total + _EPS) * float(anchors)))


def _mulsupcon(y: Labels, weighted: bool) -> Floats:
    if weighted:
        return label_pull(y) * label_mean(y, True)
    mean = float(np.float32(label_mean(y, False)[0, 0]))  # as the published code rounds it
    return label_pull(y, _EPS) * mean


def _simdis(y: Labels, outside: bool) -> Floats:
    share = _equal(_shared(y) > 0)
    if not outside:
        return share
    size, shared = y.sum(1, dtype=np.float64), _shared(y)
    return np.asarray(share * shared / ((1 + size - shared) * np.maximum(size, 1)[:, None]))


def _lmsc(y: Labels, alpha: float) -> Floats:
    a = y.astype(np.float64)
    size = a.sum(1)
    overlap_weight = alpha / np.maximum(size[:, None] + size - a @ a.T, 1)  # (B, B), α/|y_i ∪ y_j|
    np.fill_diagonal(overlap_weight, 0)
    prototype = a / (1 + overlap_weight @ a + _EPS)  # (B, L), y_il / N_il
    weights = np.concatenate([overlap_weight * (prototype @ a.T), prototype], axis=1)  # (B, B+L)
    return np.asarray(weights / (np.maximum(size, 1)[:, None] * len(y)))


def _lreg(y: Labels, alpha: float) -> Floats:
    w = _lreg_rows(y, alpha)
    return np.asarray(w[: len(y)] / max(1, (w != 0).any(1).sum()))


def _lreg_anchors(y: Labels, alpha: float) -> int:
    return max(1, int((_lreg_rows(y, alpha) != 0).any(1).sum()))


def _lreg_rows(y: Labels, alpha: float) -> Floats:
    """w_ij of images and prototypes as anchors, without the mean; (B+L, B+L)."""
    a = np.concatenate([y, np.eye(y.shape[1])])  # (B+L, L)
    size = np.maximum(a.sum(1), 1)
    if alpha == 0:
        f, total = np.ones((len(a), len(a))), a.sum(0) - a  # (B+L, L), Σ_{k≠i} y_kl
    else:
        shared = a @ a.T
        f = (shared == a.sum(1)).astype(np.float64) if alpha < 0 else (shared / size) ** alpha
        np.fill_diagonal(f, 0)
        total = f @ a
    w = f * ((a / size[:, None] / (total + _EPS)) @ a.T)
    np.fill_diagonal(w, 0)
    return np.asarray(w)


def _oml_labels(y: Labels, params: Params) -> Floats:
    """Factor of R⁺/R of a pair with label l in the mean of AP_l; (L,)."""
    size = y.sum(0, dtype=np.float64)
    counted = size >= 2
    pairs = size * (len(y) if params["denominator"] == "official" else size)
    return np.asarray(counted / (np.maximum(pairs, 1) * max(1, counted.sum())))


def _oml_forces(s: Floats, y: Labels, params: Params) -> Floats:
    """Derivative of Σ_ip Σ_l c_l y_il y_pl R⁺_l(i,p)/R(i,p), pair by pair, in blocks of pairs."""
    temperature, a = float(params["temperature"]), y.astype(np.float64)
    weighted = a * _oml_labels(y, params)  # (B, L)
    together = weighted @ a.T  # (B, B)
    force = np.zeros_like(s)
    anchors, positives = np.nonzero(together)
    rows = max(1, _BLOCK // len(s))
    for start in range(0, len(anchors), rows):
        i, p = anchors[start : start + rows], positives[start : start + rows]  # (G,)
        g = np.arange(len(i))
        m = (weighted[i] * a[p]) @ a.T  # (G, B)
        x = np.clip((s[i] - s[i, p][:, None]) / temperature, -50, 50)
        sigma = 1 / (1 + np.exp(-x))
        sigma[g, p] = 0
        rank = 1 + sigma.sum(1)
        precision = (together[i, p] + (sigma * m).sum(1)) / rank
        d = (m - precision[:, None]) * (sigma - sigma * sigma) / (rank * temperature)[:, None]  # (G, B)
        d[g, p] = 0
        d[g, p] = -d.sum(1)  # s_ip moves against all the others
        np.add.at(force, i, d)
    return force


_WEIGHTS: dict[str, Callable[[Labels, Labels, Params], Floats]] = {  # MACL's are in `factors`
    "supcon_all": lambda y, labels, params: _equal(_same_set(y)),
    "supcon_any": lambda y, labels, params: _equal(_shared(y) > 0),
    "lbase": lambda y, labels, params: _lbase(y),
    "lproto": lambda y, labels, params: y / (np.maximum(y.sum(1, keepdims=True), 1) * float(len(y))),
    "lmsc": lambda y, labels, params: _lmsc(y, float(params["alpha"])),
    "oml": lambda y, labels, params: (y * _oml_labels(y, params)) @ y.T.astype(np.float64),
    "mulsupcon": lambda y, labels, params: _mulsupcon(y, False),
    "wg_mulsupcon": lambda y, labels, params: _mulsupcon(y, True),
    "simdis": lambda y, labels, params: _simdis(y, params["position"] == "outside"),
    "lreg": lambda y, labels, params: _lreg(y, float(params["alpha"])),
    "lworeg": lambda y, labels, params: _lreg(y, float(params["alpha"])),
    "macl_nested": nested_weights,
}
