"""LProto: every image against the prototypes alone.

References:
    Gupta et al., Class prototypes based contrastive learning for classifying multi-label and fine-grained
    educational videos, CVPR 2023. The formula is that of Audibert, Gauffre and Amini's code; that it is the
    cited paper's loss is inferred.
"""

from torch import Tensor, nn

from core.losses.batch import evaluate
from core.losses.pairs import contrast
from core.losses.parameters import Tau
from core.losses.prototypes import new_prototypes, unit_rows


class LProto(nn.Module):
    """mean_i −(1/|y_i|) Σ_{l∈y_i} log softmax_l(z_i·c_l/τ), over the L prototypes only.

    An image without labels adds 0 and is still counted.

    Args:
        classes: Number of labels L.
        dim: Embedding size D.
        tau: Softmax temperature: a smaller one sharpens the contrast between near and far images.
    """

    def __init__(self, classes: int, dim: int, tau: Tau = 0.3) -> None:
        super().__init__()
        self.classes, self.tau = classes, tau
        self.prototypes = new_prototypes(classes, dim)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Loss in nats; z (B, D) unit rows, y (B, L) in {0, 1}. Raises as `core.losses.batch.evaluate`."""
        return evaluate(self, z, y)

    def similarities(self, z: Tensor) -> Tensor:
        """Images against prototypes, (B, D) -> (B, L): there is no pair of images in this loss."""
        return z @ unit_rows(self.prototypes, z).T

    def weights(self, y: Tensor) -> Tensor:
        """Factor of −log p_il in the loss, (B, L) -> (B, L)."""
        return y / (y.sum(1, keepdim=True).clamp(min=1) * len(y))

    def from_similarities(self, s: Tensor, y: Tensor) -> Tensor:
        """The loss of similarities (B, L)."""
        return contrast(s / self.tau, self.weights(y), self_in=True)
