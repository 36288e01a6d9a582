"""MACL's terms for every pair of a batch (eqs. 1 and 2), and eq. 7 as printed.

References:
    Amir and Aptoula, MACL: Multi-Label Adaptive Contrastive Learning loss for remote sensing image retrieval.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.labels import distinct
from core.losses import Value
from core.losses.rarity import anchor_counts, pair_counts

Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]


class PairTerms(NamedTuple):
    """The terms of eqs. 1 and 2 for a batch.

    Attributes:
        f: (B, B) how often the shared labels occur, in images or as a share; 0 where no label is shared.
        h: (B,) how often the anchor's labels occur, likewise.
        J: (B, B) overlap of the label sets.
        w: (B, B) weight of a positive pair; 0 where no label is shared.
        T: (B, B) temperature of row i's comparison with column a.
    """

    f: Floats
    h: Floats
    J: Floats
    w: Floats
    T: Floats


class LabelPart(NamedTuple):
    """What one shared label adds to the attraction of a pair (eq. 8).

    Attributes:
        label: Column of y.
        positives: |P_l(i)|, images of the batch with the label, the anchor left out.
        weight: w_ip / |P_l|.
        pull: w_ip / (T_ip · |P_l|).
    """

    label: int
    positives: int
    weight: float
    pull: float


def pair_terms(y: Labels, labels: Labels, params: Mapping[str, Value]) -> PairTerms:
    """f, h, J, w and T of a batch; w and T as the options leave them.

    Args:
        y: (B, L) labels of the batch in {0, 1}.
        labels: (N, L) labels of the training split, for the counts.
        params: All parameters of MACL, see `core.losses.LOSSES`.
    """
    p = {name: 0.0 if isinstance(value, str) else float(value) for name, value in params.items()}
    a = y.astype(np.float64)  # (B, L)
    shared, size = a @ a.T, a.sum(1)  # (B, B), (B,)
    positive = shared > 0
    f, h = _frequencies(y, labels, shared, size, params)
    J = shared / np.maximum(size[:, None] + size - shared, 1)  # (B, B)
    w = positive / (np.log1p(f) + p["eps"]) if p["use_w"] else positive.astype(np.float64)  # eq. 1
    if p["overlap_weight"]:
        w = w * J
    if p["normalize_w"]:
        pairs = max(1, positive.sum() - positive.diagonal().sum())
        mean = (w.sum() - w.diagonal().sum()) / pairs
        w = w / (mean if mean > 0 else 1)
    if p["use_T"]:
        T = p["tau_scale"] * (np.exp(-p["alpha"] * J) + p["beta"] / np.log1p(h)[:, None])  # eq. 2
    else:
        T = np.full_like(J, p["tau"])
    return PairTerms(f * positive, h, J, w, T)


def label_mean(y: Labels, weighted: bool) -> Floats:
    """Weight of one (i, l) term: 1/Σ_i|y_i|, or 1/(|y_i|·B) if weighted; (B, L) -> (B, 1)."""
    size = y.sum(1, dtype=np.float64)[:, None]  # (B, 1)
    if weighted:
        return np.asarray(1 / (np.maximum(size, 1) * len(y)))
    return np.full_like(size, 1 / max(1, size.sum()))


def label_pull(y: Labels, eps: float = 0.0) -> Floats:
    """Σ_l 1/(|P_l(i)| + eps) over shared labels, 0 at the anchor itself; (B, L) -> (B, B)."""
    a = y.astype(np.float64)
    pull: Floats = (a / (np.maximum(a.sum(0) - 1, 1) + eps)) @ a.T  # (B, B)
    np.fill_diagonal(pull, 0)
    return pull


def label_parts(y: Labels, terms: PairTerms, i: int, p: int) -> list[LabelPart]:
    """The shared labels of anchor i and image p ≠ i, one by one (Fig. 3): their sum is γ_ip Σ_l 1/|P_l|."""
    count = y.sum(0, dtype=np.int64) - 1  # (L,)
    w, T = float(terms.w[i, p]), float(terms.T[i, p])
    return [
        LabelPart(int(label), int(count[label]), w / int(count[label]), w / T / int(count[label]))
        for label in np.flatnonzero(y[i] & y[p])
    ]


def label_shares(y: Labels, gamma: Floats, weighted: bool) -> Floats:
    """Share of each label in the attraction Σ_i Σ_l∈y_i (1/|P_l|) Σ_p γ_ip of a batch; (L,), sums to 1.

    Args:
        y: (B, L) labels.
        gamma: (B, B) w/T of the label-wise loss.
        weighted: Whether every image has the same total weight (Wg-MACL, Wg-MulSupCon).
    """
    a = y.astype(np.float64)
    g = gamma - np.diag(gamma.diagonal())
    per_anchor = a * (g @ a) / np.maximum(a.sum(0) - 1, 1)  # (B, L)
    total = (label_mean(y, weighted) * per_anchor).sum(0)  # (L,)
    return np.asarray(total / total.sum() if total.sum() > 0 else total)


def printed_forces(s: Floats, y: Labels, terms: PairTerms, weighted: bool) -> Floats:
    """Force on each pair if the gradient were eq. 7 as printed, with the repulsion's factor |y_i|; (B, B).

    The gradient of eq. 5 has Σ_l (1/|P_l|) Σ_p w_ip in its place: that is the force of `forces`. Both carry
    the mean over anchors and labels, which eq. 5 leaves out.
    """
    x = s / terms.T
    np.fill_diagonal(x, -np.inf)
    size = y.sum(1, dtype=np.float64)[:, None]  # (B, 1)
    force = (label_pull(y) * terms.w - size * softmax(x)) / terms.T
    return np.asarray(force * label_mean(y, weighted))


def softmax(x: Floats) -> Floats:
    """Softmax of each row; (R, K) -> (R, K)."""
    e = np.exp(x - x.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def _frequencies(
    y: Labels, labels: Labels, shared: Floats, size: Floats, params: Mapping[str, Value]
) -> tuple[Floats, Floats]:
    """Both frequencies, f (B, B) and h (B,), at least one image each."""
    sets, image = distinct(y)  # (S, L), (B,)
    how, rare = str(params["cooccurrence"]), str(params["rarity"])
    f = pair_counts(labels, sets, how).astype(np.float64)[np.ix_(image, image)]  # (B, B)
    h = anchor_counts(labels, sets, rare).astype(np.float64)[image]  # (B,)
    if how == "mean":
        f /= np.maximum(shared, 1)
    elif how == "matrix":
        f /= np.maximum(size[:, None] * size, 1)
    if rare == "mean":
        h /= np.maximum(size, 1)
    unit = len(labels) if params["frequency"] == "share" else 1
    return np.maximum(f, 1) / unit, np.maximum(h, 1) / unit
