"""MulSupCon: one supervised contrastive term per label of the anchor.

References:
    Zhang and Wu, Multi-label supervised contrastive learning, AAAI 2024.
"""

from torch import Tensor, nn

from core.losses.batch import evaluate
from core.losses.pairs import contrast, label_mean, label_pull
from core.losses.parameters import Tau


class MulSupCon(nn.Module):
    """Mean over all (anchor, label) pairs, or over anchors of the mean over their labels when `weighted`.

    Every (i, l∈y_i) is an anchor with the positives P_l(i) = {p≠i: l∈y_p}. An empty P_l adds 0 and is still
    counted.

    Args:
        classes: Number of labels L.
        weighted: Give every image the same total weight, however many labels it has.
        tau: Softmax temperature: a smaller one sharpens the contrast between near and far images.
    """

    def __init__(self, classes: int, weighted: bool = False, tau: Tau = 0.3) -> None:
        super().__init__()
        self.classes, self.weighted, self.tau = classes, weighted, tau

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Loss in nats; z (B, D) unit rows, y (B, L) in {0, 1}. Raises as `core.losses.batch.evaluate`."""
        return evaluate(self, z, y)

    def similarities(self, z: Tensor) -> Tensor:
        """Similarities z·z, (B, D) -> (B, B)."""
        return z @ z.T

    def weights(self, y: Tensor) -> Tensor:
        """Factor of −log p_ia in the loss, (B, L) -> (B, B)."""
        return mulsupcon_weights(y, self.weighted)

    def from_similarities(self, s: Tensor, y: Tensor) -> Tensor:
        """The loss of similarities (B, B)."""
        return contrast(s / self.tau, self.weights(y))


def mulsupcon_weights(y: Tensor, weighted: bool, keys: Tensor | None = None) -> Tensor:
    """Factor of −log p_ia, (B, L) -> (B, B), or (B, K) with keys (K, L) other than the batch.

    The unweighted sum rounds as its published code does (1e-8 beside |P_l|, the mean in float32), which
    shows in float64 only, below 1e-7.
    """
    mean = label_mean(y, weighted)  # (1, 1) or (B, 1)
    if weighted:
        return label_pull(y, keys).mul_(mean)
    return label_pull(y, keys, eps=1e-8).mul_(mean.float().to(y.dtype))
