"""Large TIFF and JPEG 2000 scenes: tiles cut from them window by window, and where on Earth they lie.

A tile becomes a small TIFF in memory, so that it is decoded as if it had been a file of its own: with the
bands and the stretch of the run. GDAL opens a file by the one driver that its first bytes call for.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.data.band_files import BandFiles
from core.data.look import Look
from core.data.raster import DRIVERS, QUIET
from core.data.source import File

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

RASTERS = frozenset({".tif", ".tiff", ".jp2"})
LARGE = 2048  # pixels of a side from which on an image is a scene, unless the person says the size of tiles
TILE = 256
LEAST_KNOWN = 0.5  # of a tile; with more gaps it is left out
GEO: dict[str, Any] = QUIET | {"GDAL_GEOREF_SOURCES": "INTERNAL", "GDAL_CACHEMAX": 256}  # MB: rows of tiles
WGS84 = "EPSG:4326"

Window = tuple[int, int, int, int]  # left, top, width, height


@dataclass(frozen=True)
class Place:
    """Longitude and latitude in degrees, the coordinate system of the file, and its date; as `Record`."""

    lon: float | None = None
    lat: float | None = None
    crs: str = ""
    date: str = ""


@dataclass(frozen=True)
class Bytes:
    """A file in memory."""

    data: bytes

    def read(self) -> bytes:
        """Its content."""
        return self.data

    def open(self) -> IO[bytes]:
        """Its content as a stream."""
        return io.BytesIO(self.data)


Parts = Mapping[
    str, File | Bytes
]  # the files of an image by the name of the band; of one file without a name


@contextmanager
def opened(image: File | BandFiles | Parts) -> Iterator[dict[str, DatasetReader]]:
    """The file or files of an image, by the name of the band; of one file there is one without a name.

    To be called within `core.data.decode.quiet_decoding`: rasterio warns of files without coordinates.

    Raises:
        ValueError: If it is damaged.
    """
    import rasterio
    from rasterio.errors import RasterioError

    files = image if isinstance(image, Mapping) else parts_of(image)
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(**GEO))
        try:
            yield {name: stack.enter_context(_dataset(file, stack)) for name, file in files.items()}
        except RasterioError as error:
            if "memory" in f"{error} {error.__cause__}".lower():
                raise MemoryError from None
            raise ValueError("truncated or damaged") from None


def parts_of(image: File | BandFiles) -> dict[str, File]:
    """Its files by the name of the band."""
    return dict(image.bands) if isinstance(image, BandFiles) else {"": image}


def _dataset(file: File | Bytes, stack: ExitStack) -> DatasetReader:
    import rasterio

    with file.open() as stream:
        driver = DRIVERS.get(stream.read(4))
    if driver is None:
        raise ValueError("not an image")
    if isinstance(file, File) and file.member is None:
        return rasterio.open(file.at, driver=driver)
    return stack.enter_context(rasterio.MemoryFile(file.read())).open(driver=driver)


def side(datasets: Mapping[str, DatasetReader]) -> tuple[int, int]:
    """Width and height, of the largest band."""
    return max(d.width for d in datasets.values()), max(d.height for d in datasets.values())


def tiles(datasets: Mapping[str, DatasetReader], tile: int | None, stride: int | None) -> list[Window]:
    """The windows of the tiles of an image; none if it is no scene.

    Args:
        datasets: From `opened`.
        tile: Side of a tile, pixels; None: `TILE`, and only images of `LARGE` pixels or more are scenes; 0:
            nothing is cut.
        stride: From one tile to the next; None: the tile.
    """
    size, least = (TILE, LARGE) if tile is None else (tile, tile + 1)
    width, height = side(datasets)
    if size == 0 or max(width, height) < least:
        return []
    return windows(width, height, size, stride or size)


def windows(width: int, height: int, tile: int, stride: int) -> list[Window]:
    """Where tiles are cut, row by row; the last of a row or column ends at the edge of the scene."""
    return [
        (left, top, min(tile, width), min(tile, height))
        for top in _starts(height, tile, stride)
        for left in _starts(width, tile, stride)
    ]


def _starts(length: int, tile: int, stride: int) -> list[int]:
    last = max(0, length - tile)
    return [*range(0, last, stride), last]


def cut(
    datasets: Mapping[str, DatasetReader], window: Window, look: Look
) -> tuple[bytes | dict[str, Bytes], Look] | None:
    """A tile as `core.data.decode.decode` takes it, and the look to decode it with; None for a gap.

    Args:
        datasets: From `opened`.
        window: Which part.
        look: As the run sees whole images.

    Raises:
        ValueError: If the scene is damaged or lacks a band.
    """
    tile_look = look.cut()
    if "" in datasets:
        (dataset,) = datasets.values()
        names = [name or "" for name in dataset.descriptions]
        chosen = [index + 1 for index in look.chosen(names)]
        found = _tile(dataset, chosen, window)
        return None if found is None else (found, tile_look)
    names = list(datasets)
    wide, high = side(datasets)
    parts: dict[str, Bytes] = {}
    for index in look.chosen(names):
        dataset = datasets[names[index]]
        x, y = dataset.width / wide, dataset.height / high
        part = _tile(dataset, [1], (window[0] * x, window[1] * y, window[2] * x, window[3] * y))
        if part is None:
            return None
        parts[names[index]] = Bytes(part)
    return parts, tile_look


def _tile(
    dataset: DatasetReader, chosen: list[int], window: tuple[float, float, float, float]
) -> bytes | None:
    """The chosen bands of a window as a TIFF; None if most of it has no data."""
    from rasterio.windows import Window as Part

    left, top = round(window[0]), round(window[1])
    part = Part(left, top, max(1, round(window[2])), max(1, round(window[3])))  # type: ignore[no-untyped-call,unused-ignore]
    values = dataset.read(chosen, window=part)
    known = (dataset.read_masks(chosen, window=part) > 0).all(axis=0)
    if values.dtype.kind == "f":
        known &= np.isfinite(values).all(axis=0)
    if known.mean() < LEAST_KNOWN:
        return None
    values = _whole(dataset, chosen, values)
    return _as_tiff(values, known) if values.any() else None  # all black: a gap, also if the file is silent


def _whole(dataset: DatasetReader, chosen: list[int], values: NDArray[Any]) -> NDArray[Any]:
    """The values with the colours of a palette as three bands, and fewer than 8 bits as 8."""
    from rasterio.enums import ColorInterp

    if dataset.count == 1 and dataset.colorinterp[0] == ColorInterp.palette:
        colours = np.zeros((max(256, int(values.max()) + 1), 3), np.uint8)
        for index, colour in dataset.colormap(1).items():
            if index < len(colours):
                colours[index] = colour[:3]
        return np.ascontiguousarray(colours[values[0]].transpose(2, 0, 1))
    bits = int(dataset.tags(chosen[0], ns="IMAGE_STRUCTURE").get("NBITS", 0))
    if values.dtype == np.uint8 and 0 < bits < 8:
        values = (values.astype(np.uint16) * 255 // ((1 << bits) - 1)).astype(np.uint8)
    return values


def _as_tiff(values: NDArray[Any], known: NDArray[np.bool_]) -> bytes:
    import rasterio

    if not known.all() and values.dtype == np.uint8:
        values = np.where(known, values, 0).astype(np.uint8)  # seen as it is: gaps are black
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "interleave": "pixel",
        "photometric": "RGB" if len(values) == 3 else "MINISBLACK",
    }
    with rasterio.MemoryFile() as memory, rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with memory.open(**profile) as tile:
            tile.write(values)
            if not known.all() and values.dtype != np.uint8:
                tile.write_mask(known)
        data: bytes = memory.read()
    return data


def place_of(dataset: DatasetReader, window: Window | None = None) -> Place:
    """Where the middle of a window, or of the whole, lies; without coordinates if the file has none."""
    from rasterio.errors import RasterioError
    from rasterio.warp import transform

    if dataset.crs is None:
        return Place()
    left, top, width, height = window or (0, 0, dataset.width, dataset.height)
    column, row, t = left + width / 2, top + height / 2, dataset.transform
    x, y = t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f
    try:
        (lon,), (lat,) = transform(dataset.crs, WGS84, [x], [y])
    except RasterioError:
        return Place(crs=_named(dataset))
    if not (np.isfinite([lon, lat]).all() and abs(lat) <= 90):
        return Place(crs=_named(dataset))
    return Place((lon + 180) % 360 - 180, lat, _named(dataset))


def _named(dataset: DatasetReader) -> str:
    return str(dataset.crs.to_string())[:200]
