"""What the demo data set is made by: aerial scenes, drawn the same for everyone (`make demo-images`).

An image is a function of (seed, index): numpy's PCG64 seeded by [seed, index] chooses a template, a
scale and every detail. Labels are read off the material canvas that is drawn along with the picture.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assets.demo.draw import scenes_land, scenes_town, scenes_travel, scenes_water
from assets.demo.draw.canvas import Canvas
from assets.demo.draw.dice import Dice
from assets.demo.draw.light import develop
from assets.demo.draw.materials import CLASSES, LOOKS, THRESHOLDS, Mat
from assets.demo.draw.parallel import render
from assets.demo.draw.texture import TILE

__all__ = [
    "CLASSES",
    "COUNT",
    "TEMPLATES",
    "THRESHOLDS",
    "draw",
    "labels_of",
    "paint",
    "render",
    "template",
]

COUNT = 2100

# Template: relative frequency, shortest and longest side in metres.
TEMPLATES: dict[str, tuple[float, float, float, Callable[[Canvas], None]]] = {
    "medium_homes": (8.0, 70, 110, scenes_town.medium_homes),
    "dense_homes": (6.0, 62, 95, scenes_town.dense_homes),
    "crossing": (5.2, 62, 95, scenes_travel.crossing),
    "freeway": (5.0, 66, 110, scenes_travel.freeway),
    "parking": (4.6, 60, 90, scenes_town.parking),
    "sparse_homes": (5.0, 62, 95, scenes_town.sparse_homes),
    "park": (4.4, 60, 100, scenes_land.park),
    "industry": (3.6, 75, 120, scenes_town.industry),
    "downtown": (2.6, 70, 110, scenes_town.downtown),
    "overpass": (3.4, 66, 100, scenes_travel.overpass),
    "golf": (4.0, 75, 115, scenes_land.golf),
    "baseball": (3.2, 75, 110, scenes_land.baseball),
    "bare": (2.6, 62, 100, scenes_land.bare),
    "forest": (3.4, 60, 110, scenes_land.forest),
    "river": (4.0, 65, 110, scenes_water.river),
    "runway": (3.4, 66, 110, scenes_travel.runway),
    "orchard": (1.8, 62, 100, scenes_land.orchard),
    "courts": (5.4, 66, 100, scenes_town.courts),
    "farmland": (5.2, 60, 110, scenes_land.farmland),
    "apron": (5.3, 60, 100, scenes_travel.apron),
    "harbour": (4.6, 55, 85, scenes_water.harbour),
    "beach": (4.0, 60, 110, scenes_water.beach),
    "sea": (1.6, 60, 110, scenes_water.sea),
    "tanks": (5.2, 60, 105, scenes_travel.tanks),
    "trailers": (5.0, 58, 85, scenes_town.trailers),
    "chaparral": (4.6, 60, 100, scenes_land.chaparral),
}
_LARGEST = TILE // 2
_SHARES = np.cumsum([t[0] for t in TEMPLATES.values()])
_CLASS_OF = [CLASSES.index(LOOKS[m].label) + 1 if LOOKS[m].label else 0 for m in Mat]
_CLASS_OF += [0] * (256 - len(_CLASS_OF))
_LEAST = np.array([THRESHOLDS[name] for name in CLASSES]) / 100


def template(index: int, seed: int = 0) -> str:
    """The name of the template that an image is drawn from."""
    return _choose(Dice(seed, index))


def paint(
    index: int, seed: int = 0, size: int = 160
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """One image with its labels and what they were read from.

    Args:
        index: Which image, 0 or more; indices beyond `COUNT` continue the same distribution.
        seed: Which data set.
        size: Side in pixels, 32..512; above 256 the picture is drawn with 256 and enlarged.

    Returns:
        Image (size, size, 3), labels (17,) in {0, 1}, and the mask, (2 * size, 2 * size) but at most
        (512, 512): 0 where nothing labelled lies, else 1 + the class index.

    Raises:
        ValueError: If an argument is out of range.
    """
    if index < 0 or seed < 0 or not 32 <= size <= 512:
        raise ValueError(f"need index >= 0, seed >= 0 and size in 32..512, got {index}, {seed}, {size}")
    dice = Dice(seed, index)
    _, least, most, scene = TEMPLATES[_choose(dice)]
    canvas = Canvas(dice, min(size, _LARGEST), dice.between(least, most))
    scene(canvas)
    mask = np.asarray(canvas.mat.point(_CLASS_OF))
    image = develop(canvas)
    if size > _LARGEST:
        image = np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
    return image, labels_of(mask), mask


def draw(index: int, seed: int = 0, size: int = 160) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One image (size, size, 3) and its labels (17,); arguments and errors as in `paint`."""
    image, labels, _mask = paint(index, seed, size)
    return image, labels


def labels_of(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels (17,) of a mask: every class whose share reaches its threshold, or the largest if none does."""
    share = np.array(Image.fromarray(mask).histogram()[1 : len(CLASSES) + 1]) / mask.size
    labels = (share >= _LEAST).astype(np.uint8)
    if not labels.any():
        labels[share.argmax()] = 1
    return labels


def _choose(dice: Dice) -> str:
    at = np.searchsorted(_SHARES, dice.between(0, float(_SHARES[-1])), side="right")
    return tuple(TEMPLATES)[int(at)]
