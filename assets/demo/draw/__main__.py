"""The pictures of the demo set and the table of their labels, drawn anew: `make demo-images`."""

import csv
import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assets.demo.draw import CLASSES, COUNT, render, template
from core.background.cores import cores
from core.files import write_atomic

SIZE = 160  # pixels: what the training sizes up to 128 px are prepared at
QUALITY = 80  # of WebP: 16 MB instead of 80 for PNG; a pixel moves by 3 of 255 levels on average


def path_of(index: int) -> str:
    """Where a picture lies below the folder of the demo set: scenes of one kind are together."""
    return f"scenes/{template(index)}/demo{index:04d}.webp"


def encode(image: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, 3) as the file that is kept."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "WEBP", quality=QUALITY, method=6)
    return stream.getvalue()


def write(folder: Path, count: int = COUNT) -> None:
    """Replace `scenes` and `labels.csv` in a folder by the first `count` images."""
    images, labels = render(count, size=SIZE)
    with ThreadPoolExecutor(cores()) as pool:
        files = list(pool.map(encode, images))
    shutil.rmtree(folder / "scenes", ignore_errors=True)
    for index, file in enumerate(files):
        path = folder / path_of(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["image", *CLASSES])
    rows.writerows([path_of(index), *row] for index, row in enumerate(labels.tolist()))
    write_atomic(folder / "labels.csv", table.getvalue())


if __name__ == "__main__":
    write(Path(__file__).parents[1])
