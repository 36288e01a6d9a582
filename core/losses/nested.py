"""MACL with nested comparison sets: a positive is compared only with images that share less.

What MACL wants from its temperatures, an order by overlap, follows from the choice of whom a positive is
compared with. The loss is 0 only if every anchor orders all others by the overlap of their label sets.

It is this project's own and related to two published losses. RINCE contrasts ranked sets of positives, each
with all that rank no higher, at a temperature per rank; Rank-N-Contrast contrasts every image with those at
least as far in a label of numbers. Both keep images of the same rank in the denominator. Here the rank
is the overlap of two label sets, images of the same rank are left out, there is one temperature, and the
shared labels share the pull as in MulSupCon.

References:
    Hoffmann, Behrmann, Gall, Brox and Noroozi, Ranking Info Noise Contrastive Estimation: Boosting
    Contrastive Learning via Ranked Positives (RINCE), AAAI 2022.
    Zha, Cao, Son, Yang and Katabi, Rank-N-Contrast: Learning Continuous Representations for Regression,
    NeurIPS 2023.
"""

from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from core.labels import overlap_ranks
from core.losses.batch import add_rows, evaluate, is_fake
from core.losses.macl import MACL
from core.losses.pairs import contrast, label_pull
from core.losses.parameters import Tau

_BLOCK = 1 << 18  # entries of a block of anchors; about ten arrays of that size are held at once


class NestedMACL(nn.Module):
    """(1/B) Σ_i Σ_p −q_ip log(e^{s_ip/τ} / Σ_{a∈A_p(i)} e^{s_ia/τ}), A_p(i) = {p} ∪ {a≠i : J_ia < J_ip}.

    q_ip is m_ip w_ip over its sum over p, m_ip = Σ_{l∈y_i∩y_p} 1/|P_l(i)|, J the overlap of two label sets.
    Images of equal overlap are not compared with each other. An anchor without a positive adds 0 and is
    counted. With A_p(i) = A(i) and w = 1 it is Wg-MulSupCon, for anchors whose every label has a positive.
    With target "overlap" q is ∝ m w e^{αJ} and all others are compared: a cross-entropy that orders by
    overlap through its target, whatever `nested` says.

    Args:
        labels: (N, L) training labels in {0, 1}.
        tau: Softmax temperature: a smaller one sharpens the contrast between near and far images.
        use_w: Weigh a pair by the rarity of its shared labels, as MACL does; off: w = 1.
        nested: Compare a positive only with images that share less; off: with all others.
        target: What shares the pull among positives: their labels, nested (labels); or e^{αJ} besides, all
            others compared (overlap).
        alpha: How much more the target asks for a larger overlap J; without effect on target "labels".
    """

    _ranks: Tensor

    def __init__(
        self,
        labels: NDArray[np.uint8],
        tau: Tau = 0.1,
        use_w: Annotated[bool, Field(title="w")] = False,
        nested: bool = True,
        target: Literal["labels", "overlap"] = "labels",
        alpha: Annotated[float, Field(ge=0, le=10, title="α")] = 6.0,
    ) -> None:
        super().__init__()
        self.classes, self.tau, self.use_w = labels.shape[1], tau, use_w
        self.nested, self.target, self.alpha = nested, target, alpha
        self.macl = MACL(labels, use_T=False) if use_w else None
        ranks = overlap_ranks(int(labels.sum(1).max()))
        self.register_buffer("_ranks", torch.tensor(ranks), persistent=False)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Loss in nats; z (B, D) unit rows, y (B, L) in {0, 1}. Raises as `core.losses.batch.evaluate`."""
        return evaluate(self, z, y)

    def similarities(self, z: Tensor) -> Tensor:
        """Similarities z·z, (B, D) -> (B, B)."""
        return z @ z.T

    def weights(self, y: Tensor) -> Tensor:
        """Factor q_ip/B of −log p_ip in the loss, (B, L) -> (B, B)."""
        pull = label_pull(y)  # (B, B), m_ip
        if self.macl is not None:
            pull.mul_(self.macl.pair_terms(y).w)
        if self.target == "overlap":
            shared, size = y @ y.T, y.sum(1)  # (B, B), (B,)
            union = (size[:, None] + size).sub_(shared).clamp_(min=1)
            pull.mul_(shared.div_(union).mul_(self.alpha).exp_())
        total = pull.sum(1, keepdim=True)  # (B, 1)
        return pull.div_(torch.where(total > 0, total, 1).mul_(len(y)))

    def from_similarities(self, s: Tensor, y: Tensor) -> Tensor:
        """The loss of similarities (B, B)."""
        weights, x = self.weights(y), s / self.tau
        if not self.nested or self.target == "overlap":
            return contrast(x, weights)
        value: Tensor = _NestedContrast.apply(x, self._order(y), weights)
        return value

    def _order(self, y: Tensor) -> Tensor:
        """Rank of each pair's overlap, whole numbers; (B, L) -> (B, B), block by block of anchors."""
        table, order = self._ranks, torch.empty(len(y), len(y), dtype=torch.int32, device=y.device)
        if not is_fake(y) and int(y.sum(1).max()) >= len(table):  # more labels than any training image has
            table = torch.tensor(overlap_ranks(int(y.sum(1).max())), device=y.device)
        rows = max(1, _BLOCK // len(y))
        for start in range(0, len(y), rows):
            block = slice(start, start + rows)
            shared, size = y[block] @ y.T, y.sum(1)  # (B', B), (B,)
            order[block] = table[shared.long(), (size[block, None] + size - shared).long()]
        return order


class _NestedContrast(torch.autograd.Function):
    """Σ_ip weights_ip · (−x_ip + log Σ_{a∈A_p(i)} e^{x_ia}) of logits, ranks and weights (B, B).

    The images of one rank are summed up once per anchor, then added up over the ranks, all as logarithms: at
    τ = 0.01 the terms of one sum lie e^200 apart. The gradient is formed along with the value, block by block
    of anchors; there is no second derivative.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Tensor, weights: Tensor) -> Tensor:
        value = x.new_zeros(())
        grad = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        count = len(x) if is_fake(x) else int(ranks.max()) + 1  # G
        rows = max(1, _BLOCK // max(len(x), count))
        for start in range(0, len(x), rows):
            block = slice(start, start + rows)
            w, rank = weights[block], ranks[block].long()  # (B', B)
            logit = x[block].clone().diagonal_scatter(x.new_full((len(w),), -torch.inf), start)
            below = _before(_sums(logit, rank, count)).gather(1, rank)  # (B', B), images that share less
            log_sum = torch.logaddexp(below, logit)  # (B', B)
            positive = w > 0
            value = value + torch.where(positive, w * (log_sum - logit), 0).sum()
            if grad is None:
                continue
            # an image pushes back in its own sum and in those of all positives that share more
            share = torch.where(positive, w.log() - log_sum, -torch.inf)
            above = _before(_sums(share, rank, count).flip(1)).flip(1).gather(1, rank)  # (B', B)
            own = torch.where(positive, w * (logit - log_sum).expm1_(), 0)
            grad[block] = (logit + above).exp_().add_(own)
        ctx.save_for_backward(grad)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = ctx.saved_tensors
        return upstream * grad, None, None


def _sums(x: Tensor, rank: Tensor, count: int) -> Tensor:
    """Logarithm of Σ e^x of the images of each rank, −∞ without one; two of (B', B) -> (B', G)."""
    flat = (rank + torch.arange(len(x), device=x.device)[:, None] * count).flatten()  # (B'·B,)
    x = x.flatten()
    largest = x.new_full((count * len(rank),), torch.finfo(x.dtype).min).scatter_reduce_(0, flat, x, "amax")
    mass = add_rows(torch.zeros_like(largest), flat, (x - largest[flat]).exp_())
    return mass.log_().add_(largest).view(len(rank), count)


def _before(log_sums: Tensor) -> Tensor:
    """Logarithm of Σ e^x over all smaller ranks, (B', G) -> (B', G)."""
    up_to = log_sums.logcumsumexp(1)
    return torch.cat([torch.full_like(up_to[:, :1], -torch.inf), up_to[:, :-1]], dim=1)
