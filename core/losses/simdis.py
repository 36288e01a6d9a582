"""Sim-Dis: SupCon ANY with a factor for shared labels and one for labels that the anchor lacks.

References:
    Huang, Long, Luo and Liu, Similarity-dissimilarity loss for multi-label supervised contrastive learning,
    arXiv 2410.13439. No code is public; the reading here is of low confidence.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from core.losses.batch import evaluate
from core.losses.pairs import contrast, positive_share
from core.losses.parameters import Tau


class SimDis(nn.Module):
    """mean_i −(1/|P|) Σ_{p∈P(i)} K^s K^d log softmax_i(s/τ)_p, P(i) = images that share a label with i.

    K^s = |y_i ∩ y_p| / |y_i| and K^d = 1 / (1 + |y_p − y_i|). With position "inside" the product stands
    inside the log, where it only adds the constant −log K: the gradient is then that of SupCon ANY.

    Args:
        classes: Number of labels L.
        tau: Softmax temperature: a smaller one sharpens the contrast between near and far images.
        position: Factors K outside the log weigh a pair; inside it they leave SupCon ANY's gradient.
    """

    def __init__(
        self, classes: int, tau: Tau = 0.3, position: Literal["outside", "inside"] = "outside"
    ) -> None:
        super().__init__()
        self.classes, self.tau, self.position = classes, tau, position

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Loss in nats; z (B, D) unit rows, y (B, L) in {0, 1}. Raises as `core.losses.batch.evaluate`."""
        return evaluate(self, z, y)

    def similarities(self, z: Tensor) -> Tensor:
        """Similarities z·z, (B, D) -> (B, B)."""
        return z @ z.T

    def weights(self, y: Tensor) -> Tensor:
        """Factor of −log p_ia in the loss, (B, L) -> (B, B)."""
        share, k = self._terms(y)
        return share if self.position == "inside" else share.mul_(k)

    def from_similarities(self, s: Tensor, y: Tensor) -> Tensor:
        """The loss of similarities (B, B)."""
        if self.position == "outside":
            return contrast(s / self.tau, self.weights(y))
        share, k = self._terms(y)
        constant = torch.where(share > 0, share * k.log(), 0).sum()
        return contrast(s / self.tau, share) - constant

    def _terms(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """1/(|P(i)|·B) on positives, and K^s K^d; both (B, B)."""
        shared = y @ y.T  # (B, B)
        size = y.sum(1)  # (B,)
        share = positive_share((shared > 0).fill_diagonal_(False).to(y.dtype)).div_(len(y))
        lacking = (1 + size - shared).mul_(size.clamp(min=1)[:, None])  # |y_i| (1 + |y_p − y_i|)
        return share, shared.div_(lacking)
