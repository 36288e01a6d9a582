"""The encoder (§4.2): a convolutional backbone and a two-layer projection head; rows of unit length."""

import difflib
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.encoder.weights import LITE0, TORCHVISION, load_weights
from core.errors import MaclError

# torchvision's ResNets and most of timm
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
EVALUATED = 256  # images of 96 px at once; of larger ones fewer, in the same memory


def at_once(image_size: int) -> int:
    """How many images of this side in pixels a network embeds at once, without gradients."""
    return max(1, min(EVALUATED, EVALUATED * 96**2 // image_size**2))


class Backbone(nn.Module):
    """A network without classifier, with the normalisation of its input in front.

    Args:
        network: Maps normalised images (B, C, H, W) to features (B, F).
        features: F.
        mean: Mean of each channel, R G B, of pixels in 0..1.
        std: Standard deviation, as `mean`.
        channels: C. For other bands than R, G, B the three are repeated, as the pretrained weights are; for a
            single one their mean.
    """

    def __init__(
        self,
        network: nn.Module,
        features: int,
        mean: Sequence[float],
        std: Sequence[float],
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.network = network
        self.features = features
        self.channels = channels
        # Known from the backbone's name, so not stored with the weights.
        self.register_buffer("mean", _of_each(mean, channels), persistent=False)
        self.register_buffer("std", _of_each(std, channels), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, F) of images (B, C, H, W), floats in 0..1."""
        features: Tensor = self.network((images - self.mean) / self.std)
        return features


class ProjectionHead(nn.Module):
    """Linear, ReLU, Linear, then unit length.

    Args:
        features: F, width of the backbone's output.
        hidden: Width of the layer in between.
        dim: D, the embedding size.
    """

    def __init__(self, features: int, hidden: int = 512, dim: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Unit rows (B, D) of features (B, F); float32 under autocast too: bf16 is too coarse."""
        z: Tensor = self.layers(features)
        return F.normalize(z.float() if z.dtype in (torch.bfloat16, torch.float16) else z, dim=1)


class Encoder(nn.Module):
    """Images to embeddings: backbone, then head."""

    def __init__(self, backbone: Backbone, head: ProjectionHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Unit rows (B, D) of images (B, C, H, W), floats in 0..1."""
        z: Tensor = self.head(self.backbone(images))
        return z


def _of_each(values: Sequence[float], channels: int) -> Tensor:
    """(1, C, 1, 1)."""
    each = [values[i % len(values)] for i in range(channels)] if channels > 1 else [sum(values) / len(values)]
    return torch.tensor(each).view(1, channels, 1, 1)


def build_backbone(name: str, weights: str = "none", channels: int = 3) -> Backbone:
    """The backbone called `name`; random weights are drawn from torch's default generator.

    Args:
        name: "resnet18", "resnet34", "resnet50", "resnet101" (torchvision), or any model of timm; timm's own
            ResNets need their full name, such as "resnet50.a1_in1k".
        weights: "imagenet", "none", or the path of a file; see `core.encoder.weights.load_weights`.
        channels: C, of its input; the first layer of weights for RGB is adapted as timm does it.

    Raises:
        MaclError: If there is no such model, or its weights are unavailable or do not fit.
    """
    backbone = _torchvision(name, channels) if name in TORCHVISION else _timm(name, channels)
    load_weights(backbone.network, name, weights)
    return backbone


def _torchvision(name: str, channels: int) -> Backbone:
    from torchvision.models import get_model  # 1.4 s: only where it is needed

    network = get_model(name)
    features = network.fc.in_features
    network.fc = nn.Identity()
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    return Backbone(network, features, IMAGENET_MEAN, IMAGENET_STD, channels)


def _timm(name: str, channels: int) -> Backbone:
    import timm  # 2 s: only where it is needed

    if not timm.is_model(name):
        backbones = list(dict.fromkeys([*TORCHVISION, *timm.list_models()]))  # some models have both
        near = difflib.get_close_matches(name, backbones, 3) or [LITE0, *TORCHVISION]
        raise MaclError(f"unknown backbone {name!r}: choose {', '.join(near)} or another model of timm")
    config = timm.get_pretrained_cfg(name)
    # Let transformers made for one size take others.
    sizes: dict[str, Any] = (
        {"dynamic_img_size": True} if config is not None and config.fixed_input_size else {}
    )
    bands: dict[str, Any] = {"in_chans": channels} if channels != 3 else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm warns of old model names and takes the new one
        try:
            network: Any = timm.create_model(name, num_classes=0, **bands, **sizes)
        except TypeError:
            network = timm.create_model(name, num_classes=0, **bands)
    features = int(getattr(network, "head_hidden_size", None) or network.num_features)
    if name.partition(".")[0] == LITE0:  # as its weights were trained: (x - 127) / 128 on 0..255
        return Backbone(network, features, [127 / 255] * 3, [128 / 255] * 3, channels)
    pretrained = network.pretrained_cfg
    mean, std = pretrained.get("mean", IMAGENET_MEAN), pretrained.get("std", IMAGENET_STD)
    return Backbone(network, features, mean, std, channels)
