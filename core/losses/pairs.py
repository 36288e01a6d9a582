"""Label sets of a batch as matrices over pairs, and the one contrastive sum that nearly every loss is.

Everything is O(B²) in time and memory.
"""

import torch
from torch import Tensor


def label_pull(y: Tensor, keys: Tensor | None = None, eps: float = 0.0) -> Tensor:
    """Σ_l 1/(|P_l(i)| + eps) over the labels l that anchor and key share: one product, (B, L) -> (B, B).

    Without keys the keys are the batch itself and P_l leaves the anchor out; with keys (K, L) P_l is all keys
    with label l. A label that no key has adds nothing.
    """
    if keys is None:
        share = y / (y.sum(0) - 1).clamp_(min=1).add_(eps)  # (B, L); every image with l has the same |P_l|
        return (share @ y.T).fill_diagonal_(0)  # (B, B)
    return (y / keys.sum(0).clamp_(min=1).add_(eps)) @ keys.T  # (B, K)


def label_mean(y: Tensor, weighted: bool) -> Tensor:
    """Weight of one (i, l) term: 1/Σ_i|y_i|, or 1/(|y_i|·B) if weighted; (B, L) -> (1, 1) or (B, 1)."""
    if weighted:
        return 1 / (y.sum(1, keepdim=True).clamp_(min=1) * len(y))
    return 1 / y.sum().clamp_(min=1).view(1, 1)


def positive_share(positive: Tensor) -> Tensor:
    """1/|P(i)| for every p in P(i): (B, K) in {0, 1} -> rows that sum to 1, or to 0 without positives."""
    return positive / positive.sum(1, keepdim=True).clamp(min=1)


def contrast(
    logits: Tensor, weights: Tensor, offset: Tensor | None = None, *, self_in: bool = False
) -> Tensor:
    """Σ_ia weights_ia · (−log softmax_i(logits)_a): the sum of a weighted cross-entropy over anchors.

    Args:
        logits: (B, K) s/τ; column i is anchor i itself unless `self_in`.
        weights: (B, K) without gradient, 0 at the anchor itself.
        offset: Added to the logits in the denominator only, broadcast to (B, K).
        self_in: Whether column i stays in anchor i's denominator.
    """
    others = logits if offset is None else logits + offset
    if not self_in:
        others = others.masked_fill(
            torch.eye(*logits.shape, dtype=torch.bool, device=logits.device), -torch.inf
        )
    # not −(weights · log_softmax): that holds one B×B matrix more, and 0 · ∞ at the anchor itself
    return weights.sum(1) @ others.logsumexp(1) - (weights * logits).sum()
