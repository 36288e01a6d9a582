"""Augmentation against torchvision's reference for fixed parameters, and the promises about chance."""

import colorsys
import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms import functional as tv
from torchvision.transforms.functional import InterpolationMode

from core.data import augment as module
from core.data.augment import augment, colour_matrix, crop, recolour, resize_bytes, sampling, view, warp

WHOLE = [0.0, 0.0, 1.0, 1.0]  # centre and size of a window over all of the image


def pixels(count: int = 2, height: int = 24, width: int = 24, seed: int = 0) -> torch.Tensor:
    """Noise, (B, 3, H, W) floats in 60..180: no operation of the tests reaches 0 or 255."""
    return 60 + 120 * torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def smooth(size: int = 64) -> torch.Tensor:
    """Waves (1, 3, S, S): two bilinear samplers of slightly different places agree on them."""
    x = torch.linspace(0, 3, size)
    return (
        120
        + 60 * torch.stack([torch.sin(k * x)[None] * torch.cos(x)[:, None] for k in (1.0, 1.5, 2.0)])[None]
    )


def theta(window=WHOLE, flip_x=1.0, flip_y=1.0, degrees=0.0, aspect=1.0) -> torch.Tensor:
    numbers = (torch.tensor([n]) for n in (flip_x, flip_y, math.radians(degrees)))
    return sampling(torch.tensor([window]), *numbers, aspect)


def noise(count: int = 4, size: int = 20, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- geometry -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "reference"),
    [
        ({}, lambda x: x),
        ({"flip_x": -1.0}, tv.hflip),
        ({"flip_y": -1.0}, tv.vflip),
        ({"flip_x": -1.0, "flip_y": -1.0}, lambda x: tv.rotate(x, 180)),
        ({"degrees": 90.0}, lambda x: tv.rotate(x, 90)),
        ({"degrees": -90.0}, lambda x: tv.rotate(x, -90)),
        ({"flip_x": -1.0, "degrees": 90.0}, lambda x: tv.hflip(tv.rotate(x, 90))),
    ],
)
def test_moves_that_map_pixels_to_pixels(arguments, reference):
    images = pixels(1)
    torch.testing.assert_close(warp(images, theta(**arguments), 24), reference(images), atol=0.01, rtol=0)


def test_a_window_of_whole_pixels_is_torchvisions_crop():
    images = pixels(1, 24, 24)
    top, left, height, width = 4, 10, 12, 12
    window = [(2 * left + width) / 24 - 1, (2 * top + height) / 24 - 1, width / 24, height / 24]
    expected = tv.crop(images, top, left, height, width)
    torch.testing.assert_close(warp(images, theta(window), 12), expected, atol=0.01, rtol=0)


def test_a_resized_window_is_torchvisions_resized_crop_inside():
    images = pixels(1, 24, 24)
    top, left, height, width = 3, 5, 10, 14
    window = [(2 * left + width) / 24 - 1, (2 * top + height) / 24 - 1, width / 24, height / 24]
    expected = tv.resized_crop(images, top, left, height, width, [20, 20], antialias=False)
    ours = warp(images, theta(window), 20)
    # At the crop's rim torchvision has no neighbours any more; we see the image beyond.
    torch.testing.assert_close(ours[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=0.01, rtol=0)


@pytest.mark.parametrize("degrees", [-15.0, 7.0, 15.0])
def test_small_rotations_are_torchvisions(degrees):
    images = smooth()
    expected = tv.rotate(images, degrees, InterpolationMode.BILINEAR)
    ours = warp(images, theta(degrees=degrees), 64)
    torch.testing.assert_close(ours[..., 10:-10, 10:-10], expected[..., 10:-10, 10:-10], atol=0.5, rtol=0)


def test_a_rotation_keeps_its_angles_in_an_oblong_image():
    images = pixels(1, 16, 32)
    middle = theta([0.0, 0.0, 0.5, 1.0], degrees=90.0, aspect=2.0)
    torch.testing.assert_close(warp(images, middle, 16), tv.rotate(images[..., 8:24], 90), atol=0.01, rtol=0)


def test_corners_are_mirrored_not_black():
    white = torch.full((1, 3, 24, 24), 255.0)
    torch.testing.assert_close(warp(white, theta(degrees=15.0), 24), white, atol=0.01, rtol=0)


def test_crops_stay_inside_and_in_their_ranges():
    u = torch.rand(20_000, 4, generator=seeded())
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4)
    x, y, width, height = crop(*torch.cat([u, corners]).unbind(1)).unbind(1)
    assert (x.abs() + width <= 1 + 1e-6).all()
    assert (y.abs() + height <= 1 + 1e-6).all()
    area, ratio = width * height, width / height
    assert (area >= module.AREA[0] - 1e-6).all()
    assert (area <= module.AREA[1] + 1e-6).all()
    assert (ratio.log().abs() <= math.log(module.RATIO) + 1e-5).all()
    assert area.mean() == pytest.approx(sum(module.AREA) / 2, abs=0.01)
    assert ratio.min() < 0.8
    assert ratio.max() > 1.25


# -- colour -------------------------------------------------------------------------------------------------


def recoloured(images: torch.Tensor, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0) -> torch.Tensor:
    one = torch.ones(len(images))
    matrix = colour_matrix(brightness * contrast * one, saturation * one, hue * one)
    return recolour(images, matrix, brightness * (1 - contrast) * one)


@pytest.mark.parametrize(
    ("change", "reference"),
    [
        ({}, lambda x: x),
        ({"brightness": 0.8}, lambda x: tv.adjust_brightness(x, 0.8)),
        ({"contrast": 1.3}, lambda x: tv.adjust_contrast(x, 1.3)),
        ({"saturation": 0.7}, lambda x: tv.adjust_saturation(x, 0.7)),
        ({"saturation": 0.0}, lambda x: tv.rgb_to_grayscale(x, 3)),
        (
            {"brightness": 1.2, "contrast": 0.7, "saturation": 1.3},
            lambda x: tv.adjust_saturation(tv.adjust_contrast(tv.adjust_brightness(x, 1.2), 0.7), 1.3),
        ),
    ],
)
def test_brightness_contrast_and_saturation_are_torchvisions(change, reference):
    images = pixels()
    torch.testing.assert_close(recoloured(images, **change), reference(images / 255), atol=1e-3, rtol=0)


def test_hue_turns_the_chroma_plane():
    colour = (0.5, 0.35, 0.6)
    angle = 0.3
    y, i, q = colorsys.rgb_to_yiq(*colour)
    cos, sin = math.cos(angle), math.sin(angle)
    expected = colorsys.yiq_to_rgb(y, cos * i - sin * q, sin * i + cos * q)
    ours = recoloured(255 * torch.tensor(colour).view(1, 3, 1, 1), hue=angle).flatten()
    assert ours.tolist() == pytest.approx(expected, abs=0.01)  # colorsys rounds its coefficients to 2 digits


def test_hue_keeps_grey_and_luma_and_adds_up():
    one = torch.ones(1)
    turn = colour_matrix(one, one, 0.7 * one)
    torch.testing.assert_close(turn.sum(2), torch.ones(1, 3))
    luma = torch.tensor(module.LUMA)
    torch.testing.assert_close(luma @ turn, luma[None])
    twice = colour_matrix(one, one, 0.5 * one) @ colour_matrix(one, one, 0.2 * one)
    torch.testing.assert_close(twice, turn)
    torch.testing.assert_close(colour_matrix(one, one, 2 * math.pi * one)[0], torch.eye(3), atol=1e-5, rtol=0)


# -- chance -------------------------------------------------------------------------------------------------


def test_the_result_is_a_batch_of_floats_in_range():
    for images in (noise(6), torch.zeros_like(noise()), torch.full_like(noise(), 255)):
        result = augment(images, 16, seeded())
        assert result.shape == (len(images), 3, 16, 16)
        assert result.dtype == torch.float32
        assert result.min() >= 0
        assert result.max() <= 1


def test_an_image_does_not_depend_on_its_neighbours():
    images = noise(6)
    others = images.clone()
    others[[0, 2, 5]] = noise(3, seed=9)
    kept = [1, 3, 4]
    torch.testing.assert_close(augment(images, 16, seeded())[kept], augment(others, 16, seeded())[kept])
    torch.testing.assert_close(augment(images, 16, seeded())[:3], augment(images[:3], 16, seeded()))


def test_equal_images_of_a_batch_are_augmented_differently():
    result = augment(noise(1).expand(8, -1, -1, -1), 16, seeded()).flatten(1)
    distances = torch.cdist(result, result) + torch.eye(8) * 99
    assert distances.min() > 1


def test_the_generator_decides_and_moves_on():
    images, generator = noise(), seeded(5)
    first, second = augment(images, 16, generator), augment(images, 16, generator)
    assert torch.equal(first, augment(images, 16, seeded(5)))
    assert not torch.equal(first, second)
    before = torch.random.get_rng_state()
    augment(images, 16, generator)
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator was used"


def test_every_operation_takes_part(monkeypatch):
    """With all strengths at zero only the flips are left; each of the others changes the images alone."""
    images = noise(64, 16)
    off = {
        "AREA": (1.0, 1.0),
        "ANGLE": 0.0,
        "BRIGHTNESS": 0.0,
        "CONTRAST": 0.0,
        "SATURATION": 0.0,
        "HUE": 0.0,
    }
    on = {name: getattr(module, name) for name in off}
    for name, value in off.items():
        monkeypatch.setattr(module, name, value)
    plain = augment(images, 16, seeded())
    source = images.permute(0, 3, 1, 2) / 255
    flipped = [source, source.flip(3), source.flip(2), source.flip(2, 3)]
    nearest = torch.stack([(plain - f).abs().amax((1, 2, 3)) for f in flipped])  # (4, B)
    assert nearest.amin(0).max() < 1e-4
    assert set(nearest.argmin(0).tolist()) == {0, 1, 2, 3}
    for name, value in on.items():
        monkeypatch.setattr(module, name, value)
        assert (augment(images, 16, seeded()) - plain).abs().amax((1, 2, 3)).median() > 0.02, name
        monkeypatch.setattr(module, name, off[name])


def test_both_layouts_and_autocast_give_the_same():
    images = noise()
    expected = augment(images, 16, seeded())
    assert torch.equal(expected, augment(images.permute(0, 3, 1, 2).contiguous(), 16, seeded()))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(expected, augment(images, 16, seeded()))


@pytest.mark.parametrize("images", [torch.zeros(2, 8, 8, 3), torch.zeros(8, 8, 3, dtype=torch.uint8)])
@pytest.mark.parametrize("function", [lambda x: augment(x, 8, seeded()), lambda x: view(x, 8)])
def test_other_tensors_are_refused(images, function):
    with pytest.raises(ValueError, match="need uint8 images"):
        function(images)


# -- the evaluation view ------------------------------------------------------------------------------------


def test_the_view_is_the_whole_image():
    images = noise(3, 20)
    torch.testing.assert_close(view(images, 20), images.permute(0, 3, 1, 2) / 255)
    expected = tv.resize(images.permute(0, 3, 1, 2).float(), [16, 16], antialias=True) / 255
    torch.testing.assert_close(view(images, 16), expected, atol=1.01 / 255, rtol=0)  # bytes between
    assert torch.equal(view(images, 16), view(images.permute(0, 3, 1, 2).contiguous(), 16))


@pytest.mark.parametrize(
    ("height", "width", "size"), [(20, 20, 16), (160, 160, 128), (64, 97, 31), (9, 9, 8)]
)
def test_other_devices_see_the_very_bytes_of_the_cpu(height, width, size):
    images = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=seeded())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(resize_bytes(images, size) / 255, view(images, size))


@pytest.mark.parametrize("function", [lambda x: augment(x, 16, seeded()), lambda x: view(x, 16)])
def test_nothing_stays_on_the_cpu(function):
    with FakeTensorMode(), torch.device("cuda"):
        result = function(torch.empty(4, 20, 20, 3, dtype=torch.uint8))
        assert result.device.type == "cuda"
        assert result.shape == (4, 3, 16, 16)


# -- any number of bands ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4, 13])
def test_bands_move_as_colours_do(count, monkeypatch):
    for name in ("BRIGHTNESS", "CONTRAST", "SATURATION", "HUE"):
        monkeypatch.setattr(module, name, 0.0)
    images = noise(6)
    bands = images[..., [k % 3 for k in range(count)]]
    expected = augment(images, 16, seeded())[:, [k % 3 for k in range(count)]]
    torch.testing.assert_close(augment(bands, 16, seeded()), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [1, 4, 13])
def test_brightness_and_contrast_are_those_of_grey_images_without_hue_and_saturation(count):
    grey = noise(6)[..., :1]
    expected = augment(grey.expand(-1, -1, -1, 3), 16, seeded())[:, :1]
    found = augment(grey.expand(-1, -1, -1, count), 16, seeded())
    torch.testing.assert_close(found, expected.expand(-1, count, -1, -1), atol=1e-4, rtol=0)


def test_no_band_is_mixed_with_another(monkeypatch):
    monkeypatch.setattr(module, "CONTRAST", 0.0)  # which adds the mean of all bands
    bands = torch.cat([noise(6), torch.zeros(6, 20, 20, 2, dtype=torch.uint8)], -1)
    found = augment(bands, 16, seeded())
    assert (found[:, 3:] == 0).all()
    assert (found[:, :3].amax((2, 3)) > 0.1).all()


def test_the_numbers_that_are_drawn_are_the_same_for_any_bands():
    one, other = seeded(), seeded()
    augment(noise(3), 16, one)
    augment(noise(3)[..., [0, 1, 2, 0, 1]], 16, other)
    assert torch.equal(one.get_state(), other.get_state())


@pytest.mark.parametrize("count", [1, 2, 4, 5, 13])
@pytest.mark.parametrize(("side", "size"), [(20, 20), (40, 32), (37, 50)])
def test_other_devices_see_the_very_bytes_of_any_bands(count, side, size):
    images = torch.randint(0, 256, (2, side, side, count), dtype=torch.uint8, generator=seeded())
    found = view(images, size)
    assert found.shape == (2, count, size, size)
    if side == size:
        assert torch.equal(found, images.permute(0, 3, 1, 2) / 255)
    else:
        assert torch.equal(found, resize_bytes(images.permute(0, 3, 1, 2), size) / 255)
