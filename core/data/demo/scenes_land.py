"""Scenes of fields, woods, parks and bare ground."""

import math

import numpy as np
from PIL import Image

from core.data.demo import buildings, ground, plants, texture, vehicles
from core.data.demo.canvas import Canvas
from core.data.demo.dice import Colour
from core.data.demo.materials import Mat


def farmland(c: Canvas) -> None:
    """One to three fields of rows, a track, sometimes a line of trees."""
    dice, p = c.dice, c.palette
    c.fill(p.wild if dice.chance(0.5) else p.soil, Mat.MEADOW if dice.chance(0.5) else Mat.SOIL)
    crops: tuple[tuple[Colour, Colour], ...] = (
        ((104, 132, 92), (150, 178, 128)),
        ((128, 148, 104), (178, 190, 140)),
        ((90, 96, 80), (136, 150, 112)),
        ((112, 102, 92), (154, 144, 128)),
        ((170, 164, 120), (206, 200, 156)),
        ((74, 84, 84), (108, 116, 108)),
    )
    cut = dice.pick((2.0, 2.0, 0.3, -0.2, 0.0)) * c.metres / 2
    for low, high in ((-2 * c.reach, cut - 2.5), (cut + 2.5, 2 * c.reach)):
        if low >= high:
            continue
        where = c.mask([(-2 * c.reach, low), (2 * c.reach, low), (2 * c.reach, high), (-2 * c.reach, high)])
        dark, bright = dice.pick(crops)
        k = dice.between(0.85, 1.1)
        c.paint(where, dark, Mat.FIELD)
        ground.rows(
            c,
            where,
            dice.pick((0.0, math.pi / 2, dice.spread(0.1))),
            dice.between(1.4, 4.4),
            dice.near(tuple(int(v * k) for v in dark), 0.04),
            dice.near(bright, 0.05),
            dice.between(0.4, 1.1),
        )  # type: ignore[arg-type]
    if abs(cut) < c.metres * 0.5:
        c.path([(-c.reach, cut), (c.reach, cut)], dice.between(2.5, 5), dice.near(p.soil, 0.06), Mat.SOIL)
        if dice.chance(0.4):
            plants.row(c, -c.reach, cut + 4, c.reach, cut + 4, 6, dice.between(1.8, 3.6))
    elif dice.chance(0.3):
        plants.grove(c, c.reach * 0.5, c.reach * 0.4, 14, 18)


def orchard(c: Canvas) -> None:
    """Trees in a grid on grass or soil."""
    dice, p = c.dice, c.palette
    if dice.chance(0.5):
        ground.lawn(c, wild=True)
    else:
        c.fill(p.soil, Mat.SOIL)
    if dice.chance(0.5):
        where = Image.new("L", c.mat.size, 255)
        ground.rows(c, where, math.pi / 2, 12.0, p.soil, p.mix(p.soil, p.wild, 0.6), 0.6)
    across, along = dice.between(5.5, 8.5), dice.between(4.5, 7.5)
    radius = min(across, along) * dice.between(0.3, 0.5)
    track = dice.between(-c.reach, c.reach)
    x = -c.reach
    while x < c.reach:
        y = -c.reach
        while y < c.reach:
            if abs(y - track) > 5 and dice.chance(0.94):
                plants.tree(c, x + dice.spread(0.3), y + dice.spread(0.3), radius * dice.between(0.75, 1.15))
            y += along
        x += across
    c.path([(-c.reach, track), (c.reach, track)], 3.5, p.soil, Mat.SOIL)
    if dice.chance(0.3):
        buildings.house(c, dice.spread(20), track + 10, 20, 12, 0.0)


def forest(c: Canvas) -> None:
    """Closed canopy, now and then with a clearing, a track or a stream."""
    dice, p = c.dice, c.palette
    dark = p.mix(p.tree[0], (16, 22, 18), 0.5)
    c.fill(dark, Mat.TREE)
    if dice.chance(0.45):
        ground.blotches(
            c,
            p.soil if dice.chance(0.4) else p.wild,
            Mat.MEADOW if dice.chance(0.5) else Mat.SOIL,
            dice.between(0.1, 0.4),
        )
        c.cover(Mat.TREE, p.tree, dice.between(2.0, 3.2), 0.72, dice.between(9, 15))
    else:
        c.cover(Mat.TREE, p.tree, dice.between(1.8, 3.6), 0.95, dice.between(10, 18))
    if dice.chance(0.2):
        line = ground.curve(c, 0.4)
        c.path(line, dice.between(4, 7), p.soil if dice.chance(0.6) else p.asphalt, Mat.SOIL)
        for x, y in line:
            plants.grove(c, x, y + 8, 4, 3)


def chaparral(c: Canvas) -> None:
    """Shrubs on dry ground."""
    dice, p = c.dice, c.palette
    soil = dice.near(dice.pick(((196, 164, 128), (182, 156, 124), (170, 146, 116), (204, 184, 150))), 0.07, 5)
    c.fill(soil, Mat.SOIL if dice.chance(0.7) else Mat.SAND)
    dark, bright = p.mix(p.tree[0], (84, 74, 58), 0.55), p.mix(p.tree[1], (122, 108, 84), 0.6)
    c.cover(Mat.CHAPARRAL, (dark, bright), dice.between(0.7, 1.1), dice.between(0.2, 0.5), 1.4)
    if dice.chance(0.7):
        c.cover(Mat.CHAPARRAL, (dark, bright), dice.between(1.4, 2.1), dice.between(0.06, 0.3), 2.6)
    if dice.chance(0.3):
        c.path(ground.curve(c, 0.5), dice.between(2, 4), p.mix(soil, (230, 214, 190), 0.4), Mat.SOIL)


def golf(c: Canvas) -> None:
    """Fairway, green and bunkers between trees."""
    dice, p = c.dice, c.palette
    ground.lawn(c, wild=dice.chance(0.5))
    fairway = p.mix(p.lawn, (112, 150, 88), 0.5)
    y = ground.shore(c, 3.0, 1.2)
    near = np.abs(y) < np.float32(dice.between(12, 24))
    where = Image.fromarray((near * np.uint8(255)).astype(np.uint8))
    c.paint(where, fairway, Mat.LAWN)
    if dice.chance(0.6):
        ground.rows(
            c,
            where,
            dice.between(0, 3),
            dice.between(7, 11),
            fairway,
            p.mix(fairway, (180, 200, 140), 0.18),
            1.0,
        )
    gx, gy = dice.spread(12), dice.spread(10)
    _blob(c, gx, gy, dice.between(9, 13), p.mix(fairway, (140, 182, 120), 0.5), Mat.LAWN)
    sand = dice.near((228, 216, 190), 0.04)
    for _ in range(dice.whole(1, 4)):
        a = dice.between(0, math.tau)
        d = dice.between(15, 20)
        x, yy = gx + d * math.cos(a), gy + d * math.sin(a)
        size = dice.between(3.5, 6.5)
        _blob(c, x, yy, size * 1.12, p.mix(p.lawn, p.tree[1], 0.4), Mat.LAWN)
        _blob(c, x, yy, size, sand, Mat.SAND)
    if dice.chance(0.6):
        c.path([(x, yy + 26) for x, yy in ground.curve(c, 0.5)], 2.4, p.concrete, Mat.CONCRETE)
    if dice.chance(0.2):
        _blob(c, -gx - 24, -gy, 14, p.water, Mat.WATER)
    for _ in range(dice.whole(2, 6)):
        plants.grove(
            c,
            dice.spread(30),
            dice.pick((-1, 1)) * dice.between(18, 40),
            dice.between(4, 14),
            dice.whole(3, 16),
            dice.between(2.4, 4.2),
        )


def _blob(c: Canvas, x: float, y: float, radius: float, colour: Colour, mat: Mat) -> None:
    dice = c.dice
    phases = [dice.between(0, math.tau) for _ in range(3)]
    edge = []
    for i in range(40):
        a = i * math.tau / 40
        r = radius * (
            1
            + 0.22 * math.sin(2 * a + phases[0])
            + 0.12 * math.sin(3 * a + phases[1])
            + 0.05 * math.sin(5 * a + phases[2])
        )
        edge.append((x + r * math.cos(a), y + r * math.sin(a)))
    c.area(edge, colour, mat)


def baseball(c: Canvas) -> None:
    """A baseball field with its infield, dugouts and the park around."""
    dice, p = c.dice, c.palette
    ground.lawn(c)
    clay = dice.near(dice.pick(((196, 138, 100), (206, 162, 122), (176, 122, 94), (214, 190, 156))), 0.06)
    x0, y0 = dice.spread(8) - 16, dice.spread(6)
    reach = dice.between(44, 64)
    wedge = [(x0 - 6, y0)] + [
        (x0 + reach * math.cos(a), y0 + reach * math.sin(a)) for a in np.linspace(-0.9, 0.9, 20).tolist()
    ]
    c.area(wedge, p.mix(p.lawn, (110, 140, 84), 0.4), Mat.LAWN)
    if dice.chance(0.5):
        ground.rows(
            c, c.mask(wedge), dice.between(0, 3), 8.0, p.lawn, p.mix(p.lawn, (180, 196, 136), 0.25), 1.0
        )
    infield = dice.between(26, 31)
    fan = [(x0 - 3, y0)] + [
        (x0 + infield * math.cos(a), y0 + infield * math.sin(a))
        for a in np.linspace(-0.86, 0.86, 24).tolist()
    ]
    sandy = Mat.SAND if dice.chance(0.3) else Mat.SOIL
    c.area(fan, clay, sandy)
    c.disc(x0, y0, 5, clay, sandy)
    if dice.chance(0.7):
        c.area([(x0 + 3, y0), (x0 + 13, y0 - 9.5), (x0 + 22, y0), (x0 + 13, y0 + 9.5)], p.lawn, Mat.LAWN)
        c.disc(x0 + 13, y0, 2.2, clay, sandy)
    for s in (-1, 1):
        c.path(
            [(x0, y0), (x0 + 45 * math.cos(0.785), y0 + s * 45 * math.sin(0.785))],
            0.25,
            (228, 226, 220),
            None,
        )
        buildings.flat(c, x0 + 2, y0 + s * 17, 9, 3, s * 0.785, (168, 164, 158), 2.6)
    c.ring(x0, y0, reach, 0.6, p.mix(p.soil, p.lawn, 0.3))
    if dice.chance(0.5):
        ground.car_park(c, x0 - 30, y0, 60, 24, math.pi / 2, dice.between(0.2, 0.8))
    for _ in range(dice.whole(1, 5)):
        a = dice.between(0, math.tau)
        plants.grove(c, 46 * math.cos(a), 46 * math.sin(a), 9, dice.whole(2, 9))


def bare(c: Canvas) -> None:
    """Building ground: graded soil, heaps, tracks, machines."""
    dice, p = c.dice, c.palette
    c.fill(p.soil, Mat.SOIL)
    ground.blotches(c, p.mix(p.soil, (226, 206, 178), 0.4), Mat.GRAVEL, 0.4)
    if dice.chance(0.6):
        ground.blotches(c, p.wild, Mat.MEADOW, dice.between(0.1, 0.35))
    for _ in range(dice.whole(1, 4)):
        line = ground.curve(c, 0.8)
        shift = dice.spread(20)
        for s in (-1, 1):
            c.path([(x, y + s + shift) for x, y in line], 0.7, p.mix(p.soil, (90, 76, 62), 0.35), None)
    if dice.chance(0.5):
        ground.road(c, [(-c.reach, 24), (c.reach, 24)], 8, lines=False)
    for _ in range(dice.whole(0, 9)):
        c.crown(
            dice.spread(22),
            dice.spread(22),
            dice.between(1.5, 4.5),
            dice.near(p.soil, 0.1),
            Mat.SOIL,
            dice.between(1.5, 3),
        )
    for _ in range(dice.whole(0, 3)):
        c.box(
            dice.spread(20),
            dice.spread(20),
            dice.between(10, 22),
            dice.between(8, 14),
            0,
            p.concrete,
            Mat.CONCRETE,
            0.4,
        )
    for _ in range(dice.whole(0, 5)):
        (vehicles.lorry if dice.chance(0.4) else vehicles.car)(
            c, dice.spread(20), dice.spread(20), dice.between(0, 6)
        )
    plants.scatter(c, dice.whole(0, 12), 1, 3)


def park(c: Canvas) -> None:
    """Meadow with paths and single trees."""
    dice, p = c.dice, c.palette
    ground.lawn(c, wild=dice.chance(0.5))
    if dice.chance(0.5):
        ground.blotches(c, p.soil, Mat.SOIL, dice.between(0.08, 0.4))
    for _ in range(dice.whole(0, 3)):
        c.path(
            [(x, y + dice.spread(3)) for x, y in ground.curve(c, 0.8)],
            dice.between(1.5, 3),
            p.concrete,
            Mat.CONCRETE,
        )
    if dice.chance(0.2):
        _blob(c, dice.spread(15), dice.spread(15), dice.between(10, 18), p.water, Mat.WATER)
    plants.scatter(c, dice.whole(3, 40), 1.2, 4.5)
    for _ in range(dice.whole(0, 3)):
        plants.grove(c, dice.spread(24), dice.spread(24), 8, dice.whole(4, 14))
    _ = texture
