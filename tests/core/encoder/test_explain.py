"""The regions' contributions sum to the cosine, exactly, and point at what two images share."""

import numpy as np
import pytest
import torch
from torch import nn

from core.encoder.explain import explain, linear_parts, regions, similarity
from core.encoder.model import Backbone, ProjectionHead, build_backbone
from core.encoder.trained import Trained
from core.errors import MaclError
from core.runs import RunConfig


class Patches(nn.Module):
    """A convolutional map of 16 × 16 pixel patches, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.layer4 = nn.Conv2d(3, 24, 16, stride=16)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer4(images).relu().mean((2, 3)) if self.harsh else self.layer4(images).mean((2, 3))

    harsh = False


def network(backbone: Backbone, size: int = 64) -> Trained:
    config = RunConfig.build("quick", image_size=size, dim=16, hidden=32)
    head = ProjectionHead(backbone.features, 32, 16)
    return Trained(config, backbone.eval(), head.eval(), torch.device("cpu"))


def patches() -> Backbone:
    torch.manual_seed(0)
    return Backbone(Patches(), 24, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def images(seed: int = 0, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (2, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_the_contributions_sum_to_the_cosine_of_the_network_itself(name: str) -> None:
    torch.manual_seed(1)
    trained = network(build_backbone(name))
    first, second = images(2)
    z = trained.head(trained.backbone(trained.pixels(np.stack([first, second])))).detach().double()
    found = explain(trained, first, second)
    assert found.cosine == pytest.approx(float(z[0] @ z[1]), abs=1e-5)
    assert found.first.sum() + found.first_constant == pytest.approx(found.cosine, abs=1e-12)
    assert found.second.sum() + found.second_constant == pytest.approx(found.cosine, abs=1e-12)
    assert found.first.shape == found.second.shape
    assert found.first.shape[0] >= 2


def test_the_other_direction_is_the_same_question() -> None:
    trained = network(patches())
    first, second = images(3)
    there, back = explain(trained, first, second), explain(trained, second, first)
    np.testing.assert_allclose(there.first, back.second, atol=1e-14)
    np.testing.assert_allclose(there.second, back.first, atol=1e-14)
    np.testing.assert_allclose(there.pairs, back.pairs.transpose(2, 3, 0, 1), atol=1e-14)


def test_contributions_are_gradient_times_activation() -> None:
    """Of the product with the other image's embedding, by torch's own differentiation."""
    trained = network(patches())
    pixels = trained.pixels(np.stack(images(4)))
    with torch.no_grad():
        maps = regions(trained.backbone, pixels)
    layers = trained.head.layers.double()
    leaf = maps[0].double().requires_grad_()
    u_a, u_b = layers(leaf.mean((1, 2))), layers(maps[1].double().mean((1, 2)))
    length = (u_a.norm() * u_b.norm()).item()
    (u_a @ u_b.detach() / length).backward()
    expected = (leaf.grad * leaf).sum(0).detach().numpy()
    np.testing.assert_allclose(explain(trained, *images(4)).first, expected, atol=1e-9)


def test_loops_over_positions_say_the_same() -> None:
    rng = np.random.default_rng(5)
    h_a, h_b = rng.standard_normal((3, 2, 7)), rng.standard_normal((2, 4, 7))
    c_a, c_b = rng.standard_normal(7), rng.standard_normal(7)
    found = similarity(h_a, c_a, h_b, c_b)
    u_a = sum(h_a[i, j] for i in range(3) for j in range(2)) + c_a
    u_b = sum(h_b[i, j] for i in range(2) for j in range(4)) + c_b
    norm = np.linalg.norm(u_a) * np.linalg.norm(u_b)
    assert found.cosine == pytest.approx(u_a @ u_b / norm)
    for i in range(3):
        for j in range(2):
            assert found.first[i, j] == pytest.approx(h_a[i, j] @ u_b / norm)
            for k in range(2):
                for m in range(4):
                    assert found.pairs[i, j, k, m] == pytest.approx(h_a[i, j] @ h_b[k, m] / norm)
    np.testing.assert_allclose(found.pairs.sum((2, 3)) + h_a @ c_b / norm, found.first, atol=1e-12)


def test_the_linear_parts_sum_to_what_the_head_gives() -> None:
    torch.manual_seed(6)
    head, maps = ProjectionHead(10, 12, 4).double(), torch.randn(10, 3, 5, dtype=torch.float64)
    h, c = linear_parts(head, maps)
    np.testing.assert_allclose(h.sum((0, 1)) + c, head.layers(maps.mean((1, 2))).detach().numpy(), atol=1e-12)


def test_what_two_images_share_is_where_the_similarity_comes_from() -> None:
    """The same patch at the top left of one and the bottom right of the other, the rest flat grey."""
    trained = network(patches())
    with torch.no_grad():  # a head that keeps its input: the map's own features are compared
        trained.head.layers = nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 24))
        eye = torch.eye(24)
        trained.head.layers[0].weight.copy_(torch.cat([eye, -eye]))
        trained.head.layers[2].weight.copy_(torch.cat([eye, -eye], 1))
        for layer in (0, 2):
            trained.head.layers[layer].bias.zero_()
        trained.backbone.network.layer4.bias.zero_()
    pair = np.full((2, 64, 64, 3), 128, np.uint8)
    patch = np.random.default_rng(7).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    pair[0, :16, :16] = pair[1, 48:, 48:] = patch
    found = explain(trained, *pair)
    assert found.first.argmax() == 0
    assert found.second.argmax() == 15
    assert np.unravel_index(found.pairs.argmax(), found.pairs.shape) == (0, 0, 3, 3)
    assert found.first[0, 0] > 0.9 * found.cosine


def test_a_backbone_that_does_not_average_is_refused() -> None:
    backbone = patches()
    backbone.network.harsh = True
    with pytest.raises(MaclError, match="does more than to average"):
        explain(network(backbone), *images())


def test_a_transformer_is_refused() -> None:
    with pytest.raises(MaclError, match="no map of regions"):
        regions(build_backbone("vit_tiny_patch16_224"), torch.zeros(1, 3, 64, 64))
