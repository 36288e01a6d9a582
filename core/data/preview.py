"""One image as evaluated and as augmented in training, drawn by the code that trains, in a detached process.

`python -m core.data.preview NAME ROOT KEY SIZE SEED INDEX` writes the strip into the cache: pages import no
torch.
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from core.data import load
from core.data.job import Preparation, detach, read_status, tell_status
from core.data.prepared import cache_root
from core.errors import MaclError
from core.files import lock, write_atomic

VERSION = 1  # of the augmentation: raise it when the same seed would draw other pixels
VERSIONS = 7  # augmented versions beside the evaluation view
GAP = 6  # transparent pixels between two


def start(name: str, root: str | None, key: str, image_size: int, seed: int, index: int) -> None:
    """Draw the strip in a process of its own, unless that is going on; returns at once.

    Args:
        name: Name of the data set, which must be prepared.
        root: Folder or archive; None looks in the usual place.
        key: Hash of its images, `Dataset.key`.
        image_size: Training size, pixels.
        seed: Of the augmentation.
        index: Row of the image in the prepared data set.

    Raises:
        MaclError: If the cache cannot be written.
    """
    what = (name, root or "", key, image_size, seed, index)
    detach(_job(key, image_size, seed, index), "core.data.preview", *what)


def status(key: str, image_size: int, seed: int, index: int) -> Preparation:
    """What the last `start` with these arguments has come to."""
    if path(key, image_size, seed, index).is_file():
        return Preparation("done")
    return read_status(_job(key, image_size, seed, index))


def path(key: str, image_size: int, seed: int, index: int) -> Path:
    """Where the strip lies once it is drawn: a PNG, the evaluation view first."""
    return cache_root() / "previews" / f"{key}-{image_size}-{seed}-{index}-{VERSION}.png"


def strip(images: np.ndarray) -> Image.Image:
    """Images (K, S, S, 3) uint8 beside each other, with transparent gaps."""
    count, size = images.shape[:2]
    sheet = Image.new("RGBA", (count * (size + GAP) - GAP, size), (0, 0, 0, 0))
    for place, image in enumerate(images):
        sheet.paste(Image.fromarray(image), (place * (size + GAP), 0))
    return sheet


def draw(image: np.ndarray, size: int, seed: int) -> np.ndarray:
    """The evaluation view and `VERSIONS` augmented versions of a prepared image.

    Args:
        image: (P, P, 3) uint8.
        size: Training size S, pixels.
        seed: Of the augmentation.

    Returns:
        (1 + VERSIONS, S, S, 3) uint8.
    """
    import torch

    from core.data.augment import augment, view

    one = torch.from_numpy(np.array(image))[None]  # (1, P, P, 3)
    generator = torch.Generator().manual_seed(seed)
    shown = torch.cat([view(one, size), augment(one.expand(VERSIONS, -1, -1, -1), size, generator)])
    return np.asarray((shown * 255).round().byte().permute(0, 2, 3, 1).numpy())  # (1 + VERSIONS, S, S, 3)


def main() -> None:
    """Draw one strip and say in the job's file how it went."""
    name, root, key = sys.argv[1], sys.argv[2] or None, sys.argv[3]
    size, seed, index = (int(text) for text in sys.argv[4:7])
    job = _job(key, size, seed, index)
    if not lock(job.with_suffix(".lock")):
        return
    try:
        data = load(name, root, image_size=size, skip_broken=True)
        if data.key != key or not 0 <= index < len(data):
            raise MaclError("the images have changed since the page was opened: open it again")
        file = io.BytesIO()
        strip(draw(data.images[index], size, seed)).save(file, "PNG")
        write_atomic(path(key, size, seed, index), file.getvalue())
        tell_status(job, state="done")
    except Exception as error:
        tell_status(job, state="failed", error=str(error) or type(error).__name__)
        raise


def _job(key: str, image_size: int, seed: int, index: int) -> Path:
    return path(key, image_size, seed, index).with_suffix(".json")


if __name__ == "__main__":
    main()
