"""Scenes of streets, houses, halls, courts and car parks."""

import math

from assets.demo.draw import buildings, ground, plants, vehicles
from assets.demo.draw.canvas import Canvas
from assets.demo.draw.dice import Colour
from assets.demo.draw.materials import Mat


def _yard(c: Canvas, wild: float = 0.25) -> None:
    """Ground between houses: lawn, worn to soil here and there, or desert soil."""
    p, dice = c.palette, c.dice
    if p.climate == "desert":
        c.fill(p.soil, Mat.SOIL)
        if dice.chance(0.5):
            ground.blotches(c, p.lawn, Mat.LAWN, 0.2)
    else:
        ground.lawn(c)
        if dice.chance(0.6):
            ground.blotches(c, p.mix(p.soil, p.lawn, wild), Mat.SOIL, dice.between(0.1, 0.45))


def _block(c: Canvas, depth: float, lot: float, fill: float, trees: float, cars: float, pools: float) -> None:
    """Streets along x, `2 * depth` apart, with lots on both sides.

    Args:
        c: The picture.
        depth: Of a lot in metres.
        lot: Width of a lot in metres.
        fill: Share of a lot's width that the house takes.
        trees: Trees per lot.
        cars: Cars per lot.
        pools: Share of the lots that have a pool.
    """
    dice = c.dice
    width = dice.between(7, 10)
    shift = dice.between(-depth, depth)
    cross = dice.between(-c.reach, c.reach) if dice.chance(0.5) else None
    pitch = 2 * depth + width
    streets = [shift + pitch * k for k in range(-3, 4) if abs(shift + pitch * k) < c.reach + depth]
    bend = dice.spread(0.5) / c.reach if dice.chance(0.4) else 0.0
    lots = []
    for y in streets:
        for side in (-1, 1):
            x = -c.reach + dice.between(-lot, 0)
            while x < c.reach:
                here = lot * dice.between(0.85, 1.15)
                middle = x + here / 2
                x += here
                if cross is None or abs(middle - cross) > width / 2 + here * 0.45:
                    sag = bend * middle * middle * 0.25
                    lots.append(
                        (middle, y + sag + side * width / 2, side, here, math.atan(bend * middle * 0.5))
                    )
    lots = [home for home in lots if c.sees(home[0], home[1] + home[2] * depth / 2, depth)]
    for x, y, side, here, turn in lots:
        _garden(c, x, y, side, here, depth, turn)
    for y in streets:
        line = [(c.reach * k / 6, y + bend * (c.reach * k / 6) ** 2 * 0.25) for k in range(-7, 8)]
        ground.road(c, line, width, lines=dice.chance(0.3), walk=dice.pick((0.0, 1.5, 1.5)))
        if cars:
            ground.traffic(c, line, width / 2 - 1.3, 18 / cars, 0.0)
            ground.traffic(c, line, -width / 2 + 1.3, 22 / cars, 0.0)
    if cross is not None:
        ground.road(c, [(cross, -c.reach), (cross, c.reach)], width, lines=False, walk=1.5)
    for x, y, side, here, turn in lots:
        _home(c, x, y, side, here, depth, turn, fill, trees, cars, pools)


def _garden(c: Canvas, x: float, y: float, side: int, lot: float, depth: float, turn: float) -> None:
    """The ground of one lot: every owner waters it differently."""
    dice, p = c.dice, c.palette
    green = p.climate != "desert"
    if dice.chance(0.75 if green else 0.3):
        c.box(x, y + side * depth / 2, lot * 0.97, depth, turn, dice.near(p.lawn, 0.1, 5), Mat.LAWN)
    if dice.chance(0.35 if green else 0.6):
        worn = p.mix(p.soil, p.lawn, dice.between(0, 0.35))
        c.box(x, y + side * depth * 0.75, lot * 0.94, depth * 0.48, turn, dice.near(worn, 0.06), Mat.SOIL)
    if dice.chance(0.3):
        c.box(x + lot / 2, y + side * depth * 0.7, 0.25, depth * 0.6, turn, (148, 134, 116), None, 1.7)
    if dice.chance(0.3):
        c.box(x, y + side * depth, lot, 0.25, turn, (148, 134, 116), None, 1.7)


def _home(
    c: Canvas,
    x: float,
    y: float,
    side: int,
    lot: float,
    depth: float,
    turn: float,
    fill: float,
    trees: float,
    cars: float,
    pools: float,
) -> None:
    """The house of one lot with its drive, terrace, pool, shed and trees."""
    dice, p = c.dice, c.palette
    deep = depth * dice.between(0.32, 0.44)
    centre = y + side * (depth * dice.between(0.2, 0.3) + deep / 2)
    drive = x + dice.pick((-1, 1)) * lot * 0.34
    paved = dice.near(p.concrete, 0.06)
    c.path([(drive, y - side), (drive, centre)], dice.pick((2.6, 3.4, 5.0)), paved, Mat.CONCRETE)
    if dice.chance(cars):
        vehicles.car(c, drive, (y + centre - side * deep / 2) / 2, math.pi / 2 + dice.spread(0.05))
    back = y + side * depth * 0.84
    if dice.chance(0.5):
        c.box(x, centre + side * deep * 0.55, lot * dice.between(0.3, 0.6), 4, turn, paved, Mat.CONCRETE)
    if dice.chance(pools):
        buildings.pool(c, x + dice.spread(lot * 0.15), back, dice.between(0, 1.5), dice.between(6, 9))
    angle = turn + (math.pi if side < 0 else 0.0)
    buildings.house(c, x, centre, lot * fill, deep, angle)
    if dice.chance(0.3):
        shed = dice.near((170, 160, 148), 0.15)
        buildings.flat(c, x + dice.spread(lot * 0.25), back, 3.5, 2.8, turn, shed, 2.4)
    for _ in range(int(trees * dice.between(0.4, 1.8) + 0.5)):
        at = y + side * dice.between(0, depth)
        if abs(at - centre) > deep * 0.45 or dice.chance(0.1):
            plants.tree(c, x + dice.between(-0.5, 0.5) * lot, at, dice.between(1.2, 4.4))
    for _ in range(dice.whole(0, 4)):  # bushes along walls and fences
        bx = x + dice.pick((-0.46, 0.46, dice.between(-0.4, 0.4))) * lot
        plants.tree(c, bx, y + side * dice.between(0.1, 1.0) * depth, dice.between(0.6, 1.2))


def dense_homes(c: Canvas) -> None:
    """Terraces and small lots."""
    dice = c.dice
    if dice.chance(0.35):
        c.fill(c.palette.concrete, Mat.CONCRETE)
    else:
        _yard(c)
    _block(
        c,
        dice.between(17, 22),
        dice.between(10, 14),
        dice.between(0.84, 0.96),
        dice.pick((0.6, 1.5, 3.0)),
        dice.between(0.5, 0.9),
        0.03,
    )


def medium_homes(c: Canvas) -> None:
    """Detached houses with gardens."""
    dice = c.dice
    _yard(c)
    _block(
        c,
        dice.between(26, 34),
        dice.between(16, 23),
        dice.between(0.62, 0.8),
        dice.pick((2.0, 4.0, 6.0)),
        dice.between(0.2, 0.7),
        0.12,
    )


def sparse_homes(c: Canvas) -> None:
    """One or two large houses among trees, meadow or desert shrubs."""
    dice, p = c.dice, c.palette
    desert = p.climate in ("desert", "dry") and dice.chance(0.7)
    if desert:
        c.fill(p.soil, Mat.SOIL)
        c.cover(Mat.CHAPARRAL, (p.tree[0], p.tree[1]), dice.between(0.9, 1.5), dice.between(0.2, 0.4), 2.0)
    else:
        ground.lawn(c, wild=dice.chance(0.5))
        if dice.chance(0.4):
            ground.blotches(c, p.soil, Mat.SOIL, 0.2)
    if dice.chance(0.6):
        y = dice.pick((-1, 1)) * dice.between(0.4, 0.8) * c.metres / 2
        ground.road(
            c, [(-c.reach, y), (c.reach, y + dice.spread(6))], dice.between(5, 8), lines=dice.chance(0.5)
        )
    else:
        y = -c.reach
    for k in range(dice.pick((1, 1, 2))):
        x, yy = dice.spread(9) + (k * 34 - 8), dice.spread(9)
        drive = p.concrete if dice.chance(0.5) else p.mix(p.asphalt, p.soil, 0.3)
        c.path([(x + 12, y), (x + 14, (y + yy) / 2), (x + 8, yy + 4), (x, yy + 6)], 4.0, drive, Mat.CONCRETE)
        c.disc(x + 4, yy + 9, dice.between(4, 7), drive, Mat.CONCRETE)
        if dice.chance(0.4):
            buildings.pool(c, x - 4, yy - 13, dice.between(0, 3), 10)
        buildings.house(c, x, yy, dice.between(17, 26), dice.between(11, 15), dice.between(0, 3))
        if dice.chance(0.5):
            buildings.house(c, x + 17, yy - 9, 9, 8, dice.between(0, 3))
        if dice.chance(0.6):
            vehicles.car(c, x + 6, yy + 10, dice.between(0, 6))
    if not desert:
        for _ in range(dice.whole(2, 7)):
            a = dice.between(0, math.tau)
            d = dice.between(0.34, 0.7) * c.metres
            plants.grove(
                c,
                d * math.cos(a),
                d * math.sin(a),
                dice.between(6, 16),
                dice.whole(5, 22),
                dice.between(2.5, 4.6),
            )
    plants.scatter(c, dice.whole(2, 14), 1.0, 3.5)


def trailers(c: Canvas) -> None:
    """A mobile-home park."""
    dice, p = c.dice, c.palette
    c.fill(
        p.asphalt if dice.chance(0.5) else p.mix(p.soil, p.asphalt, 0.3),
        Mat.ASPHALT if dice.chance(0.6) else Mat.SOIL,
    )
    if dice.chance(0.5):
        ground.blotches(c, p.lawn, Mat.LAWN, 0.3)
    slant = dice.pick((0.0, 0.35, -0.35, 0.6)) + math.pi / 2
    length, width, gap = dice.between(13, 19), dice.between(4.2, 6.5), dice.between(2.8, 5.5)
    street = dice.between(6, 8)
    y = -c.reach + dice.between(-20, 0)
    while y < c.reach + 10:
        c.path([(-c.reach, y), (c.reach, y)], street, p.asphalt, Mat.ASPHALT)
        for side in (-1, 1):
            x = -c.reach
            centre = y + side * (street / 2 + length * 0.52)
            while x < c.reach:
                if dice.chance(0.93):
                    buildings.trailer(
                        c,
                        x,
                        centre + dice.spread(0.6),
                        slant + dice.spread(0.03),
                        length * dice.between(0.8, 1.05),
                        width,
                    )
                    if dice.chance(0.45):
                        vehicles.car(
                            c, x + width / 2 + 1.6, centre - side * length * 0.2, slant + dice.spread(0.06)
                        )
                    if dice.chance(0.35):
                        plants.tree(
                            c,
                            x + width / 2 + 1.4,
                            centre + side * length * dice.between(-0.3, 0.55),
                            dice.between(1.0, 3.2),
                        )
                x += width + gap
        y += street + 2.1 * length


def industry(c: Canvas) -> None:
    """Large flat halls, yards, lorries."""
    dice, p = c.dice, c.palette
    c.fill(p.asphalt if dice.chance(0.5) else p.concrete, Mat.ASPHALT)
    if dice.chance(0.4):
        c.box(0, c.metres * 0.45, 3 * c.reach, c.metres * 0.3, 0, p.lawn, Mat.LAWN)
    y = -c.reach + dice.between(-20, 0)
    while y < c.reach:
        deep = dice.between(18, 42)
        x = -c.reach + dice.between(-20, 0)
        while x < c.reach:
            long = dice.between(20, 62)
            if dice.chance(0.8):
                colour = dice.near(
                    dice.pick(
                        (
                            (204, 200, 192),
                            (226, 224, 218),
                            (168, 164, 158),
                            (150, 142, 132),
                            (178, 192, 198),
                            (120, 118, 116),
                        )
                    ),
                    0.06,
                )
                buildings.flat(
                    c,
                    x + long / 2,
                    y + deep / 2,
                    long,
                    deep * dice.between(0.8, 1),
                    0.0,
                    colour,
                    dice.between(5, 11),
                    busy=True,
                )
            elif dice.chance(0.6):
                ground.car_park(c, x + long / 2, y + deep / 2, long, deep, 0.0, dice.between(0.3, 0.9))
            else:
                plants.grove(c, x + long / 2, y + deep / 2, deep / 2, 8)
            at = x
            while at < x + long:
                if dice.chance(0.5):
                    (vehicles.lorry if dice.chance(0.35) else vehicles.car)(
                        c, at, y + deep + 3, dice.pick((1.57, 0.0))
                    )
                at += 4.4
            x += long + dice.between(5, 14)
        y += deep + dice.between(8, 18)
    plants.scatter(c, dice.whole(0, 10), 1.5, 3.0)


def downtown(c: Canvas) -> None:
    """Close and tall blocks with cluttered roofs."""
    dice, p = c.dice, c.palette
    c.fill(p.mix(p.concrete, p.asphalt, dice.unit()), Mat.CONCRETE)
    street, block = dice.between(9, 14), dice.between(38, 60)
    shift = dice.between(-block / 2, block / 2)
    k = -3
    while k < 4:
        y = shift + k * (block + street)
        ground.road(c, [(-c.reach, y), (c.reach, y)], street, lines=True, walk=2.5)
        ground.road(c, [(y, -c.reach), (y, c.reach)], street, lines=True, walk=2.5)
        k += 1
    for i in range(-3, 3):
        for j in range(-3, 3):
            x0, y0 = (
                shift + i * (block + street) + street / 2 + 3,
                shift + j * (block + street) + street / 2 + 3,
            )
            if not c.sees(x0 + block / 2, y0 + block / 2, block * 0.75):
                continue
            inner = block - 6
            across = dice.whole(1, 4)
            for a in range(across):
                down = dice.whole(1, 3)
                for b in range(down):
                    w, h = inner / across, inner / down
                    x, y = x0 + (a + 0.5) * w, y0 + (b + 0.5) * h
                    if dice.chance(0.12):
                        plants.grove(c, x, y, min(w, h) / 2, 7)
                    elif dice.chance(0.1):
                        ground.car_park(c, x, y, w, h, 0, 0.8)
                    else:
                        colour = dice.near(
                            dice.pick(
                                (
                                    (196, 190, 180),
                                    (168, 160, 150),
                                    (130, 126, 122),
                                    (216, 212, 204),
                                    (176, 150, 128),
                                    (104, 102, 102),
                                )
                            ),
                            0.08,
                            5,
                        )
                        buildings.flat(
                            c,
                            x,
                            y,
                            w * dice.between(0.75, 0.99),
                            h * dice.between(0.75, 0.99),
                            0,
                            colour,
                            dice.between(5, 20),
                            busy=True,
                        )
    for k in range(-3, 4):
        y = shift + k * (block + street)
        ground.traffic(c, [(-c.reach, y), (c.reach, y)], street * 0.25, 16)
        ground.traffic(c, [(y, -c.reach), (y, c.reach)], -street * 0.25, 16)
        if dice.chance(0.5):
            plants.row(c, -c.reach, y + street / 2 + 1.5, c.reach, y + street / 2 + 1.5, 9, 2)


def parking(c: Canvas) -> None:
    """A large car park, often with a building or a street at its edge."""
    dice, p = c.dice, c.palette
    c.fill(p.lawn if dice.chance(0.6) else p.concrete, Mat.LAWN)
    if dice.chance(0.5):
        c.fill(p.asphalt, Mat.ASPHALT)
    full = dice.between(0.25, 0.97)
    edge = dice.pick((0.0, 0.0, 0.3, 0.45))
    width = 2 * c.reach * (1 - edge)
    ground.car_park(c, 0, -c.reach * edge, 2 * c.reach, width, 0.0, full)
    if edge:
        y = c.reach * (1 - 2 * edge) + 6
        if dice.chance(0.5):
            buildings.flat(
                c,
                dice.spread(10),
                y + 16,
                dice.between(40, 90),
                28,
                0,
                dice.near((206, 202, 194), 0.1),
                8,
                busy=True,
            )
        else:
            ground.road(c, [(-c.reach, y + 8), (c.reach, y + 8)], 9)
            ground.traffic(c, [(-c.reach, y + 8), (c.reach, y + 8)], 2.2, 22)
        plants.row(c, -c.reach, y, c.reach, y, 8, 2.4)


# Inner and outer colour of courts.
_COURTS: tuple[tuple[Colour, Colour], ...] = (
    ((70, 110, 84), (140, 84, 70)),
    ((84, 120, 92), (72, 100, 78)),
    ((70, 104, 140), (84, 124, 92)),
    ((150, 88, 72), (80, 112, 84)),
    ((118, 124, 122), (100, 106, 104)),
    ((64, 96, 132), (64, 84, 112)),
)


def courts(c: Canvas) -> None:
    """Tennis or basketball courts by a park, a school or houses."""
    dice, p = c.dice, c.palette
    _yard(c)
    if dice.chance(0.5):
        y = -c.metres * dice.between(0.34, 0.5)
        ground.road(c, [(-c.reach, y), (c.reach, y)], 8, walk=1.5)
        ground.traffic(c, [(-c.reach, y), (c.reach, y)], 2.6, 12, 0.0)
    worn = dice.between(0, 0.5)
    inner, outer = (p.mix(dice.near(k, 0.08, 4), (120, 124, 120), worn) for k in dice.pick(_COURTS))
    draw = buildings.tennis if dice.chance(0.7) else buildings.basketball
    columns, lines = dice.pick(((1, 1), (2, 1), (3, 1), (4, 1), (2, 2), (3, 2)))
    x0, y0 = dice.spread(8) - (columns - 1) * 9, dice.spread(8) - (lines - 1) * 19
    c.box(
        x0 + (columns - 1) * 9,
        y0 + (lines - 1) * 19,
        columns * 18 + 3,
        lines * 37 + 3,
        0,
        p.concrete,
        Mat.CONCRETE,
    )
    for i in range(columns):
        for j in range(lines):
            draw(c, x0 + i * 18, y0 + j * 38, math.pi / 2, inner, outer)
    side = x0 + columns * 18
    what = dice.unit()
    if what < 0.35:
        ground.car_park(c, side + 18, y0, 50, 32, math.pi / 2, dice.between(0.3, 0.9))
    elif what < 0.7:
        for k in range(-2, 3):
            buildings.house(c, side + 10, k * 22.0, 15, 10, math.pi / 2)
    if dice.chance(0.5):
        buildings.flat(
            c,
            x0 - 34,
            y0 + dice.spread(15),
            30,
            20,
            math.pi / 2,
            dice.near((206, 200, 190), 0.1),
            6,
            busy=True,
        )
    plants.row(c, x0 - 12, -c.reach, x0 - 12, c.reach, 7, dice.between(2, 3.5))
    if dice.chance(0.6):
        plants.row(c, -c.reach, y0 + lines * 21 + 4, c.reach, y0 + lines * 21 + 4, 7, 2.6)
    for _ in range(dice.whole(0, 3)):
        plants.grove(c, dice.pick((-1, 1)) * c.metres * 0.45, dice.spread(30), 9, 9)
