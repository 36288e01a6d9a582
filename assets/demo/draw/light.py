"""Sun, shadows, air and camera: from the flat drawing to the photograph."""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from assets.demo.draw import texture
from assets.demo.draw.canvas import HEIGHT_UNIT, Canvas
from assets.demo.draw.materials import LOOKS, Mat

_FINE, _MID, _COARSE, _RELIEF = (
    np.array([getattr(LOOKS[m], name) for m in Mat], np.float32)
    for name in ("fine", "mid", "coarse", "relief")
)
_TINT = np.array([LOOKS[m].tint for m in Mat], np.float32).T.copy()  # (3, materials)


_CRISP = ImageFilter.Kernel((3, 3), (0, -1, 0, -1, 13, -1, 0, -1, 0), 9)


def shadows(height: NDArray[np.int16], sun: float, fall: float, reach: int) -> NDArray[np.bool_]:
    """Where the sun is hidden.

    Args:
        height: (S, S) heights in levels.
        sun: Direction towards the sun in the picture, radians, x right and y down.
        fall: Levels that a ray of sunlight loses per pixel.
        reach: Longest shadow in pixels, rounded up to a power of two.

    The highest ray over each pixel is found by doubling: after k rounds it has looked back over
    2**k pixels towards the sun.
    """
    ray = height.copy()  # (S, S)
    size, step = len(height), 1
    while step <= reach:
        dx, dy = round(step * math.cos(sun)), round(step * math.sin(sun))
        here = (slice(max(0, -dy), size - max(0, dy)), slice(max(0, -dx), size - max(0, dx)))
        there = (slice(max(0, dy), size - max(0, -dy)), slice(max(0, dx), size - max(0, -dx)))
        blocked = ray[there] - np.int16(round(step * fall))
        np.maximum(ray[here], blocked, out=ray[here])
        step *= 2
    return ray > height + np.int16(6)


def develop(canvas: Canvas) -> NDArray[np.uint8]:
    """The finished picture, (size, size, 3)."""
    dice, size = canvas.dice, canvas.size // 2
    # Planes instead of pixels: whole-plane arithmetic is several times faster.
    small = (
        np.asarray(canvas.art.reduce(2)).transpose(2, 0, 1).astype(np.float32, order="C")
    )  # (4, size, size)
    mat = np.asarray(canvas.mat)[::2, ::2].astype(np.intp)  # (size, size)

    # Grain, blotches and patches of each material.
    grain = 1 + _FINE.take(mat) * texture.crop("fine", size, dice)
    grain += _MID.take(mat) * texture.crop("mid", size, dice)
    grain += _COARSE.take(mat) * texture.crop("coarse", size, dice)
    colour = small[:3] * (grain * np.float32(1 / 255))  # (3, size, size) in 0..1
    drift = texture.crop("coarse", size, dice)
    for plane, tint in zip(colour, _TINT, strict=True):
        plane += tint.take(mat) * drift

    depth = dice.between(0.55, 0.78)

    # Sun and shadow. Heights are in levels, `fall` in levels per canvas pixel.
    levels = canvas.art.getchannel("X")
    height = np.asarray(levels).astype(np.int16)  # (2 size, 2 size)
    fall = math.tan(canvas.elevation) / canvas.scale / HEIGHT_UNIT
    top = levels.getextrema()[1]
    assert isinstance(top, int)
    if top > 2:
        dark = shadows(height, canvas.sun, fall, min(128, int(top / fall) + 1))
        shade = np.asarray(Image.fromarray(dark.view(np.uint8) * np.uint8(255)).reduce(2), np.float32)
        low = small[3]
        slope = np.zeros_like(low)
        dx, dy = math.cos(canvas.sun), math.sin(canvas.sun)
        slope[:, 1:-1] += dx * (low[:, :-2] - low[:, 2:])
        slope[1:-1] += dy * (low[:-2] - low[2:])
        relief = np.clip(1 + slope * (0.5 * HEIGHT_UNIT * canvas.scale / 4), 0.62, 1.42)
        light = 1 + (relief - 1) * _RELIEF.take(mat)  # (size, size)
        for plane, gloom in zip(colour, (1.04, 1.0, 0.9), strict=True):  # the sky lights shadows blue
            plane *= light * (1 - shade * np.float32(depth * gloom / 255))

    return _camera(canvas, colour)


def _camera(canvas: Canvas, colour: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Exposure, white balance, haze, noise and softness; colour (3, size, size) in 0..1."""
    dice, size = canvas.dice, canvas.size // 2
    saturation, contrast = dice.between(0.62, 1.0), dice.between(0.95, 1.38)
    haze = dice.between(0, 0.12) if dice.chance(0.7) else dice.between(0.1, 0.28)
    exposure = dice.between(0.88, 1.1)
    warm, green = dice.spread(0.03), dice.spread(0.015)
    cast = np.array([1 + warm - green / 2, 1 + green, 1 - warm - green / 2]) * (exposure * (1 - haze))
    veil = np.array([0.66 + dice.spread(0.03), 0.68, 0.72 + dice.spread(0.03)])
    # Saturation, contrast around 0.45, white balance and haze are all linear: one matrix does them.
    mixing = (saturation * np.eye(3) + (1 - saturation) / 3) * (contrast * cast)
    offset = 0.45 * (1 - contrast) * cast + haze * veil
    colour = mixing.T.astype(np.float32) @ colour.reshape(3, -1) + offset[:, None].astype(np.float32)
    colour = colour.reshape(3, size, size)
    noise = dice.between(0.004, 0.018)
    colour += np.float32(noise) * texture.crop("fine", size, dice)
    levels = (np.clip(colour, 0.015, 1) * np.float32(255)).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))  # (size, size, 3)
    look = dice.unit()
    if look < 0.22:
        picture = picture.filter(ImageFilter.BoxBlur(dice.between(0.05, 0.22)))
    elif look > 0.5:
        picture = picture.filter(_CRISP)
    packed = io.BytesIO()
    picture.save(packed, "JPEG", quality=dice.whole(78, 93))
    return np.array(Image.open(packed))
