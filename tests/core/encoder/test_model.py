"""The encoder: normalisation, sizes, unit rows, seeds, devices."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision import models
from torchvision.transforms.functional import normalize

from core import device as devices
from core.data.augment import augment, view
from core.encoder.model import Encoder, ProjectionHead, build_backbone
from core.errors import MaclError


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", 512), ("resnet34", 512), ("resnet50", 2048), ("resnet101", 2048)]
)
def test_torchvisions_resnets_by_name(name, size):
    with torch.device("meta"):
        backbone = build_backbone(name)
        assert backbone.features == size
        assert backbone(torch.empty(2, 3, 64, 64)).shape == (2, size)
    keys = set(getattr(models, name)().state_dict()) if name == "resnet18" else None
    if keys is not None:
        assert {k.removeprefix("network.") for k in backbone.state_dict()} == keys - {"fc.weight", "fc.bias"}


def test_the_input_is_normalised_inside(images):
    torch.manual_seed(0)
    backbone = build_backbone("resnet18").eval()
    reference = models.resnet18()
    reference.fc = torch.nn.Identity()
    reference.load_state_dict(backbone.network.state_dict())
    with torch.inference_mode():
        expected = reference.eval()(normalize(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
        torch.testing.assert_close(backbone(images), expected)


def test_lite0_gets_the_pixels_it_was_trained_on(images):
    torch.manual_seed(0)
    backbone = build_backbone("tf_efficientnet_lite0").eval()
    assert backbone.features == 1280
    with torch.inference_mode():
        expected = backbone.network((images * 255 - 127) / 128)
        torch.testing.assert_close(backbone(images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "vit_tiny_patch16_224", "resnet10t.c3_in1k"])
def test_any_model_of_timm_by_name(name, images):
    backbone = build_backbone(name).eval()
    with torch.inference_mode():
        assert backbone(images).shape == (3, backbone.features)


def test_an_unknown_backbone_is_answered_with_near_names():
    with pytest.raises(MaclError, match=r"unknown backbone 'resnet-18': choose resnet18"):
        build_backbone("resnet-18")
    with pytest.raises(MaclError, match="tf_efficientnet_lite0"):
        build_backbone("???")


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050"])
def test_the_seed_decides_the_weights(name):
    def built(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        backbone = build_backbone(name)
        encoder = Encoder(backbone, ProjectionHead(backbone.features, 16, 8))
        return torch.cat([p.detach().flatten() for p in encoder.parameters()])

    assert torch.equal(built(3), built(3))
    assert not torch.equal(built(3), built(4))


def test_the_head_is_two_layers_and_unit_rows():
    head = ProjectionHead(20, 12, 6)
    x = torch.randn(5, 20)
    first, _, second = head.layers
    raw = (x @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    torch.testing.assert_close(head(x), raw / raw.norm(dim=1, keepdim=True))
    with torch.autocast("cpu", torch.bfloat16):
        z = head(x)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.norm(dim=1), torch.ones(5))
    assert head.double()(x.double()).dtype == torch.float64


def test_bf16_channels_last_changes_little_and_gradients_arrive(images):
    torch.manual_seed(0)
    backbone = build_backbone("resnet18")
    encoder = Encoder(backbone, ProjectionHead(512))
    expected = encoder(images)
    encoder.to(memory_format=torch.channels_last)
    with devices.autocast(torch.device("cpu"), "bf16"):
        z = encoder(images.contiguous(memory_format=torch.channels_last))
    assert (z * expected).sum(1).min() > 0.99
    z[:, 0].sum().backward()
    for parameter in encoder.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    assert backbone.network.conv1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
@pytest.mark.parametrize("prepare", [lambda x: augment(x, 64, torch.Generator()), lambda x: view(x, 64)])
def test_nothing_stays_on_the_cpu(name, prepare):
    import timm  # noqa: F401  (its import makes tensors, real ones)

    with FakeTensorMode(), torch.device("cuda"):
        backbone = build_backbone(name)
        encoder = Encoder(backbone, ProjectionHead(backbone.features))
        z = encoder(prepare(torch.empty(4, 80, 80, 3, dtype=torch.uint8)))
        assert z.device.type == "cuda"
        assert z.shape == (4, 128)
        assert z.dtype == torch.float32
