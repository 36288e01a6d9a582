"""The strip of drawn scenes on the home page: `python -m assets.demo.draw.strip assets/scenes.jpg`."""

import sys
from itertools import count

import numpy as np
from PIL import Image

from assets.demo.draw import draw, template

SCENES = (
    "harbour",
    "dense_homes",
    "farmland",
    "apron",
    "courts",
    "beach",
    "tanks",
    "river",
    "parking",
    "golf",
    "trailers",
    "downtown",
)


def main(path: str) -> None:
    """Write the first image of each of these scenes, side by side, as JPEG."""
    first = [next(index for index in count() if template(index) == scene) for scene in SCENES]
    strip = np.concatenate([draw(index)[0] for index in first], axis=1)  # (160, 12 * 160, 3)
    Image.fromarray(strip).save(path, quality=82, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
