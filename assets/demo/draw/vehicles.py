"""Cars, lorries, boats and aeroplanes."""

import math

from assets.demo.draw.canvas import Canvas
from assets.demo.draw.dice import Colour
from assets.demo.draw.materials import Mat
from assets.demo.draw.palette import CARS


def car(c: Canvas, x: float, y: float, angle: float) -> None:
    """A car of about 4.6 m, its bonnet towards `angle`."""
    if not c.sees(x, y, 3):
        return
    dice = c.dice
    colour = dice.near(dice.pick(CARS), 0.06, 2)
    long, wide = dice.between(2.1, 2.6), dice.between(0.88, 1.02)
    frame = c.frame(x, y, angle)
    nose = long - 0.3
    body = (
        (-long, -wide + 0.2), (-nose, -wide), (nose, -wide), (long, -wide + 0.35),
        (long, wide - 0.35), (nose, wide), (-nose, wide), (-long, wide - 0.2),
    )  # fmt: skip
    c.shape(frame.points(body), colour, Mat.CAR, 1.2)
    glass = (40, 46, 52) if sum(colour) > 240 else (74, 82, 90)
    c.shape(frame.box(-long * 0.72, -wide * 0.82, long * 0.42, wide * 0.82), glass, None, 1.5)
    roof = (min(255, colour[0] + 14), min(255, colour[1] + 14), min(255, colour[2] + 14))
    c.shape(frame.box(-long * 0.5, -wide * 0.8, long * 0.12, wide * 0.8), roof, None, 1.6)


def lorry(c: Canvas, x: float, y: float, angle: float) -> None:
    """A tractor with a long box."""
    if not c.sees(x, y, 9):
        return
    dice = c.dice
    frame = c.frame(x, y, angle)
    long = dice.between(4.0, 6.8)
    box = dice.near(dice.pick(((232, 232, 228), (214, 212, 206), (190, 186, 176), (150, 120, 96))), 0.05)
    c.shape(frame.box(-long, -1.3, long, 1.3), box, Mat.CAR, 3.6)
    c.shape(frame.box(-long, -0.25, long, 0.25), _shade(box, 0.95), None, 3.6)
    cab = dice.near(dice.pick(CARS), 0.05)
    c.shape(frame.box(long + 0.5, -1.2, long + 2.6, 1.2), cab, Mat.CAR, 2.9)
    c.shape(frame.box(long + 1.9, -1.1, long + 2.4, 1.1), (48, 54, 60), None, 2.9)


def boat(c: Canvas, x: float, y: float, angle: float, length: float) -> None:
    """A moored yacht or motor boat, bow towards `angle`."""
    if not c.sees(x, y, length * 0.6):
        return
    dice = c.dice
    frame = c.frame(x, y, angle)
    half, beam = length / 2, length * dice.between(0.145, 0.18)
    hull = dice.near(
        dice.pick(((236, 236, 232), (226, 224, 216), (240, 240, 240), (60, 72, 100), (214, 206, 190))), 0.04
    )
    outline = (
        (-half, -beam * 0.8), (-half * 0.3, -beam), (half * 0.35, -beam * 0.8), (half * 0.75, -beam * 0.42),
        (half, 0.0),
        (half * 0.75, beam * 0.42), (half * 0.35, beam * 0.8), (-half * 0.3, beam), (-half, beam * 0.8),
    )  # fmt: skip
    c.shape(frame.points(outline), hull, Mat.SHIP, 1.4)
    deck = [(u * 0.86, v * 0.7) for u, v in outline]
    c.shape(frame.points(deck), dice.near((222, 216, 202), 0.06), None, 1.4)
    if dice.chance(0.6):  # a motor boat: cabin, windscreen, open cockpit
        c.shape(frame.box(-half * 0.35, -beam * 0.58, half * 0.3, beam * 0.58), _shade(hull, 1.02), None, 2.6)
        c.shape(frame.box(half * 0.16, -beam * 0.5, half * 0.3, beam * 0.5), (58, 68, 78), None, 2.6)
        c.shape(
            frame.box(-half * 0.85, -beam * 0.55, -half * 0.45, beam * 0.55),
            dice.near((140, 130, 118), 0.2),
            None,
            1.0,
        )
    else:  # a sailing boat: covered boom along the middle, mast
        cover = dice.near(dice.pick(((48, 70, 118), (200, 200, 196), (70, 110, 110), (120, 50, 50))), 0.1)
        c.shape(frame.box(-half * 0.75, -0.22, half * 0.1, 0.22), cover, None, 2.4)
        c.shape(frame.box(half * 0.1, -0.14, half * 0.22, 0.14), (230, 230, 230), None, 11.0)


def ship(c: Canvas, x: float, y: float, angle: float, length: float) -> None:
    """A ship under way, with its wake."""
    dice = c.dice
    frame = c.frame(x, y, angle)
    half, beam = length / 2, length * dice.between(0.1, 0.14)
    base = c.palette.sea
    reach = length * dice.between(1.0, 2.6)
    for k in range(6):  # the wake fades and widens behind the stern
        long, wide = reach * (1.0 - k * 0.15), (0.07 - 0.01 * k) * reach
        wake = ((-half * 0.6, -beam * 0.4), (-half - long, -beam - wide), (-half - long * 1.04, 0.0),
                (-half - long, beam + wide), (-half * 0.6, beam * 0.4))  # fmt: skip
        c.shape(frame.points(wake), c.palette.mix(base, (228, 236, 236), 0.05 + 0.06 * k), None)
    for side in (-1, 1):  # the bow wave
        arm = frame.points(((half * 0.9, 0.0), (-half - reach * 0.8, side * (beam + 0.24 * reach))))
        c.stroke(arm, 0.5, c.palette.mix(base, (228, 236, 236), 0.3))
    outline = ((-half, -beam), (half * 0.6, -beam), (half * 0.85, -beam * 0.5), (half, 0.0),
               (half * 0.85, beam * 0.5), (half * 0.6, beam), (-half, beam))  # fmt: skip
    rim = [(u * 1.06 + half * 0.02, v * 1.3) for u, v in outline]
    c.shape(frame.points(rim), c.palette.mix(base, (228, 236, 236), 0.5), None)
    hull = dice.near(dice.pick(((226, 226, 222), (120, 52, 46), (60, 66, 76), (196, 190, 178))), 0.06)
    c.shape(frame.points(outline), hull, Mat.SHIP, 3.0)
    deck = dice.near(dice.pick(((196, 180, 156), (150, 96, 80), (206, 204, 198), (110, 126, 116))), 0.06)
    c.shape(frame.points([(u * 0.94, v * 0.76) for u, v in outline]), deck, None, 3.0)
    c.shape(frame.box(-half * 0.85, -beam * 0.7, -half * 0.5, beam * 0.7), (236, 236, 232), None, 7.0)
    c.shape(frame.box(-half * 0.62, -beam * 0.6, -half * 0.52, beam * 0.6), (60, 68, 76), None, 7.0)
    if length > 22:
        at = -half * 0.4
        while at < half * 0.55:
            c.shape(
                frame.box(at, -beam * 0.55, at + length * 0.1, beam * 0.55),
                dice.near(dice.pick(((170, 90, 60), (80, 100, 130), (190, 184, 170), (110, 116, 110))), 0.1),
                None,
                4.5,
            )
            at += length * 0.13


def plane(c: Canvas, x: float, y: float, angle: float, length: float) -> None:
    """An airliner or, below 16 m, a light aircraft; nose towards `angle`."""
    dice = c.dice
    skin = dice.near(dice.pick(((238, 238, 238), (226, 228, 230), (214, 216, 218))), 0.03, 2)
    trim = dice.near(
        dice.pick(((40, 66, 140), (160, 36, 40), (70, 74, 82), (36, 110, 110), (210, 150, 40))), 0.1
    )
    frame = c.frame(x, y, angle)
    h = length / 2
    if length < 16:
        wing: tuple[tuple[float, float], ...] = (
            (h * 0.32, 0.0),
            (h * 0.24, h * 1.05),
            (-h * 0.02, h * 1.05),
            (-h * 0.1, 0.0),
        )
        body, tail, nose = h * 0.13, h * 0.4, 0.2
    else:
        wing = (
            (h * 0.38, 0.0),
            (h * 0.26, h * 0.16),
            (-h * 0.22, h * 0.92),
            (-h * 0.36, h * 0.92),
            (-h * 0.16, h * 0.12),
            (-h * 0.2, 0.0),
        )
        body, tail, nose = h * 0.105, h * 0.36, 0.12
    up = 2.0 + length * 0.07
    dark = _shade(skin, 0.88)
    for side in (1, -1):
        c.shape(
            frame.points([(u, v * side) for u, v in wing]),
            c.lit(skin, angle + side * 1.57, 0.06),
            Mat.PLANE,
            up,
        )
        rear = ((-h * 0.72, 0.0), (-h * 0.9, tail * side), (-h * 1.0, tail * side), (-h * 0.93, 0.0))
        c.shape(frame.points(rear), c.lit(skin, angle + side * 1.57, 0.06), Mat.PLANE, up + 1)
        if length >= 16:
            for at in (0.34,) if length < 44 else (0.3, 0.56):
                u = h * (0.3 - at * 0.52)
                c.shape(
                    frame.box(u, side * h * at - h * 0.04, u + h * 0.2, side * h * at + h * 0.04),
                    dark,
                    Mat.PLANE,
                    up - 1,
                )
                c.shape(
                    frame.box(u + h * 0.17, side * h * at - h * 0.04, u + h * 0.2, side * h * at + h * 0.04),
                    (70, 74, 80),
                    None,
                    up - 1,
                )
    hull = ((-h, -body * 0.2), (-h * 0.6, -body), (h * 0.75, -body), (h * 0.92, -body * 0.6), (h, 0.0),
            (h * 0.92, body * 0.6), (h * 0.75, body), (-h * 0.6, body), (-h, body * 0.2))  # fmt: skip
    c.shape(frame.points(hull), skin, Mat.PLANE, up + 1.5)
    side = 1 if math.cos(c.turn + angle + 1.57 - c.sun) < 0 else -1
    low = [(u, v) if v * side > 0 else (u, side * body * 0.35) for u, v in hull]
    c.shape(frame.points(low), dark, None, up + 1.5)
    c.shape(
        frame.box(h * (0.82 - nose * 0.2), -body * 0.55, h * 0.88, body * 0.55), (50, 56, 64), None, up + 1.5
    )
    c.shape(frame.box(-h * 0.98, -h * 0.025, -h * 0.66, h * 0.025), trim, Mat.PLANE, up + 5)
    if dice.chance(0.3):
        c.shape(frame.box(-h * 0.6, -body, -h * 0.3, body), trim, None, up + 1.5)


def _shade(colour: Colour, k: float) -> Colour:
    return min(255, int(colour[0] * k)), min(255, int(colour[1] * k)), min(255, int(colour[2] * k))
