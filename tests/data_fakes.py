"""Made-up data sets in the layouts that people really download, a few pixels large."""

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

LABELS_17 = [
    "airplane",
    "bare-soil",
    "buildings",
    "cars",
    "chaparral",
    "court",
    "dock",
    "field",
    "grass",
    "mobile-home",
    "pavement",
    "sand",
    "sea",
    "ship",
    "tanks",
    "trees",
    "water",
]


def labels(count: int, classes: int, seed: int = 0) -> np.ndarray:
    """Random multi-hot rows, each with one label at least."""
    rng = np.random.default_rng(seed)
    y = (rng.random((count, classes)) < 0.3).astype(np.uint8)
    y[np.arange(count), rng.integers(0, classes, count)] = 1
    return y


def picture(path: Path, seed: int, size: tuple[int, int] = (12, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)


def mask(path: Path, row: np.ndarray) -> None:
    """A palette mask with one pixel per label; the palette's colours say nothing about the indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((12, 12), np.uint8)
    present = np.flatnonzero(row) + 1
    pixels.flat[: len(present)] = present
    image = Image.fromarray(pixels, mode=None).convert("L")
    image.putpalette([(37 * k) % 251 for k in range(256 * 3)])
    assert image.mode == "P"
    image.save(path)


def table(
    path: Path, header: Sequence[str], names: Sequence[str], y: np.ndarray, delimiter: str = ","
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows([name, *row] for name, row in zip(names, y.tolist(), strict=True))


def workbook(path: Path, header: Sequence[str], names: Sequence[str], y: np.ndarray) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(list(header))
    for name, row in zip(names, y.tolist(), strict=True):
        book.active.append([name, *row])
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    book.close()


def dlrsd(
    root: Path, count: int = 12, with_masks: bool = False, with_table: bool = True, suffix: str = ".tif"
) -> np.ndarray:
    """DLRSD/Images/<class>/<class>NN.tif with the masks, or the table, or both; the labels in name order."""
    scenes = ["agricultural", "beach", "tenniscourt"]
    names = [f"{scenes[i * 3 // count]}{i:02d}" for i in range(count)]
    y = labels(count, 17)
    for i, name in enumerate(names):
        picture(root / "DLRSD" / "Images" / name[:-2] / f"{name}{suffix}", seed=i)
        if with_masks:
            mask(root / "DLRSD" / "Labels" / name[:-2] / f"{name}.png", y[i])
    if with_table:
        table(root / "DLRSD" / "multilabels.csv", ["image", *LABELS_17], names, y)
    return y


def pack(folder: Path, archive: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Everything under `folder` in one zip, with the rubbish that macOS adds."""
    with zipfile.ZipFile(archive, "w", compression) as stream:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                stream.write(path, path.relative_to(folder).as_posix())
        stream.writestr("__MACOSX/DLRSD/Images/beach/._beach04.tif", b"rubbish")
    return archive
