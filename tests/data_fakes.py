"""Made-up data sets in the layouts that people really download, a few pixels large."""

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


BIGEARTHNET_19 = [
    "Urban fabric",
    "Industrial or commercial units",
    "Arable land",
    "Permanent crops",
    "Pastures",
    "Complex cultivation patterns",
    "Land principally occupied by agriculture, with significant areas of natural vegetation",
    "Agro-forestry areas",
    "Broad-leaved forest",
    "Coniferous forest",
    "Mixed forest",
    "Natural grassland and sparsely vegetated areas",
    "Moors, heathland and sclerophyllous vegetation",
    "Transitional woodland, shrub",
    "Beaches, dunes, sands",
    "Inland wetlands",
    "Coastal wetlands",
    "Inland waters",
    "Marine waters",
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


SENTINEL = {"B02": 120, "B03": 120, "B04": 120, "B08": 120, "B01": 20, "B09": 20} | dict.fromkeys(
    ("B05", "B06", "B07", "B8A", "B11", "B12"), 60
)  # pixels
COUNTRIES = ("Finland", "Portugal", "Serbia")


def bigearthnet(root: Path, count: int = 12, bands: Sequence[str] = tuple(SENTINEL)) -> list[dict[str, Any]]:
    """BigEarthNet v2 in its layout, without the other columns' content; its rows.

    Row i has the labels i and i + 5 of the 19, and the pixels of `sentinel`; three of five are for training.
    """
    import pyarrow as pa
    from pyarrow import parquet

    rows: list[dict[str, Any]] = []
    for i in range(count):
        product = f"S2{'AB'[i % 2]}_MSIL2A_2017{6 + i % 3:02d}13T101031_N9999_R022_T33U{'UV'[i % 2]}P"
        patch = f"{product}_{i:02d}_{57 + i}"
        folder = root / "BigEarthNet-S2" / product / patch
        folder.mkdir(parents=True)
        for band in bands:
            geotiff(folder / f"{patch}_{band}.tif", sentinel(i, band))
        rows.append(
            {
                "patch_id": patch,
                "labels": sorted({BIGEARTHNET_19[i % 19], BIGEARTHNET_19[(i + 5) % 19]}),
                "split": ("train", "train", "train", "validation", "test")[i % 5],
                "country": COUNTRIES[i % 3],
                "s1_name": f"S1A_{i}",
                "s2v1_name": patch.replace("N9999_R022_", ""),
                "contains_seasonal_snow": False,
                "contains_cloud_or_shadow": False,
            }
        )
    parquet.write_table(pa.Table.from_pylist(rows[::-1]), root / "metadata.parquet")
    return rows


def sentinel(patch: int, band: str) -> np.ndarray:
    """The pixels of a band: dark above, bright below, by how much says the band and the patch."""
    side = SENTINEL[band]
    values = np.full((side, side), 200 + 10 * patch, np.uint16)
    values[side // 2 :] += np.uint16(100 * (sorted(SENTINEL).index(band) + 1))
    return values


def geotiff(path: Path, values: np.ndarray, **options: Any) -> None:
    import rasterio

    side = values.shape[0]
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=1, dtype=values.dtype, crs="EPSG:32633",
        transform=rasterio.Affine(1200 / side, 0, 500_000, 0, -1200 / side, 5_000_000), **options,
    ) as file:  # fmt: skip
        file.write(values, 1)


def pack(folder: Path, archive: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Everything under `folder` in one zip, with the rubbish that macOS adds."""
    with zipfile.ZipFile(archive, "w", compression) as stream:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                stream.write(path, path.relative_to(folder).as_posix())
        stream.writestr("__MACOSX/DLRSD/Images/beach/._beach04.tif", b"rubbish")
    return archive
