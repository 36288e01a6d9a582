"""Trees, bushes and hedges."""

import math

from assets.demo.draw.canvas import Canvas
from assets.demo.draw.materials import Mat


def tree(c: Canvas, x: float, y: float, radius: float | None = None) -> None:
    """One broad crown; the radius in metres is random unless given."""
    dice = c.dice
    r = radius if radius is not None else dice.between(1.8, 5.0)
    c.crown(x, y, r, dice.pick(c.palette.trees), Mat.TREE, 3 + 1.25 * r)


def grove(c: Canvas, x: float, y: float, spread: float, count: int, size: float = 3.4) -> None:
    """A clump of trees around a point."""
    dice = c.dice
    for _ in range(count):
        a, d = dice.between(0, math.tau), spread * math.sqrt(dice.unit())
        tree(c, x + d * math.cos(a), y + d * math.sin(a), size * dice.between(0.5, 1.3))


def scatter(c: Canvas, count: int, small: float = 1.5, large: float = 4.5, keep: float = 0.0) -> None:
    """Trees anywhere; `keep` is the half width in metres of a strip along x that stays free."""
    dice = c.dice
    for _ in range(count):
        x, y = dice.between(-c.reach, c.reach), dice.between(-c.reach, c.reach)
        if abs(y) > keep:
            tree(c, x, y, dice.between(small, large))


def row(c: Canvas, x0: float, y0: float, x1: float, y1: float, gap: float, radius: float) -> None:
    """Trees along a line, one every `gap` metres, some missing."""
    dice = c.dice
    length = math.hypot(x1 - x0, y1 - y0)
    count = max(1, int(length / gap))
    for i in range(count + 1):
        if dice.chance(0.85):
            k = i / count
            tree(
                c,
                x0 + (x1 - x0) * k + dice.spread(gap * 0.12),
                y0 + (y1 - y0) * k + dice.spread(gap * 0.12),
                radius * dice.between(0.7, 1.2),
            )


def palm(c: Canvas, x: float, y: float) -> None:
    """A star of leaves on a high stem."""
    dice = c.dice
    colour = dice.near(c.palette.trees[2], 0.1)
    frame = c.frame(x, y, dice.between(0, math.tau))
    r = dice.between(1.6, 2.6)
    star = []
    for i in range(16):
        a, d = i * math.tau / 16, r * (1.0 if i % 2 else 0.4)
        star.append((d * math.cos(a), d * math.sin(a)))
    c.shape(frame.points(star), colour, Mat.TREE, 9.0)
