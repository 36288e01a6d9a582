"""LBase: SupCon with every pair weighted by the overlap of its label sets.

References:
    Audibert, Gauffre and Amini, Exploring contrastive learning for long-tailed multi-label text
    classification, ECML PKDD 2024.
"""

from torch import Tensor, nn

from core.losses.batch import evaluate
from core.losses.pairs import contrast
from core.losses.parameters import Tau

_EPS = 1e-8  # the published code adds it to every divisor


class LBase(nn.Module):
    """−Σ_i Σ_p w_ip log softmax_i(s/τ)_p / #{i with a positive}, w_ip = J_ip / (Σ_{k≠i} J_ik + 1e-8).

    0 when no two images share a label.

    Args:
        classes: Number of labels L.
        tau: Softmax temperature: a smaller one sharpens the contrast between near and far images.
    """

    def __init__(self, classes: int, tau: Tau = 0.3) -> None:
        super().__init__()
        self.classes, self.tau = classes, tau

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Loss in nats; z (B, D) unit rows, y (B, L) in {0, 1}. Raises as `core.losses.batch.evaluate`."""
        return evaluate(self, z, y)

    def similarities(self, z: Tensor) -> Tensor:
        """Similarities z·z, (B, D) -> (B, B)."""
        return z @ z.T

    def weights(self, y: Tensor) -> Tensor:
        """Factor of −log p_ia in the loss, (B, L) -> (B, B)."""
        shared, size = y @ y.T, y.sum(1)  # (B, B), (B,)
        union = (size[:, None] + size).sub_(shared)  # (B, B)
        j = shared.div_(union.add_(_EPS)).fill_diagonal_(0)  # (B, B)
        total = j.sum(1, keepdim=True)  # (B, 1)
        anchors = (total > 0).sum() + _EPS
        return j.div_((total + _EPS) * anchors)

    def from_similarities(self, s: Tensor, y: Tensor) -> Tensor:
        """The loss of similarities (B, B)."""
        return contrast(s / self.tau, self.weights(y))
