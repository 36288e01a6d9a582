"""The marked images as a data set of a person's own: a zip with the images and the table of their labels."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from core.archive import marks, scene
from core.archive.marks import Marks
from core.archive.originals import Image, Originals
from core.archive.scene import GEO, Window
from core.archive.table import Record
from core.data.band_files import BandFiles
from core.data.decode import quiet_decoding, reason
from core.errors import MaclError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

TABLE, ABOUT, FOLDER = "labels.csv", "README.md", "images"
MOST_IMAGES, MOST_BYTES = 2000, 200_000_000  # a page holds the zip in memory
_ALLOWED = " -_.()"  # beside letters and digits, in the name of a file


@dataclass
class Exported:
    """What is in a zip.

    Attributes:
        images: How many.
        left_out: Name and reason of those that are not in it.
    """

    images: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)


def export(file: IO[bytes], given: Marks, records: Mapping[int, Record]) -> Exported:
    """Write the zip: `labels.csv`, a folder of images, and a README that says what is left out.

    Whole images are copied as they are. Tiles are cut from their scenes as GeoTIFF, with all bands and
    values. Images whose files are gone or have changed are left out, and those beyond `MOST_IMAGES` or
    `MOST_BYTES`.

    Args:
        file: Where to.
        given: From `core.archive.marks.read`.
        records: What the archive keeps of the marked images.
    """
    done, originals, names = Exported(), Originals(), {}
    taken: set[str] = set()
    size = 0
    wanted = dict.fromkeys(image for one in given.values() for image in one)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, quiet_decoding():
        for image in wanted:
            record = records.get(image)
            if record is None:
                done.left_out.append((f"image {image}", "it is not in the archive any more"))
                continue
            title = f"{record.source} {record.window}".strip()
            try:
                if done.images >= MOST_IMAGES or size > MOST_BYTES:
                    raise MaclError(f"beyond {MOST_IMAGES:,} images or {MOST_BYTES / 1e6:.0f} MB")
                parts = _parts(originals.find(record), record)
                if size + sum(len(data) for _, data in parts) > MOST_BYTES:
                    raise MaclError(f"beyond {MOST_BYTES / 1e6:.0f} MB")
            except Exception as error:  # readers raise almost anything on a damaged file
                done.left_out.append((title, str(error) if isinstance(error, MaclError) else reason(error)))
                continue
            names[image] = f"{FOLDER}/{_free(_name(record, parts), taken)}"
            for name, data in parts:
                archive.writestr(names[image] + (f"/{name}" if len(parts) > 1 else ""), data)
                size += len(data)
            done.images += 1
        archive.writestr(TABLE, marks.table(given, names))
        archive.writestr(ABOUT, _about(done))
    return done


def zipped(given: Marks, records: Mapping[int, Record]) -> bytes:
    """`export` as bytes."""
    with tempfile.TemporaryFile() as file:
        export(file, given, records)
        file.seek(0)
        return file.read()


def _parts(image: Image, record: Record) -> Sequence[tuple[str, bytes]]:
    """Name and content of each file of an image, or of a tile."""
    if record.window:
        left, top, width, height = map(int, record.window.split())
        with scene.opened(image) as datasets:
            wide, high = scene.side(datasets)
            return [
                (f"{name or 'tile'}.tif", tile(dataset, (left, top, width, height), (wide, high)))
                for name, dataset in datasets.items()
            ]
    if isinstance(image, BandFiles):
        return [(f"{name}{file.suffix}", file.read()) for name, file in image.bands]
    return [(PurePosixPath(image.path).name, image.read())]


def tile(dataset: DatasetReader, window: Window, whole: tuple[int, int]) -> bytes:
    """A part of a scene as a GeoTIFF: all its bands, their values, names and colours, and where it lies.

    Args:
        dataset: The scene, or one band of it.
        window: Which part, pixels of the largest band.
        whole: Width and height of that band.
    """
    import rasterio
    from rasterio.enums import ColorInterp, MaskFlags
    from rasterio.windows import Window as Part

    x, y = dataset.width / whole[0], dataset.height / whole[1]
    part = Part(  # type: ignore[no-untyped-call,unused-ignore]
        round(window[0] * x), round(window[1] * y),
        max(1, round(window[2] * x)), max(1, round(window[3] * y)),
    )  # fmt: skip
    values = dataset.read(window=part)
    profile: dict[str, Any] = {
        "driver": "GTiff", "count": dataset.count, "dtype": dataset.dtypes[0], "nodata": dataset.nodata,
        "width": part.width, "height": part.height, "compress": "deflate", "interleave": "pixel",
    }  # fmt: skip
    if dataset.crs is not None:
        profile |= {"crs": dataset.crs, "transform": dataset.window_transform(part)}
    if bits := dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS"):
        profile["nbits"] = bits
    if dataset.colorinterp[:3] == (ColorInterp.red, ColorInterp.green, ColorInterp.blue):
        profile["photometric"] = "RGB"
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(**GEO, GDAL_TIFF_INTERNAL_MASK=True))
        memory = stack.enter_context(rasterio.MemoryFile())
        with memory.open(**profile) as file:
            file.write(values)
            file.descriptions = dataset.descriptions
            if dataset.colorinterp[0] == ColorInterp.palette:
                file.write_colormap(1, dataset.colormap(1))
            if MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
                file.write_mask(dataset.dataset_mask(window=part))
        data: bytes = memory.read()
    return data


def _name(record: Record, parts: Sequence[tuple[str, bytes]]) -> str:
    """What an image is called in the zip: as its file, a tile with its window behind it."""
    path = PurePosixPath(record.source)
    if record.window:
        name = f"{path.stem}_{record.window.replace(' ', '_')}{'' if len(parts) > 1 else '.tif'}"
    else:
        name = path.name
    clean = "".join(letter if letter.isalnum() or letter in _ALLOWED else "_" for letter in name)
    return " ".join(clean.split()).strip(" .") or "image"


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number where another image has it."""
    path, number, free = PurePosixPath(name), 1, name
    while (key := free.lower()) in taken:
        number += 1
        free = f"{path.stem} ({number}){path.suffix}"
    taken.add(key)
    return free


def _about(done: Exported) -> str:
    lines = [
        "# Marked images of an archive",
        "",
        f"{done.images:,} images. {TABLE} has 1 for right, 0 for wrong and -1 for not marked. "
        "Give this zip, or the folder that it unpacks to, as your own images.",
    ]
    if done.left_out:
        lines += ["", f"Left out, {len(done.left_out):,}:", ""]
        lines += [f"    {' '.join(f'{name}: {why}'.split())}" for name, why in done.left_out]
    return "\n".join(lines) + "\n"
