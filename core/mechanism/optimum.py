"""The similarities that MACL asks for: those of smallest loss if every similarity could be chosen freely.

For one anchor the loss is convex in its similarities, so the optimum over −1 ≤ s ≤ 1 is exact. A real
embedding has to reconcile all anchors; this shows what each of them pulls towards. With T_ia for every a
(eq. 4) an inner optimum is s_ia = T_ia (log(share of the weight) + C_i): a smaller T for more overlap asks
for a *lower* similarity. With the positive's own T over all of A(i) (`own`) it does not.
"""

import numpy as np
from numpy.typing import NDArray

from core.mechanism.macl import softmax

Floats = NDArray[np.float64]

_STEPS = 100
_RIDGE = 1e-13
_TOLERANCE = 1e-9  # of the gradient, in units of the anchor's weight


def optimal_similarities(w: Floats, T: Floats, own: bool) -> Floats:
    """Optimal similarity of each positive pair, in −1 … 1; (B, B), nan elsewhere.

    Negatives are at −1: every anchor with a positive pushes them away without limit.

    Args:
        w: (R, B) factor of −log p of R anchors' pairs; 0 for negatives and the anchor itself.
        T: (R, B) temperatures.
        own: Whether a positive's softmax uses its own T for all images; else every image has its own.
    """
    s = np.full(w.shape, np.nan)
    for i, (row, t) in enumerate(zip(w, T, strict=True)):
        if (row > 0).sum():
            s[i, row > 0] = _anchor(row, t, own, self_at=i)
    return s


def _anchor(w: Floats, T: Floats, own: bool, self_at: int) -> Floats:
    """Optimum of one anchor's positives: projected Newton steps on a convex function of P variables."""
    positive, negative = w > 0, w == 0
    negative[self_at] = False
    c, t = w[positive] / w.sum(), T[positive]  # (P,)
    if own:
        groups, member = np.unique(t, return_inverse=True)
        mass = np.bincount(member, c).astype(np.float64)  # (G,), weight of the positives of one temperature
        rate = np.repeat(1 / groups[:, None], len(t), axis=1)  # (G, P), factor of s
        away = np.repeat(-1 / groups[:, None], negative.sum(), axis=1)  # (G, A), negatives at s = −1
    else:
        mass, rate, away = np.ones(1), 1 / t[None], -1 / T[negative][None]
    pull = c / t

    def value(s: Floats) -> float:
        x = np.concatenate([rate * s, away], axis=1)  # (G, P+A)
        top = x.max(1)
        return float(mass @ (top + np.log(np.exp(x - top[:, None]).sum(1))) - pull @ s)

    s = np.zeros(len(t))
    now = value(s)
    for _ in range(_STEPS):
        p = softmax(np.concatenate([rate * s, away], axis=1))[:, : len(t)]  # (G, P)
        slope = (rate * p).T @ mass - pull  # (P,)
        free = ~((s >= 1) & (slope < 0) | (s <= -1) & (slope > 0))
        if not free.any() or np.abs(slope[free]).max() < _TOLERANCE:
            break
        q = (rate * p)[:, free]  # (G, F)
        d = (rate[:, free] * q).T @ mass + _RIDGE  # (F,)
        # the curvature is diag(d) − qᵀ diag(mass) q: by Woodbury's identity only G equations are left
        inner = np.diag(1 / mass) - (q / d) @ q.T + _RIDGE * np.eye(len(mass))  # (G, G)
        b = slope[free] / d
        step = np.zeros_like(s)
        step[free] = -b - (np.linalg.solve(inner, q @ b) @ q) / d
        scale = 1.0
        while scale > 1e-10:
            new = np.clip(s + scale * step, -1, 1)
            after = value(new)
            if after <= now + 1e-4 * slope @ (new - s):
                break
            scale /= 2
        else:  # no step goes further down: rounding
            break
        s, now = new, after
    return s
