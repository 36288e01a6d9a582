"""Scenes of harbours, beaches, the sea and rivers."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assets.demo.draw import buildings, ground, plants, texture, vehicles
from assets.demo.draw.canvas import Canvas
from assets.demo.draw.dice import Colour
from assets.demo.draw.materials import Mat


def harbour(c: Canvas) -> None:
    """Yachts in their berths along jetties, sometimes with a quay."""
    dice, p = c.dice, c.palette
    water: Colour = dice.near(
        dice.pick(((26, 44, 50), (30, 62, 56), (22, 32, 44), (54, 70, 86), (20, 54, 50))), 0.12, 4
    )
    c.fill(water, Mat.WATER)
    length, pitch = dice.between(8, 14), 0.0
    pitch = length * 0.36 + 1.0
    planks = dice.near(dice.pick(((184, 176, 160), (206, 202, 192), (150, 140, 126))), 0.06)
    channel = dice.between(6, 16)
    quay = c.metres * dice.between(0.1, 0.4) if dice.chance(0.45) else 2 * c.reach
    y = -c.reach + dice.between(-15, 5)
    walk = dice.between(1.6, 2.6)
    while y < c.reach:
        c.path([(-c.reach, y), (min(quay, c.reach), y)], walk, planks, Mat.DOCK, 0.8)
        for side in (-1, 1):
            x = -c.reach + dice.between(0, pitch)
            k = 0
            while x < min(quay - 3, c.reach):
                if k % 2 == 0:
                    c.path(
                        [(x - pitch / 2, y), (x - pitch / 2, y + side * length * 0.85)],
                        0.7,
                        planks,
                        Mat.DOCK,
                        0.7,
                    )
                if dice.chance(0.88):
                    size = length * dice.between(0.72, 1.02)
                    vehicles.boat(
                        c,
                        x + dice.spread(0.15),
                        y + side * (size / 2 + walk / 2 + 0.4),
                        side * math.pi / 2 + (math.pi if dice.chance(0.35) else 0) + dice.spread(0.02),
                        size,
                    )
                x += pitch
                k += 1
        y += 2 * length + channel
    if quay < c.reach:
        c.box(quay + c.reach, 0, 2 * c.reach, 3 * c.reach, 0, p.concrete, Mat.CONCRETE, 1.2)
        c.box(quay + 0.6, 0, 1.2, 3 * c.reach, 0, p.mix(p.concrete, (250, 250, 250), 0.3), None, 1.4)
        if dice.chance(0.7):
            ground.car_park(c, quay + 16, 0, 2 * c.reach, 22, math.pi / 2, dice.between(0.3, 0.8))
        if dice.chance(0.5):
            for _ in range(dice.whole(4, 10)):
                plants.palm(c, quay + 3.5 + dice.spread(0.6), dice.between(-c.reach, c.reach))
        if dice.chance(0.4):
            buildings.flat(
                c,
                quay + 34,
                dice.spread(20),
                30,
                16,
                math.pi / 2,
                dice.near((210, 204, 194), 0.08),
                6,
                busy=True,
            )


def beach(c: Canvas) -> None:
    """Sea, breakers, wet and dry sand, sometimes dunes or a promenade."""
    dice, p = c.dice, c.palette
    y = ground.shore(c, dice.between(2, 6), dice.between(0.4, 1.2)) + np.float32(dice.spread(14))
    depth = y / np.float32(c.metres) + np.float32(0.5)
    deep, shallow = p.sea, p.mix(p.sea, (150, 178, 168), 0.55)
    wet, dry = p.mix(p.sand, (110, 96, 80), 0.45), p.sand
    c.strata(
        depth,
        (
            (0.0, deep, Mat.SEA),
            (0.34, p.mix(deep, shallow, 0.5), Mat.SEA),
            (0.52, shallow, Mat.SEA),
            (0.545, wet, Mat.SAND),
            (0.6, p.mix(wet, dry, 0.6), Mat.SAND),
            (0.7, dry, Mat.SAND),
            (1.0, p.mix(dry, (240, 230, 210), 0.3), Mat.SAND),
        ),
    )
    _surf(c, depth)
    inland = dice.unit()
    if inland < 0.25:
        road = [(-c.reach, c.metres * 0.42), (c.reach, c.metres * 0.42)]
        ground.road(c, road, 8, walk=2)
        ground.traffic(c, road, 2.4, 14)
        for _ in range(8):
            plants.palm(c, dice.between(-c.reach, c.reach), c.metres * 0.36 + dice.spread(1))
    elif inland < 0.5:
        where = Image.fromarray(
            (((depth > 0.86) & (texture.crop("border", c.size, dice) > -0.4)) * np.uint8(255)).astype(
                np.uint8
            )
        )
        c.paint(where, p.wild, Mat.MEADOW)
        c.cover(Mat.TREE, p.tree, 1.4, 0.5, 3, where)
    cloths: tuple[Colour, ...] = ((190, 60, 50), (60, 90, 150), (230, 220, 120), (220, 220, 216))
    for _ in range(dice.whole(0, 12)):  # parasols
        x, yy = dice.between(-c.reach, c.reach), c.metres * dice.between(0.1, 0.34)
        if c.lies(x, yy) == Mat.SAND:
            c.disc(x, yy, 0.9, dice.near(dice.pick(cloths), 0.1), None, 1.6)


def _surf(c: Canvas, depth: NDArray[np.float32]) -> None:
    """Lines of foam before the water's edge at depth 0.525, torn open seawards."""
    dice = c.dice
    rough, lace = texture.crop("border", c.size, dice), texture.crop("mid", c.size, dice)
    lines = [(0.525, dice.between(0.006, 0.012), 1.0)]
    for k in range(1, dice.whole(2, 5)):
        lines.append(
            (0.525 - 0.045 * k - dice.between(0, 0.02), dice.between(0.006, 0.02), dice.between(0.3, 1))
        )
    veil = np.zeros_like(depth)
    for at, width, strength in lines:
        line = (depth + rough * np.float32(0.01) - np.float32(at)) / np.float32(width)
        # Steep towards the beach, trailing off towards the sea.
        front = np.exp(-(np.where(line > 0, line * 2, line * np.float32(0.45)) ** 2)) * np.float32(strength)
        np.maximum(veil, front, out=veil)
    veil *= np.clip(0.75 + 0.45 * lace, 0, 1.3)
    c.paint(Image.fromarray((np.clip(veil, 0, 1) * 240).astype(np.uint8)), (232, 236, 234), None)


def sea(c: Canvas) -> None:
    """Open water with ships, or a rocky coast."""
    dice, p = c.dice, c.palette
    ground.ripples(c, p.sea, Mat.SEA, dice.between(0.12, 0.3))
    lace = texture.crop("mid", c.size, dice) + texture.crop("border", c.size, dice)
    crest = Image.fromarray(((lace > np.float32(dice.between(3.0, 4.4))) * np.uint8(150)).astype(np.uint8))
    c.paint(crest, (214, 224, 224), None)
    coast = dice.chance(0.4)
    if coast:
        y = ground.shore(c, 5, 2.0) - np.float32(c.metres * dice.between(0.18, 0.32))
        y += np.float32(1.0) * texture.crop("mid", c.size, dice)
        surf: Colour = (222, 230, 228)
        bands = ((-3.0, p.mix(p.sea, surf, 0.5), None), (-1.6, surf, None))
        rock = p.mix(p.soil, (112, 104, 96), 0.6)
        for low, colour, mat in (*bands, (0.0, rock, Mat.ROCK), (7.0, p.wild, Mat.MEADOW)):
            c.paint(Image.fromarray(((y > low) * np.uint8(255)).astype(np.uint8)), colour, mat)
    pier = not coast and dice.chance(0.35)
    if pier:
        planks = dice.near((184, 176, 164), 0.06)
        c.path([(-c.reach, 12), (dice.spread(10), 12)], 4, planks, Mat.DOCK, 2.0)
        for k in range(6):
            c.box(-c.reach + k * 9, 12, 0.4, 5.5, 0, dice.near(planks, 0.1), None, 2.2)
    if dice.chance(0.85):
        course = dice.between(0, math.tau)
        count = dice.pick((1, 1, 2, 3))
        for k in range(count):  # abreast, so that no ship sails through another
            at = (k - (count - 1) / 2) * 24 + dice.spread(3)
            x, yy = -math.sin(course) * at + dice.spread(6), math.cos(course) * at - 8
            if yy < 2 or not (coast or pier):
                vehicles.ship(c, x, yy, course + dice.spread(0.15), dice.between(11, 34))


def river(c: Canvas) -> None:
    """A river between wooded or grassy banks."""
    dice, p = c.dice, c.palette
    half = dice.between(6, 15)
    y = np.abs(ground.shore(c, dice.between(4, 9), dice.between(0.4, 1.0)))
    k = np.float32(1 / (2 * c.metres))
    ground_colour, mat = (p.wild, Mat.MEADOW) if dice.chance(0.7) else (p.soil, Mat.SOIL)
    mud = p.mix(p.soil, p.sand, 0.5)
    shoal = dice.between(0.5, 5)
    stops = (
        (0.0, p.water, Mat.WATER),
        (half * 0.7 * float(k), p.mix(p.water, (120, 124, 100), 0.15), Mat.WATER),
        (half * float(k), p.mix(p.water, mud, 0.4), Mat.SAND if dice.chance(0.35) else Mat.SOIL),
        ((half + 0.5) * float(k), mud, Mat.SOIL),
        ((half + shoal) * float(k), p.mix(mud, ground_colour, 0.5), mat),
        ((half + shoal + 2) * float(k), ground_colour, mat),
    )
    c.strata(y * k, stops)
    wooded = dice.unit()
    edge = half + dice.between(0.5, 6)
    if wooded < 0.6:
        rough = y + np.float32(2.5) * texture.crop("border", c.size, dice)
        where = Image.fromarray(((rough > edge) * np.uint8(255)).astype(np.uint8))
        c.cover(
            Mat.TREE, p.tree, dice.between(1.8, 3.2), dice.pick((0.45, 0.7, 0.93)), dice.between(8, 14), where
        )
    else:
        for _ in range(dice.whole(4, 30)):
            plants.tree(
                c,
                dice.between(-c.reach, c.reach),
                dice.pick((-1, 1)) * dice.between(edge, c.reach),
                dice.between(1.5, 4.5),
            )
    if dice.chance(0.25):
        x = dice.spread(20)
        ground.road(c, [(x, -c.reach), (x + dice.spread(8), c.reach)], dice.between(7, 11))
        ground.traffic(c, [(x, -c.reach), (x, c.reach)], 2, 25)
