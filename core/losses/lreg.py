"""LReg: label-wise contrast with prototypes in which no positive is pushed away, and L-W/O-Reg.

References:
    Audibert, Gauffre and Amini, Multi-label contrastive learning: a comprehensive study, 2024.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from core.losses.batch import evaluate
from core.losses.pairs import contrast
from core.losses.parameters import Tau
from core.losses.prototypes import new_prototypes, unit_rows

_EPS = 1e-8  # the published code's guard of a label that no other reference has


class LReg(nn.Module):
    """−Σ_i Σ_j [w_ij log p_ij + r_ij s_ij/τ] / #{i: w_i ≠ 0}.

    Anchors and references are the B images and the L prototypes, each anchor without itself.
    f_ij = (|y_i ∩ y_j|/|y_j|)^α, for α < 0 1[y_j ⊆ y_i]; w_ij = (1/|y_i|) Σ_l y_il y_jl f_ij / Σ_{k≠i} f_ik
    y_kl. Where the softmax p_ij of a positive exceeds its weight, the contrastive term would push it away;
    r_ij = p_ij − w_ij, taken as a constant, cancels that push. A prototype has one label; an image without
    labels is no anchor.

    Args:
        classes: Number of labels L.
        dim: Embedding size D.
        tau: Softmax temperature: a smaller one sharpens the contrast between near and far images.
        alpha: Power of the share of a positive's labels that the anchor has too. 0: no matter; below 0: only
            subsets of the anchor's labels are positives.
        regularise: Whether r is in the loss (LReg) or not (L-W/O-Reg).
    """

    def __init__(
        self,
        classes: int,
        dim: int,
        tau: Tau = 0.3,
        alpha: Annotated[float, Field(title="α")] = 0.0,
        regularise: bool = True,
    ) -> None:
        super().__init__()
        self.classes, self.tau, self.alpha, self.regularise = classes, tau, alpha, regularise
        self.prototypes = new_prototypes(classes, dim)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Loss in nats; z (B, D) unit rows, y (B, L) in {0, 1}. Raises as `core.losses.batch.evaluate`."""
        return evaluate(self, z, y)

    def similarities(self, z: Tensor) -> Tensor:
        """Images and prototypes against themselves, (B, D) -> (B+L, B+L)."""
        rows = torch.cat([z, unit_rows(self.prototypes, z)])  # (B+L, D)
        return rows @ rows.T

    def weights(self, y: Tensor) -> Tensor:
        """Factor of −log p_ij in the loss, (B, L) -> (B+L, B+L)."""
        w = self._row_weights(y)
        return w / _anchors(w)

    def from_similarities(self, s: Tensor, y: Tensor) -> Tensor:
        """The loss of similarities (B+L, B+L)."""
        w = self._row_weights(y)
        logits = s / self.tau
        loss = contrast(logits, w)
        if self.regularise:
            loss = loss - (self.excess(s, w) * logits).sum()
        return loss / _anchors(w)

    @torch.no_grad()
    def excess(self, s: Tensor, w: Tensor) -> Tensor:
        """r_ij = max(p_ij − w_ij, 0)·1[w_ij ≠ 0], a constant of the gradient; (B+L, B+L)."""
        p = (s / self.tau).fill_diagonal_(-torch.inf).softmax(1)
        return p.sub_(w).clamp_(min=0).mul_(w != 0)

    def _row_weights(self, y: Tensor) -> Tensor:
        y = torch.cat([y, torch.eye(self.classes, dtype=y.dtype, device=y.device)])  # (B+L, L)
        size = y.sum(1, keepdim=True).clamp(min=1)  # (B+L, 1)
        if self.alpha == 0:
            total = y.sum(0) - y  # (B+L, L), Σ_{k≠i} y_kl
            f = None
        else:
            shared = y @ y.T  # (B+L, B+L)
            f = (shared == size.T).to(y.dtype) if self.alpha < 0 else shared.div_(size.T).pow_(self.alpha)
            f.fill_diagonal_(0)
            total = f @ y  # (B+L, L), Σ_{k≠i} f_ik y_kl
        w = (y / size / total.add_(_EPS)) @ y.T  # (B+L, B+L)
        return w.fill_diagonal_(0) if f is None else w.mul_(f)


def _anchors(w: Tensor) -> Tensor:
    return (w != 0).any(1).sum().clamp(min=1)
