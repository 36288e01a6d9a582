"""Which regions of two images carry their similarity: an exact sum over the positions of the feature maps.

Stylianou, Souvenir and Pless, Visualizing Deep Similarity Networks (WACV 2019): if the embedding is an
average over the positions of a convolutional map, the cosine of two images is a sum over positions. Here a
two-layer head follows the average. It is piecewise linear, so on the piece that holds an image

    u = W₂ diag(m) (W₁ f̄ + b₁) + b₂ = Σ_i h_i + c,    h_i = W₂ diag(m) W₁ f_i / n,    m = [W₁ f̄ + b₁ > 0]

holds exactly (this is gradient × activation at the map, with the ReLUs as the image sets them): n positions i
with features f_i and mean f̄. With û = u / |u| the cosine of images a and b is then

    û_a · û_b = Σ_i h_i · û_b / |u_a|  +  c_a · û_b / |u_a|

and likewise over the positions of b. There is no remainder: the contributions of an image's regions, and the
constant c that the biases add whatever the image shows, sum to the cosine.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core import device as devices
from core.encoder.model import Backbone, ProjectionHead
from core.encoder.trained import Trained
from core.errors import MaclError

Floats = NDArray[np.float64]
POOL_ERROR = 1e-3  # of the features' length; above it the backbone does more than average its map


@dataclass(frozen=True, eq=False)
class Explanation:
    """The contributions to the cosine of two images a and b.

    Attributes:
        cosine: û_a · û_b.
        first: (H, W) contribution of each region of a; with `first_constant` they sum to the cosine.
        second: The same for b.
        first_constant: Contribution of the head's biases for a, independent of the region.
        second_constant: The same for b.
        pairs: (H, W, H, W) contribution of each region of a with each region of b.
    """

    cosine: float
    first: Floats
    second: Floats
    first_constant: float
    second_constant: float
    pairs: Floats


def explain(trained: Trained, first: np.ndarray, second: np.ndarray) -> Explanation:
    """Split the cosine of two prepared images (P, P, C) uint8 into contributions, in float64.

    Raises:
        MaclError: If the backbone does not average a map of regions; transformers do not.
    """
    # the caller may be in another autocast
    with torch.inference_mode(), devices.autocast(trained.device, "float32"):
        maps = regions(trained.backbone, trained.pixels(np.stack([first, second])))  # (2, C, H, W)
        (h_a, c_a), (h_b, c_b) = (linear_parts(trained.head, one.cpu().double()) for one in maps)
    return similarity(h_a, c_a, h_b, c_b)


def regions(backbone: Backbone, images: Tensor) -> Tensor:
    """The map (B, C, H, W) whose average over the positions gives the features of the backbone.

    Raises:
        MaclError: If there is no such map.
    """
    network: Any = backbone.network
    pixels = (images - backbone.mean) / backbone.std
    try:
        if hasattr(network, "forward_features"):  # timm
            maps: Tensor = network.forward_features(pixels)
        else:
            maps = _before_pooling(network, pixels)
    except AttributeError as error:
        raise MaclError("this backbone has no map of regions: take a convolutional one") from error
    pooled = backbone(images)
    if maps.ndim != 4 or maps.shape[:2] != pooled.shape:
        raise MaclError("this backbone has no map of regions: take a convolutional one")
    if (maps.mean((2, 3)) - pooled).norm() > POOL_ERROR * pooled.norm():
        raise MaclError(
            "this backbone does more than to average its map, so that regions cannot be told apart"
        )
    return maps


def _before_pooling(network: nn.Module, pixels: Tensor) -> Tensor:
    """The map of a torchvision ResNet."""
    outputs: list[Tensor] = []
    layer = network.get_submodule("layer4")
    hook = layer.register_forward_hook(lambda _module, _given, out: outputs.append(out))
    try:
        network(pixels)
    finally:
        hook.remove()
    return outputs[0]


def linear_parts(head: ProjectionHead, features: Tensor) -> tuple[Floats, Floats]:
    """What each position adds to the embedding before it is scaled to unit length, and the constant.

    Args:
        head: Linear, ReLU, Linear.
        features: (C, H, W) float64.

    Returns:
        h (H, W, D) and c (D,): the head of the averaged features is h.sum((0, 1)) + c.
    """
    w1, b1, w2, b2 = (parameter.detach().cpu().double() for parameter in head.parameters())
    per_position = features.permute(1, 2, 0) @ w1.T  # (H, W, hidden)
    on = (per_position.mean((0, 1)) + b1 > 0).double()  # (hidden,)
    count = features.shape[1] * features.shape[2]
    h = (per_position * on) @ w2.T / count  # (H, W, D)
    c = (b1 * on) @ w2.T + b2  # (D,)
    return h.numpy(), c.numpy()


def similarity(h_a: Floats, c_a: Floats, h_b: Floats, c_b: Floats) -> Explanation:
    """The cosine of Σ h_a + c_a and Σ h_b + c_b as sums over positions; h (H, W, D), c (D,)."""
    u_a, u_b = h_a.sum((0, 1)) + c_a, h_b.sum((0, 1)) + c_b  # (D,)
    length = float(np.linalg.norm(u_a) * np.linalg.norm(u_b))
    return Explanation(
        cosine=float(u_a @ u_b) / length,
        first=h_a @ u_b / length,
        second=h_b @ u_a / length,
        first_constant=float(c_a @ u_b) / length,
        second_constant=float(c_b @ u_a) / length,
        pairs=np.einsum("ijd,kld->ijkl", h_a, h_b) / length,
    )
