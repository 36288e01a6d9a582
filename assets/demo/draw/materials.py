"""What the ground and the objects are made of: label, roughness and patchiness of each material."""

from enum import IntEnum
from typing import NamedTuple

from core.data.info import LABELS_17

CLASSES = LABELS_17  # the labels of DLRSD

# Smallest visible share of an image, in percent, at which a label is given. One parked car is about
# 0.15 %, one crown about 0.7 %; ground covers must be seen without looking for them.
THRESHOLDS = {
    "airplane": 0.4,
    "bare soil": 6.0,
    "buildings": 1.0,
    "cars": 0.15,
    "chaparral": 3.0,
    "court": 1.5,
    "dock": 0.8,
    "field": 8.0,
    "grass": 6.0,
    "mobile home": 2.0,
    "pavement": 4.0,
    "sand": 1.0,
    "sea": 6.0,
    "ship": 0.3,
    "tanks": 0.8,
    "trees": 2.0,
    "water": 2.5,
}


class Mat(IntEnum):
    """A material: what one value of the material canvas stands for."""

    NONE = 0
    ASPHALT = 1
    CONCRETE = 2
    LAWN = 3
    MEADOW = 4
    SOIL = 5
    SAND = 6
    GRAVEL = 7
    FIELD = 8
    SEA = 9
    WATER = 10
    FOAM = 11
    TREE = 12
    CHAPARRAL = 13
    ROOF = 14
    FLAT_ROOF = 15
    CAR = 16
    PLANE = 17
    SHIP = 18
    DOCK = 19
    TANK = 20
    COURT = 21
    TRAILER = 22
    WALL = 23
    ROCK = 24


class Look(NamedTuple):
    """How a material looks up close.

    Attributes:
        label: Name in `CLASSES`, or "" for what has no label.
        fine: Grain of one pixel, standard deviation as a share of the brightness.
        mid: Blotches of about 8 pixels, same unit.
        coarse: Patches of about a quarter of the image, same unit.
        tint: Colour drift (red, green, blue) between patches, in 0..1 per standard deviation.
        relief: How strongly slopes of the height canvas are lit, 0 (flat) to 1.
    """

    label: str
    fine: float
    mid: float
    coarse: float
    tint: tuple[float, float, float]
    relief: float = 0.0


LOOKS = {
    Mat.NONE: Look("", 0.04, 0.02, 0.03, (0.0, 0.0, 0.0)),
    Mat.ASPHALT: Look("pavement", 0.026, 0.02, 0.045, (0.004, 0.003, 0.0)),
    Mat.CONCRETE: Look("pavement", 0.024, 0.026, 0.045, (0.005, 0.004, 0.0)),
    Mat.LAWN: Look("grass", 0.036, 0.035, 0.06, (0.012, 0.007, 0.001)),
    Mat.MEADOW: Look("grass", 0.052, 0.055, 0.075, (0.017, 0.012, 0.003)),
    Mat.SOIL: Look("bare soil", 0.045, 0.045, 0.06, (0.010, 0.011, 0.010)),
    Mat.SAND: Look("sand", 0.016, 0.016, 0.03, (0.005, 0.005, 0.006)),
    Mat.GRAVEL: Look("bare soil", 0.055, 0.035, 0.05, (0.008, 0.008, 0.008)),
    Mat.FIELD: Look("field", 0.04, 0.025, 0.045, (0.010, 0.006, 0.004)),
    Mat.SEA: Look("sea", 0.025, 0.03, 0.05, (0.0, 0.010, 0.010)),
    Mat.WATER: Look("water", 0.02, 0.03, 0.05, (0.004, 0.008, 0.006)),
    Mat.FOAM: Look("sea", 0.08, 0.08, 0.03, (0.0, 0.0, 0.0)),
    Mat.TREE: Look("trees", 0.085, 0.06, 0.04, (0.012, 0.008, 0.003), 1.0),
    Mat.CHAPARRAL: Look("chaparral", 0.08, 0.05, 0.04, (0.010, 0.007, 0.004), 1.0),
    Mat.ROOF: Look("buildings", 0.035, 0.03, 0.03, (0.004, 0.002, 0.0)),
    Mat.FLAT_ROOF: Look("buildings", 0.022, 0.03, 0.05, (0.005, 0.004, 0.003)),
    Mat.CAR: Look("cars", 0.02, 0.0, 0.0, (0.0, 0.0, 0.0)),
    Mat.PLANE: Look("airplane", 0.015, 0.01, 0.0, (0.0, 0.0, 0.0)),
    Mat.SHIP: Look("ship", 0.03, 0.02, 0.0, (0.0, 0.0, 0.0)),
    Mat.DOCK: Look("dock", 0.05, 0.04, 0.03, (0.0, 0.0, 0.0)),
    Mat.TANK: Look("tanks", 0.025, 0.03, 0.03, (0.006, 0.0, 0.0)),
    Mat.COURT: Look("court", 0.025, 0.02, 0.04, (0.0, 0.0, 0.0)),
    Mat.TRAILER: Look("mobile home", 0.03, 0.02, 0.02, (0.0, 0.0, 0.0)),
    Mat.WALL: Look("", 0.03, 0.02, 0.02, (0.0, 0.0, 0.0)),
    Mat.ROCK: Look("", 0.14, 0.12, 0.05, (0.01, 0.01, 0.01), 0.6),
}
