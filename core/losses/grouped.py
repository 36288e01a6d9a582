"""The contrastive sum in which every positive has a softmax of its own temperature (MACL's `own`)."""

from typing import Any

import torch
from torch import Tensor

from core.losses.batch import is_fake

_BLOCK = 1 << 22  # entries of a temporary matrix, 16 MiB of float32


def own_contrast(s: Tensor, temperature: Tensor, weights: Tensor) -> Tensor:
    """Σ_ip weights_ip · (−s_ip/T_ip + log Σ_{a≠i} e^{s_ia/T_ip}); all (B, B), weights 0 at the anchor itself.

    An anchor's positives share few temperatures (one per degree of overlap), so the sum is taken once for
    each of them. The gradient is formed along with the value, in blocks; there is no second derivative.
    """
    anchor, group_t, group_w = _groups(temperature, weights)
    push: Tensor = _WeightedLogSumExp.apply(s, anchor, group_t, group_w)
    return push - (weights / temperature * s).sum()


def _groups(temperature: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct (anchor, temperature) pairs and the weight of their positives; three of (G,)."""
    if is_fake(temperature):  # without values nothing can be grouped: every pair is a group
        anchor = torch.arange(len(temperature), device=temperature.device).repeat_interleave(len(temperature))
        return anchor, temperature.flatten(), weights.flatten()
    positive = weights > 0
    t, order = torch.where(positive, temperature, torch.inf).sort(1)  # (B, B), positives first
    first = t.isfinite()
    first[:, 1:] &= t[:, 1:] != t[:, :-1]
    group = first.flatten().cumsum(0).sub_(1).clamp_(min=0)  # (B·B,), other images join with weight 0
    anchor, column = first.nonzero(as_tuple=True)  # (G,)
    group_w = weights.new_zeros(max(1, len(anchor))).index_add_(0, group, weights.gather(1, order).flatten())
    return anchor, t[anchor, column], group_w[: len(anchor)]


class _WeightedLogSumExp(torch.autograd.Function):
    """Σ_g w_g log Σ_{a≠i_g} e^{s_{i_g a}/T_g}."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, anchor: Tensor, t: Tensor, w: Tensor) -> Tensor:
        value = s.new_zeros(())
        grad = torch.zeros_like(s) if ctx.needs_input_grad[0] else None
        rows = max(1, _BLOCK // s.shape[1])
        for start in range(0, len(anchor), rows):
            part = slice(start, start + rows)
            i, t_g, w_g = anchor[part], t[part], w[part]  # (G',)
            x = s[i] / t_g[:, None]  # (G', B)
            x.scatter_(1, i[:, None], -torch.inf)
            lse = x.logsumexp(1)  # (G',)
            value = value + w_g @ lse
            if grad is not None:
                grad.index_add_(0, i, x.sub_(lse[:, None]).exp_().mul_((w_g / t_g)[:, None]))
        ctx.save_for_backward(grad)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = ctx.saved_tensors
        return upstream * grad, None, None, None
