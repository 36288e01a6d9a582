"""Roads, car parks, crops, shores and other things that lie flat."""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assets.demo.draw import plants, texture, vehicles
from assets.demo.draw.canvas import Canvas, Point
from assets.demo.draw.dice import Colour
from assets.demo.draw.materials import Mat


def lawn(c: Canvas, wild: bool = False) -> None:
    """Grass everywhere."""
    c.fill(c.palette.wild if wild else c.palette.lawn, Mat.MEADOW if wild else Mat.LAWN)


def blotches(c: Canvas, colour: Colour, mat: Mat, share: float, kind: str = "border") -> None:
    """Patches with soft edges over about `share` of the picture."""
    level = np.float32(-1.3 + 2.6 * (1 - share))
    edge = np.float32(c.dice.between(150, 400))
    soft = (texture.crop(kind, c.size, c.dice) - level) * edge + np.float32(128)
    c.paint(Image.fromarray(np.clip(soft, 0, 255).astype(np.uint8)), colour, mat)


def road(
    c: Canvas, points: list[Point], width: float, kerb: bool = True, lines: bool = True, walk: float = 0.0
) -> None:
    """A road along points in metres, with pavements `walk` metres wide and a middle line."""
    p = c.palette
    if walk:
        c.path(points, width + 2 * walk, p.concrete, Mat.CONCRETE)
    if kerb:
        c.path(points, width + 0.7, p.mix(p.concrete, p.asphalt, 0.3), Mat.CONCRETE)
    c.path(points, width, p.asphalt, Mat.ASPHALT)
    if width > 6:  # wheels darken or polish their tracks
        tone = p.mix(p.asphalt, (40, 40, 40), 0.10)
        for side in (-0.25, 0.25):
            moved = offset(points, side * width)
            c.path(moved, width * 0.2, tone, None)
    if lines:
        colour = c.dice.pick(((206, 180, 96), p.paint))
        for start, end in pairwise(points):
            c.dashes(start, end, 0.25, 3.0, 4.5, colour)


def offset(points: list[Point], by: float) -> list[Point]:
    """The line moved sideways by a distance in metres."""
    out = []
    for i, (x, y) in enumerate(points):
        (x0, y0), (x1, y1) = points[max(0, i - 1)], points[min(len(points) - 1, i + 1)]
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        out.append((x - (y1 - y0) / length * by, y + (x1 - x0) / length * by))
    return out


def traffic(c: Canvas, points: list[Point], by: float, gap: float, lorries: float = 0.06) -> None:
    """Vehicles along a line moved sideways by `by`, one every `gap` metres or so."""
    dice = c.dice
    line = offset(points, by)
    for (x0, y0), (x1, y1) in pairwise(line):
        length = math.hypot(x1 - x0, y1 - y0)
        angle = math.atan2(y1 - y0, x1 - x0) + (math.pi if by < 0 else 0)
        at = dice.between(0, gap)
        while at < length:
            x, y = x0 + (x1 - x0) * at / length, y0 + (y1 - y0) * at / length
            if dice.chance(lorries):
                vehicles.lorry(c, x, y, angle)
                at += 14
            else:
                vehicles.car(c, x, y, angle + dice.spread(0.02))
            at += 6 + gap * dice.between(0.2, 1.8)


def curve(c: Canvas, bend: float = 0.25) -> list[Point]:
    """A gentle arc across the whole scene along x, through a point near the centre."""
    dice, r = c.dice, c.reach
    k, shift, tilt = dice.spread(bend) / r, dice.spread(r * 0.12), dice.spread(0.15)
    sway, wave, phase = dice.between(0, 0.22 * bend) * r, dice.between(1.2, 2.4) / r, dice.between(0, 6.3)
    return [
        (x, shift + tilt * x + k * x * x + sway * math.sin(wave * x + phase))
        for x in np.linspace(-r * 1.1, r * 1.1, 17).tolist()
    ]


def car_park(
    c: Canvas, x: float, y: float, length: float, width: float, angle: float, full: float, slab: bool = True
) -> None:
    """Rows of stalls along the length, two rows per aisle, islands with trees at the ends."""
    dice, p = c.dice, c.palette
    if slab:
        c.box(x, y, length, width, angle, p.asphalt, Mat.ASPHALT)
    ca, sa = math.cos(angle), math.sin(angle)
    stall, deep, aisle = dice.between(2.6, 2.9), 5.4, dice.between(6.0, 7.5)
    slant = dice.pick((0.0, 0.0, 0.25, -0.25))
    islands = dice.chance(0.5)
    v = -width / 2 + 0.5
    while v + 2 * deep < width / 2 + 1:
        for row in (0, 1):
            vv = v + deep * (row + 0.5)
            u = -length / 2 + 2.5
            while u < length / 2 - 2.5:
                px, py = x + u * ca - vv * sa, y + u * sa + vv * ca
                if c.sees(px, py, 4):
                    edge = c.frame(px, py, angle + slant)
                    c.shape(edge.box(-stall / 2 - 0.07, -deep / 2, -stall / 2 + 0.1, deep / 2), p.paint, None)
                    if islands and (u < -length / 2 + 4 or u > length / 2 - 5):
                        plants.tree(c, px, py, dice.between(1.4, 2.6))
                    elif dice.chance(full):
                        vehicles.car(
                            c,
                            px + dice.spread(0.15),
                            py + dice.spread(0.2),
                            angle + slant + math.pi * (row + 0.5) + (math.pi if dice.chance(0.3) else 0),
                        )
                u += stall
        v += 2 * deep + aisle


def rows(
    c: Canvas,
    where: Image.Image,
    angle: float,
    period: float,
    dark: Colour,
    bright: Colour,
    sharp: float = 1.0,
    wander: float = 0.3,
) -> None:
    """Parallel rows at an angle to the scene, wandering a little, uneven in growth."""
    row, column = c.grid()
    a = c.turn + angle
    phase = (math.cos(a) * row + math.sin(a) * column) * np.float32(math.tau / period)  # (S, S)
    phase += texture.crop("drift", c.size, c.dice) * np.float32(wander)
    wave = np.sin(phase, out=phase)
    wave *= np.float32(0.5 * sharp)
    wave += np.float32(0.5)
    wave += texture.crop("border", c.size, c.dice) * np.float32(0.1)
    c.print(wave, dark, bright, where)


def ripples(c: Canvas, colour: Colour, mat: Mat, strength: float) -> None:
    """Open water: short swell across the wind, gusts, and a few crests that catch the light."""
    dice, p = c.dice, c.palette
    tile = texture.swell()
    angle, zoom = dice.between(0, math.tau), dice.between(0.6, 1.3)
    ca, sa = math.cos(angle) * zoom, math.sin(angle) * zoom
    x, y = dice.between(360, 660), dice.between(360, 660)
    half = c.size / 2
    at = (ca, -sa, x - ca * half + sa * half, sa, ca, y - sa * half - ca * half)
    index = tile.transform((c.size, c.size), Image.Transform.AFFINE, at, Image.Resampling.BILINEAR)
    dark, bright = p.mix(colour, (14, 30, 40), strength), p.mix(colour, (190, 206, 204), strength)
    c.tone(index, dark, bright)
    c.mat.paste(int(mat), (0, 0, c.size, c.size))


def shore(c: Canvas, wander: float, scale: float) -> NDArray[np.float32]:
    """Distance in metres across a wandering line along x, (S, S): negative on one side."""
    x, y = c.field()
    dice = c.dice
    bend = dice.spread(0.25) / c.reach
    y = y + bend * x * x
    y += np.float32(wander) * texture.crop("drift", c.size, dice)
    y += np.float32(scale) * texture.crop("border", c.size, dice)
    return y
