"""Scenes of roads, airfields and tank farms."""

import math
from itertools import pairwise

import numpy as np

from assets.demo.draw import buildings, ground, plants, vehicles
from assets.demo.draw.canvas import Canvas
from assets.demo.draw.dice import Colour
from assets.demo.draw.materials import Mat


def _verge(c: Canvas) -> None:
    dice, p = c.dice, c.palette
    if dice.chance(0.35) or p.climate == "desert":
        c.fill(p.soil, Mat.SOIL)
        ground.blotches(c, p.mix(p.wild, p.soil, 0.35), Mat.MEADOW, dice.between(0.1, 0.5))
    else:
        ground.lawn(c, wild=True)
        if dice.chance(0.5):
            ground.blotches(c, p.mix(p.soil, p.wild, 0.4), Mat.SOIL, dice.between(0.1, 0.35))


def _motorway(
    c: Canvas, points: list[tuple[float, float]], lanes: int, gap: float, height: float = 0.0
) -> float:
    """Two carriageways; returns their whole width in metres."""
    dice, p = c.dice, c.palette
    median, lane = dice.between(1.5, 9), 3.6
    width = lanes * lane + 4.5
    surface, mat = (p.concrete, Mat.CONCRETE) if dice.chance(0.4) else (p.asphalt, Mat.ASPHALT)
    middle = dice.pick((p.wild, p.soil, p.concrete))
    c.path(
        points,
        2 * width + median,
        middle,
        Mat.MEADOW if middle == p.wild else Mat.SOIL if middle == p.soil else Mat.CONCRETE,
        height,
    )
    for side in (-1, 1):
        at = side * (median / 2 + width / 2)
        c.path(ground.offset(points, at), width, surface, mat, height)
        for k in range(lanes):
            centre = at + (k - (lanes - 1) / 2) * lane
            for wheel in (-0.9, 0.9):
                c.path(
                    ground.offset(points, centre + wheel),
                    0.9,
                    p.mix(surface, (50, 50, 50), 0.13),
                    None,
                    height,
                )
        for k in range(lanes + 1):
            edge = ground.offset(points, at + (k - lanes / 2) * lane)
            if k in (0, lanes):
                c.path(edge, 0.25, p.paint, None, height)
            elif not height:
                for a, b in pairwise(edge):
                    c.dashes(a, b, 0.25, 3, 6, p.paint)
        for k in range(lanes):
            ground.traffic(c, points, at + (k - (lanes - 1) / 2) * lane, gap, 0.1)
    if median < 4:
        c.path(points, 0.7, (206, 204, 198), None, height + 1.0)
    return 2 * width + median


def freeway(c: Canvas) -> None:
    """A motorway with verges, trees, sometimes a frontage road."""
    dice = c.dice
    _verge(c)
    width = _motorway(c, ground.curve(c, 0.07), dice.whole(2, 4), dice.between(14, 60))
    if dice.chance(0.4):
        y = width / 2 + dice.between(8, 14)
        ground.road(c, [(-c.reach, y), (c.reach, y)], 7.5)
        ground.traffic(c, [(-c.reach, y), (c.reach, y)], 1.9, 24)
    for _ in range(dice.whole(0, 5)):
        y = dice.pick((-1, 1)) * (width / 2 + dice.between(10, 26))
        plants.grove(c, dice.spread(30), y, 7, dice.whole(2, 12), 2.6)
    plants.scatter(c, dice.whole(0, 25), 0.8, 2.2, width / 2 + 5)


def overpass(c: Canvas) -> None:
    """A motorway that crosses over another."""
    dice, p = c.dice, c.palette
    _verge(c)
    below = [(-c.reach * 1.1, 0.0), (c.reach * 1.1, dice.spread(5))]
    _motorway(c, below, dice.whole(2, 3), dice.between(18, 60))
    plants.scatter(c, dice.whole(0, 18), 1.0, 3.0, 18)
    tilt = dice.spread(0.35)
    bow = dice.spread(0.25) / c.reach
    line = [(tilt * y + bow * y * y, y) for y in np.linspace(-1.2 * c.reach, 1.2 * c.reach, 21).tolist()]
    width = dice.between(10, 24)
    up = 7.0
    c.path(line, width + 1.6, p.mix(p.concrete, (240, 240, 236), 0.3), Mat.CONCRETE, up + 0.5)
    deck = p.mix(p.concrete, p.asphalt, dice.between(0, 0.8))
    c.path(line, width, deck, Mat.CONCRETE, up)
    for k in (-1, 1):
        c.path(ground.offset(line, k * width * 0.25), 1.2, p.mix(deck, (50, 50, 50), 0.12), None, up)
        c.path(ground.offset(line, k * (width / 2 - 0.9)), 0.25, p.paint, None, up)
    c.path(line, 0.3, (204, 180, 100) if dice.chance(0.5) else p.paint, None, up)
    _raised(c, line, width, up)


def _raised(c: Canvas, line: list[tuple[float, float]], width: float, up: float) -> None:
    """Traffic on a bridge: cars carry the height of the deck so that the deck does not shade them."""
    before = c.lift
    c.lift = up
    ground.traffic(c, line, width * 0.25, 22)
    ground.traffic(c, line, -width * 0.25, 22)
    c.lift = before


def crossing(c: Canvas) -> None:
    """Two streets that meet: markings, zebras, waiting cars, corners with houses, lawns or trees."""
    dice, p = c.dice, c.palette
    _verge(c)
    if dice.chance(0.5):
        c.fill(p.concrete, Mat.CONCRETE)
    wide, other = dice.between(10, 20), dice.between(9, 16)
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = sx * (other / 2 + 18), sy * (wide / 2 + 18)
            kind = dice.unit()
            if kind < 0.4:
                buildings.flat(
                    c,
                    x,
                    y,
                    dice.between(16, 28),
                    dice.between(16, 28),
                    0,
                    dice.near(dice.pick(((206, 200, 190), (160, 150, 140), (120, 118, 116))), 0.08),
                    dice.between(4, 9),
                    busy=True,
                )
            elif kind < 0.6:
                c.box(x, y, 27, 27, 0, p.lawn, Mat.LAWN)
                buildings.house(c, x, y, 17, 12, dice.pick((0.0, 1.57)))
            elif kind < 0.8:
                ground.car_park(c, x + sx * 4, y + sy * 4, 32, 30, dice.pick((0.0, 1.57)), 0.6)
            else:
                c.box(x, y, 27, 27, 0, p.lawn, Mat.LAWN)
                plants.grove(c, x, y, 9, dice.whole(2, 9))
    h, v = [(-c.reach, 0.0), (c.reach, 0.0)], [(0.0, -c.reach), (0.0, c.reach)]
    ground.road(c, h, wide, lines=False, walk=2)
    ground.road(c, v, other, lines=False, walk=2)
    c.path(h, wide, p.asphalt, Mat.ASPHALT)
    yellow: Colour = (206, 176, 90)
    for s in (-1, 1):
        for along, across, turn in ((other / 2 + 7, wide, 0.0), (wide / 2 + 7, other, math.pi / 2)):
            ca, sa = math.cos(turn), math.sin(turn)
            far = s * (along + 60)
            for shift in (-0.2, 0.2):
                c.path(
                    [
                        (s * along * ca - shift * sa, s * along * sa + shift * ca),
                        (far * ca - shift * sa, far * sa + shift * ca),
                    ],
                    0.18,
                    yellow,
                    None,
                )
            for lane in (-0.25, 0.25):
                v0 = lane * across
                c.dashes(
                    (s * along * ca - v0 * sa, s * along * sa + v0 * ca),
                    (far * ca - v0 * sa, far * sa + v0 * ca),
                    0.22,
                    3,
                    5,
                    p.paint,
                )
            w = -across / 2 + 0.8
            while w < across / 2 - 0.4:  # zebra
                u = s * (along - 4)
                c.box(u * ca - w * sa, u * sa + w * ca, 3.0, 0.6, turn, p.paint, None)
                w += 1.3
    ground.traffic(c, h, wide * 0.25, dice.between(8, 30))
    ground.traffic(c, h, -wide * 0.25, dice.between(8, 30))
    ground.traffic(c, v, other * 0.25, dice.between(10, 30))
    ground.traffic(c, v, -other * 0.25, dice.between(10, 30))
    for _ in range(dice.whole(0, 14)):
        plants.tree(
            c,
            dice.pick((-1, 1)) * (other / 2 + dice.between(4, 30)),
            dice.pick((-1, 1)) * (wide / 2 + dice.between(4, 30)),
            dice.between(1.5, 3.2),
        )


def runway(c: Canvas) -> None:
    """A runway with its markings, on grass or dry ground."""
    dice, p = c.dice, c.palette
    _verge(c)
    width = dice.between(26, 46)
    surface = dice.near(dice.pick((p.concrete, p.asphalt, (132, 118, 106), (76, 76, 78))), 0.05)
    shift = dice.spread(14)
    c.box(0, shift, 3 * c.reach, width + 12, 0, p.mix(surface, p.soil, 0.35), Mat.ASPHALT)
    c.box(0, shift, 3 * c.reach, width, 0, surface, Mat.ASPHALT)
    white = p.paint
    for k in range(1, 6):  # slabs or seams
        y = shift + width * (k / 6 - 0.5)
        c.path([(-c.reach, y), (c.reach, y)], 0.2, p.mix(surface, (40, 40, 40), 0.25), None)
    for s in (-1, 1):
        c.path(
            [(-c.reach, shift + s * (width / 2 - 1.2)), (c.reach, shift + s * (width / 2 - 1.2))],
            0.9,
            white,
            None,
        )
    for _ in range(dice.whole(4, 14)):  # rubber
        x, y = dice.spread(20), shift + dice.spread(3.5)
        c.box(
            x,
            y,
            dice.between(20, 60),
            dice.between(0.3, 1.1),
            0,
            p.mix(surface, (36, 34, 34), dice.between(0.25, 0.6)),
            None,
        )
    where = dice.unit()
    if where < 0.35:
        n = int(width / 3.6)
        for k in range(n):
            y = shift + (k - (n - 1) / 2) * width * 0.9 / n
            if abs(y - shift) > 1.5:
                c.box(-12, y, 24, 1.7, 0, white, None)
        _number(c, 14, shift)
    elif where < 0.6:
        for s in (-1, 1):
            c.box(dice.spread(8), shift + s * width * 0.24, 34, 5.0, 0, white, None)
    c.dashes(
        (dice.between(16, 30) if where < 0.35 else -c.reach, shift), (c.reach, shift), 0.9, 22, 16, white
    )
    if dice.chance(0.4):
        line = [(-c.reach, shift + width / 2 + 24), (c.reach, shift + width / 2 + 24)]
        c.path(line, 14, p.mix(surface, p.concrete, 0.4), Mat.ASPHALT)
        c.path(line, 0.4, (206, 176, 80), None)
    if dice.chance(0.12):
        vehicles.plane(c, dice.spread(14), shift, dice.pick((0.0, math.pi)), dice.between(16, 38))


def _number(c: Canvas, x: float, y: float) -> None:
    """Two digits of a runway as strokes of a seven-segment display."""
    dice = c.dice
    across, down = (1.4, 5.0), (5.0, 1.3)
    strokes = {
        "top": (8.0, 0.0, *across),
        "mid": (4.0, 0.0, *across),
        "low": (0.0, 0.0, *across),
        "tl": (6.0, -2.2, *down),
        "tr": (6.0, 2.2, *down),
        "bl": (2.0, -2.2, *down),
        "br": (2.0, 2.2, *down),
    }
    digits = (
        ("tr", "br"),
        ("top", "tr", "mid", "bl", "low"),
        ("top", "tr", "mid", "br", "low"),
        ("top", "tl", "mid", "bl", "br", "low"),
        ("tl", "tr", "mid", "br"),
    )
    for side in (-1, 1):
        for name in dice.pick(digits):
            u, v, long, wide = strokes[name]
            c.box(x + u, y + side * 5 + v, long, wide, 0, c.palette.paint, None)


def apron(c: Canvas) -> None:
    """Parked aeroplanes, joints of the slabs, guide lines, trucks, a terminal."""
    dice, p = c.dice, c.palette
    surface = dice.near(dice.pick((p.concrete, p.asphalt, (160, 148, 134), (176, 176, 170))), 0.05)
    c.fill(surface, Mat.CONCRETE)
    step = dice.between(6, 10)
    x = -c.reach
    joint = p.mix(surface, (60, 60, 60), 0.18)
    while x < c.reach:
        c.path([(x, -c.reach), (x, c.reach)], 0.2, joint, None)
        c.path([(-c.reach, x), (c.reach, x)], 0.2, joint, None)
        x += step
    for _ in range(dice.whole(2, 12)):
        c.disc(
            dice.spread(26), dice.spread(26), dice.between(0.6, 3), p.mix(surface, (60, 56, 52), 0.2), None
        )
    if dice.chance(0.45):
        y = -c.metres * dice.between(0.36, 0.5)
        c.box(0, y - 30, 3 * c.reach, 60, 0, p.wild if dice.chance(0.6) else p.soil, Mat.MEADOW)
    small = dice.chance(0.3)
    size = dice.between(9, 14) if small else dice.between(26, 46)
    count = dice.whole(2, 6) if small else dice.pick((1, 1, 2, 3))
    pitch = size * (dice.between(1.35, 1.7) if small else dice.between(1.05, 1.25))
    base = dice.pick((1, -1)) * math.pi / 2 + dice.spread(0.12)
    front = math.copysign(1, math.sin(base))
    terminal = not small and dice.chance(0.5)
    y0 = dice.spread(6)
    stands = [((k - (count - 1) / 2) * pitch + dice.spread(1.5), y0 + dice.spread(2)) for k in range(count)]
    for x, _ in stands:
        c.path([(x, y0 - 60), (x, y0 + 60)], 0.4, (206, 176, 80), None)
    if dice.chance(0.5):
        y = y0 - front * (size * 0.5 + 14)
        c.path([(-c.reach, y), (c.reach, y)], 0.4, (206, 176, 80), None)
    for x, y in stands:
        for _ in range(dice.whole(0, 3 if small else 8)):  # carts and lorries stand around, not under, a wing
            side = dice.pick((-1, 1)) * size * dice.between(0.16, 0.5)
            drive = vehicles.lorry if dice.chance(0.2) else vehicles.car
            drive(c, x + side, y + front * size * dice.between(0.15, 0.6), dice.between(0, 6))
    if terminal:
        y = y0 + front * (size * 0.62 + 14)
        buildings.flat(c, 0, y, 2.4 * c.reach, 26, 0, dice.near((206, 204, 198), 0.08), 10, busy=True)
    for x, y in stands:
        vehicles.plane(
            c, x, y, base if terminal else base + dice.spread(0.25), size * dice.between(0.9, 1.08)
        )
        if terminal:
            bridge = [(x + size * 0.06, y0 + front * size * 0.3), (x + size * 0.25, y0 + front * size * 0.66)]
            c.path(bridge, 2.6, (196, 194, 188), Mat.FLAT_ROOF, 6)
    if dice.chance(0.3):
        x, hangar = dice.pick((-1, 1)) * c.metres * 0.42, dice.near((190, 190, 186), 0.1)
        buildings.flat(c, x, -c.metres * 0.4, 22, 26, 0, hangar, 8, busy=True)


def tanks(c: Canvas) -> None:
    """A tank farm: bunds, pipes, tanks of a few sizes, a service building."""
    dice, p = c.dice, c.palette
    kind = dice.unit()
    if kind < 0.4:
        c.fill(p.soil, Mat.GRAVEL)
    elif kind < 0.7:
        ground.lawn(c, wild=True)
        ground.blotches(c, p.soil, Mat.SOIL, 0.3)
    else:
        c.fill(p.asphalt, Mat.ASPHALT)
    radius = dice.between(4, 15)
    step = radius * dice.between(2.6, 3.4)
    x0, y0 = dice.spread(8), dice.spread(8)
    n = max(1, int(c.metres / step / 2) + 1)
    track = y0 + dice.pick((-1, 1)) * step * dice.pick((0.5, 0.5, 1.5))
    ground.road(c, [(-c.reach, track), (c.reach, track)], 5, lines=False)
    few = dice.pick((0.35, 0.6, 0.95))
    spots = []
    floor = p.mix(p.soil, p.asphalt, dice.between(0.2, 0.8))
    rim = p.mix(p.soil, p.concrete, 0.5)
    for i in range(-n, n + 1):
        for j in range(-n, n + 1):
            x, y = x0 + i * step, y0 + j * step
            if (i == 0 and j == 0) or dice.chance(few):
                spots.append((x, y))
                c.box(x, y, step * 0.84, step * 0.84, 0, rim, None, 0.7)
                c.box(x, y, step * 0.79, step * 0.79, 0, dice.near(floor, 0.06), Mat.GRAVEL)
    for x, y in spots:
        c.path([(x, y), (x, track)], 0.6, (176, 172, 166), None, 0.8)
    for x, y in spots:
        if dice.chance(0.2):
            for dx in (-0.5, 0.5):
                for dy in (-0.5, 0.5):
                    buildings.tank(c, x + dx * radius * 1.2, y + dy * radius * 1.2, radius * 0.45)
        else:
            buildings.tank(c, x, y, radius * dice.between(0.85, 1.08))
    if dice.chance(0.5):
        buildings.flat(c, dice.spread(30), track + 9, 18, 9, 0, dice.near((200, 196, 188), 0.1), 5, busy=True)
    for _ in range(dice.whole(0, 5)):
        vehicles.car(c, dice.between(-c.reach, c.reach), track + dice.pick((-1.5, 1.5)), 0.0)
    plants.scatter(c, dice.whole(0, 6), 1, 3)
