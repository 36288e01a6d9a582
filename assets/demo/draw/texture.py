"""A small bank of tileable noise, crowns and bushes, made once per process and cropped at random.

Every tile repeats after `TILE` pixels and is stored twice in each direction, so that any crop of up to
`TILE` pixels is one slice.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assets.demo.draw.dice import Dice

TILE = 512

# Wavelengths in pixels that a kind of noise holds, and how much longer they are along x than along y.
_BANDS = {
    "fine": (1.5, 4.0, 1.0),
    "mid": (5.0, 20.0, 1.0),
    "coarse": (30.0, 400.0, 1.0),
    "drift": (110.0, 600.0, 1.0),
    "border": (8.0, 200.0, 1.0),
    "swell": (4.0, 16.0, 4.0),
    "streak": (3.0, 30.0, 14.0),
}


@cache
def noise(kind: str) -> NDArray[np.float32]:
    """Tileable noise with mean 0 and standard deviation 1, (2 * TILE, 2 * TILE)."""
    shortest, longest, stretch = _BANDS[kind]
    rng = np.random.Generator(np.random.PCG64([TILE, sorted(_BANDS).index(kind)]))
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE)))  # (TILE, TILE // 2 + 1)
    fy, fx = np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None, :] * stretch
    f = np.maximum(np.hypot(fx, fy), 1e-6)
    keep = np.exp(-((f * shortest / 1.2) ** 4)) * (1 - np.exp(-((f * longest) ** 4)))
    tile = np.fft.irfft2(spectrum * keep / f, s=(TILE, TILE))
    tile = (tile - tile.mean()) / tile.std()
    return np.tile(tile.astype(np.float32), (2, 2))


def crop(kind: str, size: int, dice: Dice, turn: bool = True) -> NDArray[np.float32]:
    """A random (size, size) view of the noise, mirrored or transposed at random when `turn`."""
    x, y = dice.whole(0, TILE - 1), dice.whole(0, TILE - 1)
    view = noise(kind)[y : y + size, x : x + size]
    if dice.chance(0.5):
        view = view[::-1]
    return view.T if turn and dice.chance(0.5) else view


RADII = (3, 6, 11)  # of the crowns in a tile, in pixels
SHARES = (0.12, 0.3, 0.5, 0.75, 0.95)  # of the ground that a tile covers


@cache
def _crowns(radius: int, share: float) -> tuple[Image.Image, Image.Image]:
    """Heights and tones, two L images (2 * TILE each side), of crowns that cover about `share`."""
    rng = np.random.Generator(np.random.PCG64([TILE, radius, int(100 * share)]))
    reach = 2 * radius + 1
    grid = np.arange(-reach, reach + 1)
    angle = np.arctan2(grid[:, None], grid[None, :])
    distance = np.hypot(grid[:, None], grid[None, :])
    domes = []
    for k in range(32):
        size = 0.6 + 1.0 * (k / 31) ** 1.5
        edge = radius * size * (1 + 0.13 * np.sin(angle * rng.integers(3, 6) + rng.uniform(0, 6.3)))
        edge *= 1 + 0.09 * np.sin(angle * rng.integers(6, 10) + rng.uniform(0, 6.3))
        inside = 1 - (distance / edge) ** 2
        domes.append(np.where(inside > 0, 0.3 * size + 0.42 * np.sqrt(np.abs(inside)), 0).astype(np.float32))
    # Crowns are stamped on a sheet with a margin, which is then folded over: the tile repeats.
    side = TILE + 2 * reach
    sheet = np.zeros((2, side, side), np.float32)  # height, tone
    count = int(-np.log(1 - share) * TILE**2 / (np.pi * 1.05 * radius**2))
    # Open cover grows in clumps: places are kept where coarse noise is high.
    places = rng.integers(0, TILE, (3 * count, 2))
    if share < 0.9:
        clumps = noise("border")[places[:, 0], places[:, 1]]
        places = places[clumps > rng.normal(-0.3, 0.9, len(places))]
    kinds, tones = rng.integers(0, 32, count), rng.uniform(0.05, 1, count).astype(np.float32)
    lifts = rng.uniform(0.75, 1.15, count).astype(np.float32)
    for (y, x), kind, tone, lift in zip(places, kinds, tones, lifts, strict=False):
        height, colour = sheet[:, y : y + 2 * reach + 1, x : x + 2 * reach + 1]
        dome = domes[kind] * lift
        higher = dome > height
        np.copyto(height, dome, where=higher)
        np.copyto(colour, tone, where=higher)
    for axis in (1, 2):
        sheet = np.moveaxis(sheet, axis, 1)
        for inner, outer in (
            (slice(TILE, TILE + reach), slice(0, reach)),
            (slice(reach, 2 * reach), slice(TILE + reach, side)),
        ):
            higher = sheet[0, outer] > sheet[0, inner]
            for layer in sheet:
                layer[inner][higher] = layer[outer][higher]
        sheet = np.moveaxis(sheet, 1, axis)
    height, colour = sheet[:, reach : reach + TILE, reach : reach + TILE]
    height = height * (1 + 0.06 * noise("fine")[:TILE, :TILE])
    pair = (np.clip(height * 260, 0, 255), np.clip(colour * 255, 0, 255))
    high, tone_image = (Image.fromarray(np.tile(a.astype(np.uint8), (2, 2))) for a in pair)
    return high, tone_image


def crowns(radius: int, share: float, size: int, zoom: float, dice: Dice) -> tuple[Image.Image, Image.Image]:
    """Heights and tones (L images, size x size) of a random crop, `zoom` tile pixels per pixel."""
    span = min(size * zoom, float(TILE))
    x, y = dice.between(0, TILE - 1), dice.between(0, TILE - 1)
    flip: Any = dice.pick((None, *Image.Transpose))
    out = []
    for tile, how in zip(
        _crowns(radius, share), (Image.Resampling.BILINEAR, Image.Resampling.NEAREST), strict=True
    ):
        view = tile.resize((size, size), how, box=(x, y, x + span, y + span))
        out.append(view if flip is None else view.transpose(flip))
    return out[0], out[1]


@cache
def swell() -> Image.Image:
    """Waves that run along y, as levels around 128 (L, 2 * TILE wide)."""
    return Image.fromarray(np.clip(128 + 50 * noise("swell") + 12 * noise("border"), 0, 255).astype(np.uint8))


@cache
def crown(radius: int, variant: int) -> tuple[NDArray[np.float32], Image.Image, Image.Image]:
    """One tree seen from above, 2 * radius + 3 wide.

    Returns:
        Its dome in 0..1, its soft outline (L) and its hard outline (L, 0 or 255).
    """
    rng = np.random.Generator(np.random.PCG64([TILE, radius, variant]))
    grid = np.arange(-radius - 1, radius + 2)
    angle = np.arctan2(grid[:, None], grid[None, :])
    distance = np.hypot(grid[:, None], grid[None, :])
    edge = np.full_like(distance, 0.86)
    for waves in (2, 3, 5, 7, 11):
        edge = edge + rng.uniform(0.02, 0.075) * np.sin(waves * angle + rng.uniform(0, 6.3))
    inside = 1 - (distance / (radius * edge)) ** 2
    dome = 0.5 + 0.34 * np.sqrt(np.clip(inside, 0, 1))  # foliage begins half way up: round shadows
    # Smaller domes on the large one: the clumps of leaves that make a crown rough.
    for _ in range(3 + radius // 2):
        a, d = rng.uniform(0, 6.3), rng.uniform(0.2, 0.8) * radius
        r = rng.uniform(0.22, 0.4) * radius + 0.8
        bump = 1 - (np.hypot(grid[None, :] - d * np.cos(a), grid[:, None] - d * np.sin(a)) / r) ** 2
        dome = dome + 0.09 * np.clip(bump, 0, 1)
    soft = np.clip(inside * radius * 0.8 + 0.4, 0, 1) * 255
    hard = np.where(soft > 127, 255, 0)
    return (
        np.clip(dome, 0, 1).astype(np.float32),
        Image.fromarray(soft.astype(np.uint8)),
        Image.fromarray(hard.astype(np.uint8)),
    )
