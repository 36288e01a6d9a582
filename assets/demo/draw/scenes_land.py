"""Scenes of fields, woods, parks and bare ground."""

import math

import numpy as np
from PIL import Image

from assets.demo.draw import buildings, ground, plants, vehicles
from assets.demo.draw.canvas import Canvas
from assets.demo.draw.dice import Colour
from assets.demo.draw.materials import Mat

_CROPS: tuple[tuple[Colour, Colour], ...] = (
    ((84, 116, 76), (144, 176, 122)),
    ((112, 138, 90), (182, 196, 142)),
    ((86, 94, 74), (142, 158, 114)),
    ((102, 92, 82), (160, 150, 132)),
    ((156, 150, 104), (214, 208, 164)),
    ((62, 74, 74), (112, 122, 112)),
    ((92, 76, 62), (112, 142, 88)),
    ((150, 130, 104), (120, 152, 96)),
)


def farmland(c: Canvas) -> None:
    """One or more fields of rows, a track, sometimes a line of trees."""
    dice, p = c.dice, c.palette
    verge = dice.chance(0.5)
    c.fill(p.wild if verge else p.soil, Mat.MEADOW if verge else Mat.SOIL)
    cut = dice.pick((2.0, 2.0, 2.0, 0.4, -0.2, 0.0)) * c.metres / 2
    far = 2 * c.reach
    for low, high in ((-far, cut - 3), (cut + 3, far)):
        if low >= high:
            continue
        where = c.mask([(-far, low), (far, low), (far, high), (-far, high)])
        dark, bright = (dice.near(k, 0.1, 4) for k in dice.pick(_CROPS))
        c.paint(where, dark, Mat.FIELD)
        along = dice.pick((0.0, 0.0, math.pi / 2)) + dice.spread(0.05)
        period, sharp = dice.between(1.6, 5.5), dice.between(0.5, 1.3)
        ground.rows(c, where, along, period, dark, bright, sharp, dice.between(0.1, 1.2))
        if dice.chance(0.5):  # wheel tracks of the sprayer, every dozen rows
            turn = along + math.pi / 2
            for k in range(-6, 7):
                d = k * period * 8
                for wheel in (-0.9, 0.9):
                    u, v = (d + wheel) * math.cos(along), (d + wheel) * math.sin(along)
                    du, dv = far * math.cos(turn), far * math.sin(turn)
                    if low < v < high or abs(math.cos(turn)) < 0.5:
                        line = [(u - du, max(low, min(high, v - dv))), (u + du, max(low, min(high, v + dv)))]
                        c.path(line, 0.5, p.mix(dark, p.soil, 0.4), None)
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
    soil = dice.near(dice.pick(((190, 160, 126), (178, 152, 120), (168, 144, 114), (200, 180, 148))), 0.08, 4)
    c.fill(soil, Mat.SAND if dice.chance(0.3) else Mat.SOIL)
    ground.blotches(c, p.mix(soil, (216, 196, 164), 0.5), Mat.SOIL, dice.between(0.2, 0.5))
    dark, bright = p.mix(p.tree[0], (76, 70, 52), 0.5), p.mix(p.tree[1], (118, 106, 80), 0.6)
    c.cover(Mat.CHAPARRAL, (dark, bright), dice.between(0.55, 0.8), dice.pick((0.12, 0.3, 0.3)), 0.9)
    if dice.chance(0.75):
        c.cover(Mat.CHAPARRAL, (dark, bright), dice.between(1.0, 1.6), dice.pick((0.12, 0.12, 0.3)), 1.8)
    if dice.chance(0.3):
        c.path(ground.curve(c, 0.5), dice.between(2, 4), p.mix(soil, (230, 214, 190), 0.4), Mat.SOIL)
    if dice.chance(0.2):
        plants.scatter(c, dice.whole(2, 9), 1.5, 3.0)


def golf(c: Canvas) -> None:
    """Fairway, green and bunkers between trees."""
    dice, p = c.dice, c.palette
    ground.lawn(c, wild=dice.chance(0.5))
    fairway = p.mix(p.lawn, (112, 150, 88), 0.5)
    y = ground.shore(c, 5.0, 0.35)
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
    for _ in range(dice.whole(3, 9)):
        x, yy = dice.spread(c.reach * 0.5), dice.pick((-1, 1)) * dice.between(18, 42)
        plants.grove(c, x, yy, dice.between(4, 14), dice.whole(3, 18), dice.between(2.4, 4.4))


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
    clay = dice.near(dice.pick(((190, 144, 112), (200, 166, 132), (172, 130, 106), (214, 194, 164))), 0.06)
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
        ground.blotches(c, p.mix(p.wild, p.soil, 0.3), Mat.MEADOW, dice.between(0.1, 0.35))
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
    """Meadow, playing fields, ponds, paths and trees."""
    dice, p = c.dice, c.palette
    ground.lawn(c, wild=dice.chance(0.4))
    ground.blotches(c, p.mix(p.wild, p.soil, 0.3), Mat.MEADOW, dice.between(0.1, 0.5))
    if dice.chance(0.4):
        ground.blotches(c, p.mix(p.soil, p.wild, 0.35), Mat.SOIL, dice.between(0.06, 0.35))
    for _ in range(dice.whole(0, 3)):
        line = ground.curve(c, 0.9)
        c.path(line, dice.between(1.4, 3), dice.near(p.concrete, 0.06), Mat.CONCRETE)
        if dice.chance(0.4):
            for x, y in ground.offset(line, 4):
                plants.tree(c, x, y, dice.between(1.6, 3.4))
    kind = dice.unit()
    if kind < 0.25:
        _pitch(c)
    elif kind < 0.45:
        _blob(
            c, dice.spread(15), dice.spread(15), dice.between(10, 20), p.mix(p.soil, p.water, 0.4), Mat.SOIL
        )
        _blob(c, dice.spread(3), dice.spread(3), dice.between(9, 17), p.water, Mat.WATER)
    if dice.chance(0.3):
        ground.road(c, [(-c.reach, 30), (c.reach, 26)], 7, walk=1.5)
        ground.traffic(c, [(-c.reach, 30), (c.reach, 26)], 1.8, 20, 0.0)
    plants.scatter(c, dice.whole(3, 30), 1.0, 4.8)
    for _ in range(dice.whole(0, 4)):
        plants.grove(
            c, dice.spread(26), dice.spread(26), dice.between(5, 14), dice.whole(4, 22), dice.between(2.4, 4)
        )


def _pitch(c: Canvas) -> None:
    """A mown football field."""
    dice, p = c.dice, c.palette
    x, y, white = dice.spread(10), dice.spread(10), p.paint
    corner = [(x - 48, y - 31), (x + 48, y - 31), (x + 48, y + 31), (x - 48, y + 31)]
    grass = p.mix(p.lawn, (100, 142, 82), 0.5)
    c.area(corner, grass, Mat.LAWN)
    ground.rows(
        c, c.mask(corner), 0.0, dice.between(9, 12), grass, p.mix(grass, (190, 206, 150), 0.18), 1.3, 0.0
    )
    for a, b in zip(corner, corner[1:] + corner[:1], strict=True):
        c.path([a, b], 0.3, white, None)
    c.path([(x, y - 31), (x, y + 31)], 0.3, white, None)
    c.ring(x, y, 9, 0.3, white)
    for s in (-1, 1):
        box = [(x + s * 48, y - 18), (x + s * 33, y - 18), (x + s * 33, y + 18), (x + s * 48, y + 18)]
        c.path(box, 0.3, white, None)
        c.disc(x + s * 46, y, dice.between(1, 3), p.mix(grass, p.soil, 0.6), None)
