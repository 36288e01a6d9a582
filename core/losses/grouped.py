"""The contrastive sum in which every positive has its own softmax at its own temperature (MACL's `own`)."""

from typing import Any

import torch
from torch import Tensor

from core.losses.batch import add_rows, is_fake

_BLOCK = 1 << 18  # entries of a block of anchors; its softmaxes take some ten times that


def own_contrast(s: Tensor, temperature: Tensor, weights: Tensor) -> Tensor:
    """Σ_ip weights_ip · (−s_ip/T_ip + log Σ_{a≠i} e^{s_ia/T_ip}); all (B, B), weights 0 at the anchor itself.

    An anchor's positives share few temperatures, one per degree of overlap: the sum over a is taken once for
    each of them. The gradient is formed along with the value, block by block of anchors; there is no second
    derivative.
    """
    value: Tensor = _OwnContrast.apply(s, temperature, weights)
    return value


class _OwnContrast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, s: Tensor, temperature: Tensor, weights: Tensor) -> Tensor:
        value = s.new_zeros(())
        grad = torch.empty_like(s) if ctx.needs_input_grad[0] else None
        rows = max(1, _BLOCK // len(s))
        for start in range(0, len(s), rows):
            block = slice(start, start + rows)
            pull = weights[block] / temperature[block]  # (B', B)
            anchor, t, w = _groups(temperature[block], weights[block])  # (G,), G distinct (i, T_ip)
            x = s[block][anchor].div_(t[:, None])  # (G, B)
            x.scatter_(1, anchor[:, None] + start, -torch.inf)
            log_sum = x.logsumexp(1)  # (G,)
            value = value + w @ log_sum - (pull * s[block]).sum()
            if grad is not None:
                push = x.sub_(log_sum[:, None]).exp_().mul_((w / t)[:, None])  # (G, B)
                grad[block] = add_rows(pull.neg_(), anchor, push)
        ctx.save_for_backward(grad)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = ctx.saved_tensors
        return upstream * grad, None, None


def _groups(temperature: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row and temperature of each distinct pair, and its positives' weight: (B', B) -> three of (G,)."""
    if is_fake(temperature):  # without values nothing can be grouped: every pair is a group
        row = torch.arange(len(temperature), device=temperature.device)
        return row.repeat_interleave(temperature.shape[1]), temperature.flatten(), weights.flatten()
    t, order = torch.where(weights > 0, temperature, torch.inf).sort(1)  # (B', B), positives first
    first = t.isfinite()
    first[:, 1:] &= t[:, 1:] != t[:, :-1]
    group = first.flatten().cumsum(0).sub_(1).clamp_(min=0)  # (B'·B,), other images join with weight 0
    row, column = first.nonzero(as_tuple=True)  # (G,)
    w = add_rows(weights.new_zeros(max(1, len(row))), group, weights.gather(1, order).flatten())
    return row, t[row, column], w[: len(row)]
