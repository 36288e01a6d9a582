"""SupCon with two notions of a positive in several labels: the same label set, or any shared label.

References:
    Khosla et al., Supervised contrastive learning, NeurIPS 2020.
"""

from typing import Literal

from torch import Tensor, nn

from core.losses.batch import evaluate
from core.losses.pairs import contrast, positive_share
from core.losses.parameters import Tau


class SupCon(nn.Module):
    """mean_i −(1/|P(i)|) Σ_{p∈P(i)} log softmax_i(s/τ)_p.

    An anchor without positives adds 0 and is still counted in the mean. Two images without labels have the
    same label set, so they are positives of each other in "all".

    Args:
        classes: Number of labels L.
        positives: "all": P(i) has the same label set; "any": it shares a label.
        tau: Softmax temperature: a smaller one sharpens the contrast between near and far images.
    """

    def __init__(self, classes: int, positives: Literal["all", "any"], tau: Tau = 0.3) -> None:
        super().__init__()
        self.classes, self.positives, self.tau = classes, positives, tau

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Loss in nats; z (B, D) unit rows, y (B, L) in {0, 1}. Raises as `core.losses.batch.evaluate`."""
        return evaluate(self, z, y)

    def similarities(self, z: Tensor) -> Tensor:
        """Similarities z·z, (B, D) -> (B, B)."""
        return z @ z.T

    def weights(self, y: Tensor) -> Tensor:
        """Factor of −log p_ia in the loss, (B, L) -> (B, B); rows sum to 1/B, or 0 without positives."""
        match = same_set(y) if self.positives == "all" else share_label(y)
        return positive_share(match.fill_diagonal_(False).to(y.dtype)) / len(y)

    def from_similarities(self, s: Tensor, y: Tensor) -> Tensor:
        """The loss of similarities (B, B)."""
        return contrast(s / self.tau, self.weights(y))


def same_set(y: Tensor, keys: Tensor | None = None) -> Tensor:
    """1[y_i = y_a], (B, L) -> bool (B, B), or (B, K) with keys (K, L)."""
    keys = y if keys is None else keys
    shared = y @ keys.T  # (B, K)
    return (shared == y.sum(1)[:, None]) & (shared == keys.sum(1))


def share_label(y: Tensor, keys: Tensor | None = None) -> Tensor:
    """1[y_i ∩ y_a ≠ ∅], (B, L) -> bool (B, B), or (B, K) with keys (K, L)."""
    return y @ (y if keys is None else keys).T > 0
