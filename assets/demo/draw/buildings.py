"""Houses, halls, mobile homes, tanks, courts and pools."""

import math

from assets.demo.draw.canvas import Canvas
from assets.demo.draw.dice import Colour
from assets.demo.draw.materials import Mat


def roof(
    c: Canvas, x: float, y: float, length: float, width: float, angle: float, colour: Colour, up: float
) -> None:
    """A hipped or gabled roof, its ridge along the length."""
    dice = c.dice
    c.walls(x, y, length, width, angle, c.palette.mix(colour, (206, 196, 180), 0.6), Mat.ROOF, up)
    frame = c.frame(x, y, angle, up)
    u, v = length / 2, width / 2
    hip = dice.pick((0.0, 0.0, 0.6, 0.95)) * v
    if hip > u * 0.9:
        hip = u * 0.9
    right, left = c.lit(colour, angle + math.pi / 2), c.lit(colour, angle - math.pi / 2)
    c.shape(frame.box(-u, -v, u, v), colour, Mat.ROOF, up)
    c.shape(frame.points(((-u, v), (u, v), (u - hip, 0), (-u + hip, 0))), right, None, up + 0.5)
    c.shape(frame.points(((-u, -v), (u, -v), (u - hip, 0), (-u + hip, 0))), left, None, up + 0.5)
    if hip:
        c.shape(frame.points(((u, -v), (u, v), (u - hip, 0))), c.lit(colour, angle), None, up + 0.4)
        c.shape(
            frame.points(((-u, -v), (-u, v), (-u + hip, 0))), c.lit(colour, angle + math.pi), None, up + 0.4
        )
    ridge = max(0.12, 0.4 / c.scale)
    c.shape(frame.box(-u + hip, -ridge, u - hip, ridge), _shade(colour, 1.12), None, up + 1.6)


def house(c: Canvas, x: float, y: float, length: float, width: float, angle: float) -> None:
    """A dwelling of one to three roofs, or a flat roof where the climate is dry."""
    if not c.sees(x, y, length):
        return
    dice = c.dice
    colour = dice.near(dice.pick(c.palette.roofs), 0.08, 4)
    if dice.chance(0.5 if c.palette.climate == "desert" else 0.04):
        flat(c, x, y, length, width, angle, dice.near((210, 202, 188), 0.08), 4.0)
        return
    up = dice.pick((3.2, 3.6, 6.0))
    ca, sa = math.cos(angle), math.sin(angle)
    if dice.chance(0.65):  # a wing across the main roof
        s = dice.pick((-1, 1))
        u, v = s * length * dice.between(0.15, 0.32), dice.pick((-1, 1)) * width * dice.between(0.2, 0.45)
        roof(
            c,
            x + u * ca - v * sa,
            y + u * sa + v * ca,
            width * dice.between(0.9, 1.15),
            length * dice.between(0.34, 0.46),
            angle + math.pi / 2,
            colour,
            up - 0.4,
        )
    roof(c, x, y, length, width, angle, colour, up)
    if dice.chance(0.4):  # a lower garage or porch
        s = dice.pick((-1, 1))
        u, v = s * length * 0.38, width * dice.between(-0.5, 0.5)
        roof(
            c,
            x + u * ca - v * sa,
            y + u * sa + v * ca,
            width * 0.6,
            length * 0.3,
            angle,
            _shade(colour, 0.97),
            up - 0.8,
        )
    if dice.chance(0.4):
        u = length * dice.between(-0.3, 0.3)
        c.box(x + u * ca, y + u * sa, 0.9, 0.7, angle, (150, 120, 108), None, up + 2.4)


def flat(
    c: Canvas,
    x: float,
    y: float,
    length: float,
    width: float,
    angle: float,
    colour: Colour,
    up: float,
    busy: bool = False,
) -> None:
    """A flat roof with parapet; `busy` ones carry machines, skylights and penthouses."""
    dice = c.dice
    c.walls(x, y, length, width, angle, c.palette.mix(colour, (150, 142, 132), 0.4), Mat.FLAT_ROOF, up)
    frame = c.frame(x, y, angle, up)
    u, v = length / 2, width / 2
    rim = 0.35
    c.shape(frame.box(-u, -v, u, v), _shade(colour, 1.14), Mat.FLAT_ROOF, up + 0.7)
    c.shape(frame.box(-u + rim, -v + rim, u - rim, v - rim), colour, None, up)
    if not busy:
        return
    if dice.chance(0.4):  # a patch of newer or older roof
        a, b = sorted((dice.between(-u, u), dice.between(-u, u)))
        c.shape(
            frame.box(max(a, -u + rim), -v + rim, min(b, u - rim), v - rim),
            dice.near(colour, 0.12, 4),
            None,
            up,
        )
    if dice.chance(0.35):  # seams of metal sheets
        at = -u + rim
        while at < u - rim:
            c.shape(frame.box(at, -v + rim, at + 0.25, v - rim), _shade(colour, 0.9), None, up)
            at += 2.4
    for _ in range(int(length * width / dice.between(60, 200))):
        a, b = dice.between(-u * 0.85, u * 0.85), dice.between(-v * 0.8, v * 0.8)
        w, h = dice.between(0.6, 1.6), dice.between(0.5, 1.3)
        grey = dice.near((188, 188, 184), 0.15, 3)
        c.shape(frame.box(a - w, b - h, a + w, b + h), grey, None, up + dice.between(0.8, 1.8))
    if dice.chance(0.4) and min(u, v) > 5:
        a, b = dice.between(-u * 0.5, u * 0.5), dice.between(-v * 0.5, v * 0.5)
        w, h = u * dice.between(0.15, 0.4), v * dice.between(0.15, 0.4)
        c.shape(
            frame.box(a - w, b - h, a + w, b + h), dice.near(colour, 0.12, 5), None, up + dice.between(2.5, 5)
        )
    if dice.chance(0.2):
        for i in range(-3, 4):
            c.shape(
                frame.box(u * i / 4 - 0.5, -v * 0.5, u * i / 4 + 0.5, v * 0.5),
                (120, 132, 140),
                None,
                up + 0.3,
            )


def trailer(c: Canvas, x: float, y: float, angle: float, length: float, width: float) -> None:
    """A mobile home: a long pale box with a shallow ridge and an awning."""
    if not c.sees(x, y, length):
        return
    dice = c.dice
    frame = c.frame(x, y, angle, 3.4)
    u, v = length / 2, width / 2
    colour = dice.near(
        dice.pick(
            (
                (226, 226, 224),
                (206, 208, 208),
                (236, 234, 228),
                (188, 184, 174),
                (150, 144, 136),
                (196, 206, 214),
            )
        ),
        0.06,
        3,
    )
    if dice.chance(0.6):
        s = dice.pick((-1, 1))
        awning = dice.near(dice.pick(((214, 212, 206), (178, 170, 158), (150, 164, 160))), 0.08)
        c.shape(frame.box(-u * 0.6, s * v, u * 0.5, s * (v + 2.4)), awning, Mat.TRAILER, 2.3)
    c.shape(frame.box(-u, -v, u, v), colour, Mat.TRAILER, 3.4)
    c.shape(frame.box(-u, 0, u, v), c.lit(colour, angle + math.pi / 2, 0.12), None, 3.4)
    c.shape(frame.box(-u, -v, u, 0), c.lit(colour, angle - math.pi / 2, 0.12), None, 3.4)
    for _ in range(dice.whole(0, 2)):
        a = dice.between(-u * 0.8, u * 0.8)
        c.shape(frame.box(a - 0.3, -0.3, a + 0.3, 0.3), (150, 150, 150), None, 3.8)


def tank(c: Canvas, x: float, y: float, radius: float) -> None:
    """A storage tank with a fixed or a sunken floating roof."""
    dice = c.dice
    paints = ((236, 236, 232), (226, 222, 212), (214, 210, 200), (200, 186, 168), (168, 172, 174))
    colour = dice.near(dice.pick(paints), 0.04, 2)
    up = max(3.0, min(16.0, radius * dice.between(0.7, 1.2)))
    for k in range(5):  # the wall, seen from aside: the foot moves towards the roof
        c.disc(x, y, radius, _shade(colour, 0.6 + 0.04 * k), Mat.TANK, up * k / 4, up * k / 4)
    c.disc(x, y, radius * 0.97, colour, None, up, up)
    if dice.chance(0.4) and radius > 4:  # floating roof: the wall stands above it and shades it
        deck = dice.near(dice.pick(((196, 188, 176), (176, 134, 110), (206, 204, 200))), 0.06)
        low = up * dice.between(0.45, 0.8)
        c.disc(x, y, radius * 0.93, deck, None, low, up)
        c.ring(x, y, radius * 0.8, 0.3, _shade(deck, 0.88), low, up)
    else:
        c.ring(x, y, radius * 0.66, 0.3, _shade(colour, 0.95), up, up)
        spokes = c.frame(x, y, 0.3, up)
        for i in range(8):
            a = i * math.tau / 8
            tip = (radius * 0.95 * math.cos(a), radius * 0.95 * math.sin(a))
            c.stroke(spokes.points(((0, 0), tip)), 0.2, _shade(colour, 0.95), up)
        if dice.chance(0.3):  # rust
            for _ in range(dice.whole(3, 12)):
                a, d = dice.between(0, math.tau), radius * math.sqrt(dice.unit()) * 0.85
                rust = c.palette.mix(colour, (150, 96, 70), dice.between(0.15, 0.5))
                c.disc(
                    x + d * math.cos(a),
                    y + d * math.sin(a),
                    dice.between(0.3, 0.14 * radius),
                    rust,
                    None,
                    up,
                    up,
                )
    walkway = c.frame(x, y, dice.between(0, math.tau), up)
    c.stroke(walkway.points(((0, 0), (radius, 0))), 0.6, _shade(colour, 0.75), up + 0.4)
    c.disc(x, y, 0.7, _shade(colour, 0.75), None, up + 0.8, up)


def tennis(c: Canvas, x: float, y: float, angle: float, inner: Colour, outer: Colour) -> None:
    """A tennis court of 36 x 18 m with its lines and net."""
    frame = c.frame(x, y, angle)
    white: Colour = (230, 232, 228)
    c.shape(frame.box(-18, -9, 18, 9), outer, Mat.COURT)
    c.shape(frame.box(-11.9, -5.5, 11.9, 5.5), inner, None)
    t = max(0.09, 0.45 / c.scale)
    for v in (-5.5, -4.1, 4.1, 5.5):
        c.shape(frame.box(-11.9, v - t, 11.9, v + t), white, None)
    for u in (-11.9, -6.4, 6.4, 11.9):
        half = 5.5 if abs(u) > 10 else 4.1
        c.shape(frame.box(u - t, -half, u + t, half), white, None)
    c.shape(frame.box(-6.4, -t, 6.4, t), white, None)
    c.shape(frame.box(-t, -6.4, t, 6.4), (60, 64, 62), None, 0.9)


def basketball(c: Canvas, x: float, y: float, angle: float, inner: Colour, outer: Colour) -> None:
    """A basketball court of 30 x 17 m."""
    frame = c.frame(x, y, angle)
    white: Colour = (226, 228, 224)
    t = max(0.09, 0.45 / c.scale)
    c.shape(frame.box(-15.5, -9, 15.5, 9), outer, Mat.COURT)
    c.shape(frame.box(-14, -7.5, 14, 7.5), white, None)
    c.shape(frame.box(-14 + 2 * t, -7.5 + 2 * t, 14 - 2 * t, 7.5 - 2 * t), inner, None)
    for s in (-1, 1):
        c.shape(frame.box(s * 8.2, -2.4, s * 14, 2.4), outer, None)
        arc = [
            (s * (14 - 6.7 * math.cos(a)), 6.7 * math.sin(a)) for a in [i * 0.26 - 1.56 for i in range(13)]
        ]
        c.stroke(frame.points(arc), 2 * t, white)
        c.shape(frame.box(s * 13.2, -0.9, s * 13.5, 0.9), (240, 240, 240), None, 3.0)
    c.shape(frame.box(-t, -7.5, t, 7.5), white, None)
    c.ring(x, y, 1.8, 2 * t, white)


def pool(c: Canvas, x: float, y: float, angle: float, length: float = 8.0) -> None:
    """A swimming pool with its paved rim."""
    dice = c.dice
    frame = c.frame(x, y, angle)
    u, v = length / 2, length * 0.27
    blue = dice.near(dice.pick(((92, 176, 190), (104, 190, 204), (70, 150, 176))), 0.06)
    edge = [
        (u * math.cos(a) * 1.0, v * math.sin(a) * (1.0 + 0.25 * math.cos(a)))
        for a in [i * 0.42 for i in range(15)]
    ]
    if dice.chance(0.5):
        edge = [(-u, -v), (u, -v), (u, v), (-u, v)]
    c.shape(
        frame.points([(a * 1.3, b * 1.5) for a, b in edge]), dice.near((206, 198, 184), 0.05), Mat.CONCRETE
    )
    c.shape(frame.points(edge), blue, Mat.WATER)


def _shade(colour: Colour, k: float) -> Colour:
    return min(255, int(colour[0] * k)), min(255, int(colour[1] * k)), min(255, int(colour[2] * k))
