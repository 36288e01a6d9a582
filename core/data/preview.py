"""One image as evaluated and as augmented in training, drawn by the training code in a detached process.

The strip goes into the cache, because pages import no torch.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from core.background.cache import cache_root, writing
from core.background.process import Process, Running, Status
from core.data.image_set import ImageSet
from core.errors import MaclError

VERSION = 1  # of the augmentation: raise it when the same seed would draw other pixels
VERSIONS = 7  # augmented versions beside the evaluation view
GAP = 6  # transparent pixels between two


def start(images: ImageSet, key: str, seed: int, index: int) -> None:
    """Draw the strip in a process of its own, unless one is at it already; returns at once.

    Args:
        images: Must be prepared.
        key: Their hash, `Dataset.picture_key`.
        seed: Seed of the augmentation.
        index: Row of the image in the prepared data set.

    Raises:
        MaclError: If the cache cannot be written.
    """
    _process(key, images.size, seed, index).start("core.data.preview", images.to_json(), key, seed, index)


def status(key: str, image_size: int, seed: int, index: int) -> Status:
    """State of the last `start` with these arguments."""
    if path(key, image_size, seed, index).is_file():
        return Status("done")
    return _process(key, image_size, seed, index).status()


def path(key: str, image_size: int, seed: int, index: int) -> Path:
    """File of the strip once it is drawn: a PNG, the evaluation view first."""
    return cache_root() / "previews" / f"{key}-{image_size}-{seed}-{index}-{VERSION}.png"


def strip(images: np.ndarray) -> Image.Image:
    """Images (K, S, S, 3) uint8 side by side, with transparent gaps."""
    count, size = images.shape[:2]
    sheet = Image.new("RGBA", (count * (size + GAP) - GAP, size), (0, 0, 0, 0))
    for place, image in enumerate(images):
        sheet.paste(Image.fromarray(image), (place * (size + GAP), 0))
    return sheet


def draw(image: np.ndarray, size: int, seed: int) -> np.ndarray:
    """The evaluation view and `VERSIONS` augmented versions of a prepared image.

    Args:
        image: (P, P, C) uint8.
        size: Training size S, pixels.
        seed: Seed of the augmentation.

    Returns:
        (1 + VERSIONS, S, S, C) uint8.
    """
    import torch

    from core.data.augment import augment, view

    batch = torch.from_numpy(np.array(image))[None]  # (1, P, P, C)
    generator = torch.Generator().manual_seed(seed)
    views = torch.cat([view(batch, size), augment(batch.expand(VERSIONS, -1, -1, -1), size, generator)])
    return np.asarray((views * 255).round().byte().permute(0, 2, 3, 1).numpy())  # (1 + VERSIONS, S, S, C)


def main(running: Running, which: str, key: str, seed: str, index: str) -> None:
    """Draw one strip."""
    images = replace(ImageSet.from_json(which), skip_broken=True)
    data = images.load()
    if data.picture_key != key or not 0 <= int(index) < len(data):
        raise MaclError("the images have changed since the page was opened: open it again")
    with writing(path(key, images.size, int(seed), int(index))) as partial:
        versions = draw(data.images[int(index)], images.size, int(seed))
        strip(data.look.rgb(versions)).save(partial, "PNG")


def _process(key: str, image_size: int, seed: int, index: int) -> Process:
    return Process(path(key, image_size, seed, index).with_suffix(""))
