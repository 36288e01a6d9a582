"""Backbones that take any number of bands: pretrained weights as timm adapts them, and the normalisation."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import adapt_input_conv
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision import models

from core.data.augment import augment, view
from core.encoder.model import IMAGENET_MEAN, IMAGENET_STD, Encoder, ProjectionHead, build_backbone
from core.encoder.weights import LITE0
from core.errors import MaclError

SMALL = "mobilenetv3_small_050"
FIRST = {
    "resnet18": "conv1",
    "resnet50": "conv1",
    "resnet10t.c3_in1k": "conv1.0",
    SMALL: "conv_stem",
    LITE0: "conv_stem",
    "vit_tiny_patch16_224": "patch_embed.proj",
    "convnext_atto": "stem.0",
}


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
@pytest.mark.parametrize("name", FIRST)
def test_any_backbone_takes_any_number_of_bands(name: str, channels: int) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, channels=channels)
        assert backbone(torch.empty(2, channels, 64, 64)).shape == (2, backbone.features)
        assert backbone.network.get_submodule(FIRST[name]).weight.shape[1] == channels


@pytest.mark.parametrize("name", FIRST)
def test_weights_for_rgb_are_adapted_as_timm_does_it(name: str, tmp_path) -> None:
    rgb = build_backbone(name).network.state_dict()
    save_file(rgb, tmp_path / "rgb.safetensors")
    first = f"{FIRST[name]}.weight"
    for channels in (1, 2, 4, 13):
        own = build_backbone(name, str(tmp_path / "rgb.safetensors"), channels).network.state_dict()
        expected = adapt_input_conv(channels, rgb[first])
        torch.testing.assert_close(own[first], expected)
        assert all(torch.equal(own[key], rgb[key]) for key in rgb if key != first)


def test_the_shipped_weights_of_lite0_are_adapted() -> None:
    rgb = build_backbone(LITE0, "imagenet").network.conv_stem.weight
    for channels in (4, 1):
        own = build_backbone(LITE0, "imagenet", channels).network.conv_stem.weight
        expected = rgb[:, [0, 1, 2, 0]] * 3 / 4 if channels == 4 else rgb.sum(1, keepdim=True)
        torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("name", ["resnet18", SMALL, LITE0])
def test_bands_that_repeat_rgb_give_the_features_of_rgb(name: str, tmp_path) -> None:
    """Weights and normalisation are repeated alike."""
    torch.manual_seed(0)
    network = build_backbone(name).eval()
    save_file(network.network.state_dict(), tmp_path / "rgb.safetensors")
    six = build_backbone(name, str(tmp_path / "rgb.safetensors"), 6).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(six(images.repeat(1, 2, 1, 1)), network(images), atol=1e-4, rtol=1e-3)


def test_the_normalisation_of_a_single_band_is_the_mean_of_the_three() -> None:
    backbone = build_backbone("resnet18", channels=1)
    assert backbone.mean.item() == pytest.approx(sum(IMAGENET_MEAN) / 3)
    assert backbone.std.item() == pytest.approx(sum(IMAGENET_STD) / 3)


def test_weights_for_these_bands_are_taken_as_they_are(tmp_path) -> None:
    given = build_backbone("resnet18", channels=5).network.state_dict()
    save_file(given, tmp_path / "five.safetensors")
    own = build_backbone("resnet18", str(tmp_path / "five.safetensors"), 5).network.state_dict()
    assert all(torch.equal(own[key], given[key]) for key in given)
    for channels in (3, 4):
        with pytest.raises(
            MaclError, match=rf"shape of conv1.weight \(64, 5, 7, 7\) instead of \(64, {channels}"
        ):
            build_backbone("resnet18", str(tmp_path / "five.safetensors"), channels)


@pytest.mark.parametrize("name", ["resnet18", SMALL])
def test_the_seed_draws_for_rgb_what_it_drew_before(name: str) -> None:
    torch.manual_seed(3)
    own = build_backbone(name, channels=3).network.state_dict()
    torch.manual_seed(3)
    if name == SMALL:
        reference = timm.create_model(name, num_classes=0).state_dict()
    else:
        reference = models.resnet18().state_dict()
    assert all(torch.equal(own[key], reference[key]) for key in own)


def test_every_band_stays_on_its_device() -> None:
    """A forward pass with a tensor left on the CPU raises here, without a GPU."""
    with FakeTensorMode(), torch.device("cuda"):
        encoder = Encoder(build_backbone("resnet18", channels=13), ProjectionHead(512, 16, 8))
        batch = torch.empty(4, 40, 40, 13, dtype=torch.uint8)
        for images in (view(batch, 32), augment(batch, 32, torch.Generator().manual_seed(0))):
            assert images.shape == (4, 13, 32, 32)
            assert encoder(images).shape == (4, 8)
