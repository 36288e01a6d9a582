"""Augmentation of §4.2: one affine map and one colour matrix per image, computed per batch on the device.

The paper names the operations but not their strengths; the constants below are ours. Random numbers are drawn
per image on the CPU, so one seed gives the same images on every device, and the result depends on an image's
place in the batch, not on the other images. A change to what is drawn must raise `preview.VERSION`.
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core import device as devices

AREA = (0.4, 1.0)  # of the image that a crop shows, uniform
RATIO = 4 / 3  # width / height of a crop lies between 1 / RATIO and RATIO, log-uniform
ANGLE = 15.0  # degrees, to either side
BRIGHTNESS = 0.3  # factor within 1 ± this
CONTRAST = 0.3
SATURATION = 0.3
HUE = 0.05  # of a full turn, to either side

NUMBERS = 11  # uniform numbers per image

LUMA = (0.299, 0.587, 0.114)  # grey of R, G, B (ITU-R BT.601)
_YIQ = np.array([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])
# A quarter turn of hue: luma to 0, (I, Q) to (-Q, I).
QUARTER_TURN = (np.linalg.inv(_YIQ) @ np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ _YIQ).tolist()


def augment(
    images: Tensor, size: int, generator: torch.Generator, first: int = 0, batch: int | None = None
) -> Tensor:
    """Random resized crop, both flips, small rotation and colour jitter, drawn per image.

    Args:
        images: (B, H, W, C) or (B, 3, H, W) uint8 on any device. Sampling is bilinear, so H and W should be
            between 1 and 2 times `size`; prepared images are 1.25 times it. Other bands than R, G, B have no
            saturation and no hue: those vary in brightness and contrast only.
        size: Side of the result, pixels.
        generator: On the CPU; `NUMBERS` numbers are drawn per image.
        first: Place of the first image in its batch, of which these may be a part.
        batch: Number of images in that batch, for all of which numbers are drawn; by default B.

    Returns:
        (B, C, size, size) float32 in 0..1, on the device of `images`.

    Raises:
        ValueError: If `images` is not such a batch.
    """
    pixels = _channels_first(images)  # (B, C, H, W)
    numbers = torch.rand(batch or len(pixels), NUMBERS, generator=generator, device="cpu")
    u = numbers[first : first + len(pixels)].unbind(1)  # each (B,)
    flip_x, flip_y = (1 - 2 * (n < 0.5).float() for n in u[4:6])
    angle = math.radians(ANGLE) * (2 * u[6] - 1)
    theta = sampling(crop(*u[:4]), flip_x, flip_y, angle, pixels.shape[3] / pixels.shape[2])
    brightness, contrast, saturation = (
        1 + by * (2 * n - 1) for n, by in zip(u[7:10], (BRIGHTNESS, CONTRAST, SATURATION), strict=True)
    )
    hue = 2 * math.pi * HUE * (2 * u[10] - 1)
    gain, towards_mean = brightness * contrast, brightness * (1 - contrast)
    matrix = colour_matrix(gain, saturation, hue)

    columns = [theta.flatten(1), matrix.flatten(1), towards_mean[:, None], gain[:, None]]
    numbers = torch.cat(columns, 1)  # (B, 6 + 9 + 1 + 1)
    numbers = devices.send(numbers, pixels.device)  # all in one copy
    with torch.autocast(pixels.device.type, enabled=False):  # bf16 is too coarse for colours and positions
        warped = warp(pixels.float(), numbers[:, :6].view(-1, 2, 3), size)
        if pixels.shape[1] != 3:
            return brighten(warped, numbers[:, 16], numbers[:, 15])
        return recolour(warped, numbers[:, 6:15].view(-1, 3, 3), numbers[:, 15])


def view(images: Tensor, size: int) -> Tensor:
    """The evaluation view: the whole image, resized with antialiasing to the same bytes on every device.

    Args:
        images: (B, H, W, C) or (B, 3, H, W) uint8 on any device.
        size: Side of the result, pixels.

    Returns:
        (B, C, size, size) float32 in 0..1, on the device of `images`.

    Raises:
        ValueError: If `images` is not such a batch.
    """
    pixels = _channels_first(images)
    if pixels.shape[2:] != (size, size):
        if pixels.device.type == "cpu":  # only there torch resizes bytes, five times faster than floats
            pixels = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
        else:
            pixels = resize_bytes(pixels, size)
    return pixels.float() / 255


def resize_bytes(pixels: Tensor, size: int) -> Tensor:
    """Resize bytes (B, C, H, W) on any device as torch does on a CPU: bilinear with antialiasing.

    Floats without the rounding in between would give other pixels, which matter to a frozen backbone: an
    embedding would depend on the device that computed it.

    Returns:
        (B, C, size, size) float32, whole numbers in 0..255.
    """
    with torch.autocast(pixels.device.type, enabled=False):
        (weights_x, unit_x), (weights_y, unit_y) = (
            _byte_weights(length, size) for length in pixels.shape[:1:-1]
        )
        across, down = (devices.send(torch.from_numpy(w), pixels.device) for w in (weights_x, weights_y))
        rows = ((pixels.float() @ across.T + unit_x // 2) / unit_x).floor()  # (B, C, H, size)
        return ((down @ rows + unit_y // 2) / unit_y).floor()


@cache
def _byte_weights(length: int, size: int) -> tuple[np.ndarray, int]:
    """Weights (size, length) of a triangle filter as whole numbers, and the number that stands for 1.

    As in torch and Pillow, as fine as 16 bits allow. Sums of products with bytes are exact in float32.
    """
    scale = length / size
    support = max(scale, 1.0)
    centre = scale * (np.arange(size) + 0.5)[:, None]  # (size, 1)
    first, last = np.floor(centre - support + 0.5), np.floor(centre + support + 0.5)
    pixel = np.arange(length)  # (length,)
    weights = (1 - np.abs(pixel - centre + 0.5) / support).clip(0) * ((pixel >= first) & (pixel < last))
    weights /= weights.sum(1, keepdims=True)
    bits = max(n for n in range(23) if int(0.5 + weights.max() * (1 << n)) < 1 << 15)
    return np.floor(weights * (1 << bits) + 0.5).astype(np.float32), 1 << bits


def crop(area: Tensor, ratio: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Windows (B, 4) of random crops: centre x, y in -1..1 and width, height in 0..1 of the image.

    Area uniform in `AREA`; log of the aspect ratio uniform in what `RATIO` and the image allow for that area
    (torchvision draws again instead); position uniform among those inside. All arguments are uniform numbers
    (B,) in 0..1.
    """
    share = AREA[0] + (AREA[1] - AREA[0]) * area
    widest = (-share.log()).clamp(max=math.log(RATIO))
    half_log = widest * (ratio - 0.5)
    width, height = share.sqrt() * half_log.exp(), share.sqrt() * (-half_log).exp()
    return torch.stack([(1 - width) * (2 * x - 1), (1 - height) * (2 * y - 1), width, height], 1)


def sampling(window: Tensor, flip_x: Tensor, flip_y: Tensor, angle: Tensor, aspect: float = 1.0) -> Tensor:
    """Affine maps (B, 2, 3) from places in the result to places in the image, both in -1..1.

    Args:
        window: (B, 4) as `crop` gives it; it is turned about its own centre.
        flip_x: (B,) 1, or -1 to mirror left and right.
        flip_y: (B,) the same for top and bottom.
        angle: (B,) radians; positive turns what is seen counterclockwise.
        aspect: Width / height of the image in pixels.
    """
    x, y, width, height = window.unbind(1)
    cos, sin = angle.cos(), angle.sin()
    across = torch.stack([width * flip_x * cos, -height * flip_y * sin / aspect, x], 1)
    down = torch.stack([width * flip_x * sin * aspect, height * flip_y * cos, y], 1)
    return torch.stack([across, down], 1)


def warp(pixels: Tensor, theta: Tensor, size: int) -> Tensor:
    """Bilinear samples (B, C, size, size) of float `pixels` (B, C, H, W); mirrored beyond the border."""
    steps = (torch.arange(size, device=pixels.device, dtype=torch.float32) * 2 + 1) / size - 1  # (size,)
    a = theta[:, None, None]  # (B, 1, 1, 2, 3)
    grid = a[..., 0] * steps[:, None] + (a[..., 1] * steps[:, None, None] + a[..., 2])  # (B, size, size, 2)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def colour_matrix(gain: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Matrices (B, 3, 3) on R, G, B: `gain` (B,), then `saturation` (B,), then `hue` (B,) in radians.

    Saturation and hue are length and direction of a colour's difference from its grey, so both leave grey
    pixels and luma as they are (hue turns the I-Q plane of YIQ).
    """
    grey = torch.tensor([LUMA] * 3, device=gain.device)
    quarter = torch.tensor(QUARTER_TURN, device=gain.device)
    chroma = torch.eye(3, device=gain.device) - grey
    gain, saturation, hue = (n[:, None, None] for n in (gain, saturation, hue))
    return gain * (grey + saturation * (hue.cos() * chroma + hue.sin() * quarter))


def recolour(pixels: Tensor, matrix: Tensor, towards_mean: Tensor) -> Tensor:
    """Colours `matrix` · pixel + `towards_mean` · (mean grey of the image), from 0..255 to 0..1, clipped.

    Args:
        pixels: (B, 3, H, W) floats in 0..255.
        matrix: (B, 3, 3).
        towards_mean: (B,), the share of mean grey that contrast adds to each channel.
    """
    flat = pixels.flatten(2)  # (B, 3, H·W)
    luma = devices.send(torch.tensor(LUMA, device="cpu"), pixels.device)
    grey = flat.mean(2) @ luma  # (B,)
    offset = (towards_mean * grey / 255)[:, None, None]  # (B, 1, 1)
    coloured = torch.baddbmm(offset, matrix / 255, flat)  # (B, 3, H·W)
    return coloured.clamp_(0, 1).view_as(pixels)


def brighten(pixels: Tensor, gain: Tensor, towards_mean: Tensor) -> Tensor:
    """As `recolour` for any bands: `gain` · pixel + `towards_mean` · (mean of all bands of the image).

    Args:
        pixels: (B, C, H, W) floats in 0..255.
        gain: (B,).
        towards_mean: (B,), the share of the mean that contrast adds to each band.
    """
    offset = towards_mean * pixels.mean((1, 2, 3)) / 255  # (B,)
    scale, offset = (gain / 255)[:, None, None, None], offset[:, None, None, None]
    return torch.addcmul(offset, scale, pixels).clamp_(0, 1)


def _channels_first(images: Tensor) -> Tensor:
    if images.dtype != torch.uint8 or images.dim() != 4:
        raise ValueError(
            f"need uint8 images (B, H, W, C) or (B, 3, H, W), got {images.dtype} {tuple(images.shape)}"
        )
    return images if images.shape[1] == 3 != images.shape[3] else images.permute(0, 3, 1, 2)
