"""Colours of one picture: a climate, its ground, its trees and its roofs."""

from assets.demo.draw.dice import Colour, Dice

# Lawn, wild grass, soil, darkest and lightest tree of each climate.
_CLIMATES: dict[str, tuple[Colour, Colour, Colour, Colour, Colour]] = {
    "lush": ((104, 132, 78), (108, 124, 76), (146, 124, 98), (42, 66, 40), (84, 110, 60)),
    "temperate": ((122, 136, 92), (128, 130, 92), (154, 134, 108), (54, 72, 50), (94, 110, 72)),
    "cool": ((96, 128, 100), (108, 128, 104), (150, 142, 128), (38, 62, 52), (70, 98, 78)),
    "dry": ((142, 142, 98), (156, 146, 106), (178, 154, 122), (62, 74, 50), (106, 108, 76)),
    "desert": ((128, 134, 88), (164, 144, 108), (190, 160, 126), (68, 74, 52), (104, 104, 74)),
    "winter": ((136, 134, 104), (146, 134, 108), (150, 132, 112), (84, 78, 68), (124, 112, 98)),
}
_OFTEN = ("lush", "lush", "temperate", "temperate", "cool", "dry", "dry", "desert", "winter")

_ROOFS: tuple[tuple[Colour, ...], ...] = (
    ((112, 106, 102), (94, 90, 88), (132, 124, 116), (148, 140, 130)),
    ((140, 104, 84), (158, 118, 94), (126, 92, 78), (150, 128, 112)),
    ((178, 128, 98), (190, 144, 112), (166, 116, 90), (196, 160, 130)),
    ((204, 198, 186), (222, 216, 206), (186, 178, 166), (164, 156, 148)),
    ((122, 118, 112), (160, 120, 98), (202, 196, 186), (92, 92, 96), (140, 132, 120)),
)

CARS: tuple[Colour, ...] = (
    (228, 228, 226),
    (236, 236, 232),
    (214, 216, 218),
    (176, 180, 184),
    (140, 144, 148),
    (96, 98, 102),
    (44, 46, 50),
    (30, 32, 36),
    (38, 40, 48),
    (62, 74, 104),
    (44, 66, 112),
    (140, 40, 38),
    (168, 52, 44),
    (180, 160, 128),
    (70, 88, 76),
)


class Palette:
    """The colours that all things of one picture share."""

    def __init__(self, dice: Dice) -> None:
        self.climate = dice.pick(_OFTEN)
        lawn, wild, soil, dark, bright = _CLIMATES[self.climate]
        self.lawn = dice.near(lawn, 0.09, 5)
        self.wild = dice.near(wild, 0.09, 5)
        self.soil = dice.near(soil, 0.09, 6)
        self.tree = (dice.near(dark, 0.1, 4), dice.near(bright, 0.1, 5))
        grey = dice.between(88, 150)
        self.asphalt = dice.near((int(grey), int(grey * 0.99), int(grey * 0.97)), 0.03, 3)
        self.concrete = dice.near((186, 182, 172), 0.08, 4)
        self.sand = dice.near(dice.pick(((222, 206, 172), (206, 190, 166), (212, 198, 184))), 0.06, 4)
        self.water = dice.near(
            dice.pick(((36, 58, 58), (52, 70, 58), (74, 86, 70), (30, 46, 58), (64, 78, 84), (96, 104, 88))),
            0.1,
            4,
        )
        self.sea = dice.near(dice.pick(((52, 92, 96), (70, 110, 104), (56, 84, 100), (90, 112, 116))), 0.1, 5)
        self.roofs = dice.pick(_ROOFS)
        glow = _mix(self.tree[1], (164, 176, 124), 0.4)
        self.trees = tuple(_mix(self.tree[0], glow, k) for k in (0.25, 0.45, 0.6, 0.8, 1.0))
        self.paint: Colour = dice.pick(((226, 226, 220), (214, 212, 204)))

    def mix(self, a: Colour, b: Colour, k: float) -> Colour:
        """The colour a share `k` of the way from a to b."""
        return _mix(a, b, k)


def _mix(a: Colour, b: Colour, k: float) -> Colour:
    r, g, b_ = (int(p + (q - p) * k) for p, q in zip(a, b, strict=True))
    return r, g, b_
