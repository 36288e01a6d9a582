"""The bands of a TIFF, a JPEG 2000 or a deep PNG, read by GDAL from bytes: any number, any depth, any layout.

GDAL sees nothing but these bytes, through the one driver that their first bytes call for: a crafted file can
neither name another file nor an address.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from core.data.look import LOOK, Look

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

DRIVERS = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\x89PNG": "PNG",
    b"\0\0\0\x0c": "JP2OpenJPEG",
    b"\xffO\xffQ": "JP2OpenJPEG",
}
TIFF = tuple(start for start, driver in DRIVERS.items() if driver == "GTiff")
MOST_BYTES = 1 << 30  # of the bands that are read, or of one block of a file, decoded
MOST_PAGES = 256
MASK_PAGE = 4  # bit of TIFF's NewSubfileType
ORIENTATION = 0x0112
QUIET: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": False,
    "GDAL_GEOREF_SOURCES": "NONE",
    "GDAL_NUM_THREADS": "1",
    "GDAL_CACHEMAX": 64,  # MB; its own default is a share of the machine
    "PROJ_NETWORK": "OFF",
}


class Readable(Protocol):
    """One file."""

    def read(self) -> bytes:
        """Its content."""
        ...


class CannotOpen(ValueError):
    """GDAL does not know this file."""


@dataclass(frozen=True)
class Raster:
    """The bands of an image that are seen.

    Attributes:
        values: (C, H, W), as many bands as are chosen; upright.
        known: (H, W) bool: neither no data nor transparent; None if that is everywhere.
    """

    values: np.ndarray
    known: np.ndarray | None

    @property
    def deep(self) -> bool:
        """Whether it has to be stretched to become 8 bits."""
        return self.values.dtype != np.uint8


@dataclass(frozen=True)
class _Band:
    """A band of a page; of a palette, one of its three colours."""

    page: DatasetReader
    index: int
    name: str = ""
    colour: int | None = None


def wanted(data: bytes, look: Look) -> bool:
    """Whether an image is to be read here: it is not plain, or its bands are chosen. Decodes nothing."""
    return not is_plain(data) or (bool(look.bands) and DRIVERS.get(data[:4]) in ("GTiff", "JP2OpenJPEG"))


def is_plain(data: bytes) -> bool:
    """Whether any viewer shows the image as it is: 8 bits, one page, four bands at most. Decodes nothing."""
    driver = DRIVERS.get(data[:4])
    if driver == "PNG":
        return len(data) < 25 or data[24] <= 8
    if driver == "JP2OpenJPEG":
        start = data.find(b"\xffO\xffQ")
        if start < 0 or len(data) < start + 43:
            return True  # damaged: Pillow says so
        bands, bits = struct.unpack_from(">HB", data, start + 40)
        return bool(bands <= 4 and bits <= 7)  # one less than the depth; the upper bit is the sign
    return driver is None or _is_plain_tiff(data)


def _is_plain_tiff(data: bytes) -> bool:
    try:
        tags = _tags(data)
        if np.max(tags.get(277, 1)) > 4 or np.max(tags.get(258, 1)) > 8:  # bands and their bits
            return False
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
            size = image.size
            if image.mode.startswith("I") or image.mode == "F":
                return False
            with suppress(Exception):  # no second page, or one that Pillow does not know
                image.seek(1)
                kind = getattr(image, "tag_v2", {}).get(254, 0)
                return image.size != size or bool(kind & MASK_PAGE)
    except Exception:  # not for Pillow
        return False
    return True


def read(data: bytes, look: Look) -> Raster:
    """The bands of an image that `look` chooses.

    Raises:
        CannotOpen: If GDAL does not know the file.
        ValueError: If it is damaged, too large, or lacks a band.
        Image.DecompressionBombError: If it has too many pixels.
    """
    with _opened(data) as pages:
        bands = _all_bands(pages, look)
        chosen = [bands[i] for i in look.chosen([band.name for band in bands])]
        _check_size(pages[0], chosen)
        values = _values(chosen)
        known = _known(pages[0], chosen, values)
    turn = _orientation(data)
    return Raster(_upright(values, turn), None if known is None else _upright(known, turn))


def read_files(files: Mapping[str, Readable], look: Look) -> Raster:
    """One file per band: those that `look` chooses, brought to the size of the largest.

    Args:
        files: The file of each band by its name, in the order of their numbers.
        look: Which bands are seen.

    Raises:
        As `read`.
    """
    names = list(files)
    parts = [read(files[names[i]].read(), Look()) for i in look.chosen(names)]
    height, width = (max(part.values.shape[axis] for part in parts) for axis in (1, 2))
    kind = np.result_type(*(part.values for part in parts))
    values = np.stack([_resized(part.values[0].astype(kind), height, width) for part in parts])
    masks = [_resized(part.known, height, width) for part in parts if part.known is not None]
    return Raster(values, np.logical_and.reduce(masks) if masks else None)


def band_names(data: bytes, look: Look = LOOK) -> list[str]:
    """Name of each band that `look` chooses from, empty where the file has none."""
    with _opened(data) as pages:
        return [band.name for band in _all_bands(pages, look)]


def opaque_names(data: bytes) -> list[str]:
    """Name of each band but the one that is transparency, by its values too; empty where there is none.

    Raises:
        As `read`.
    """
    with _opened(data) as pages:
        bands = _all_bands(pages, LOOK)
        for alpha in filter(_is_alpha, bands):
            _check_size(pages[0], [alpha])
            if _is_transparency(alpha.page.read(alpha.index), alpha.page.driver):
                return [band.name for band in bands if band is not alpha]
        return [band.name for band in bands]


def sides(data: bytes) -> tuple[int, int, int, int]:
    """Width and height of an image, then those of its largest block."""
    with _opened(data) as pages:
        blocks = [block for page in pages for block in page.block_shapes]
        return pages[0].width, pages[0].height, max(b[1] for b in blocks), max(b[0] for b in blocks)


@contextmanager
def _opened(data: bytes) -> Iterator[list[DatasetReader]]:
    """The pages of a file that have the size of its first."""
    import rasterio  # 0.2 s, and plain images do not need it
    from rasterio.errors import RasterioError

    driver = DRIVERS.get(data[:4])
    if driver is None:
        raise CannotOpen("not an image")
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(**QUIET))
        memory = stack.enter_context(rasterio.MemoryFile(data))
        try:
            pages = [stack.enter_context(memory.open(driver=driver))]
            count = len(pages[0].subdatasets) if driver == "GTiff" else 0
            if count > MOST_PAGES:
                raise ValueError(f"{count:,} pages: need at most {MOST_PAGES}")
            for number in range(2, count + 1):
                page = stack.enter_context(rasterio.open(f"GTIFF_DIR:{number}:{memory.name}", driver=driver))
                if page.shape == pages[0].shape:
                    pages.append(page)
        except RasterioError as error:
            raise CannotOpen(str(error)) from None
        try:
            yield pages
        except RasterioError as error:
            if "memory" in f"{error} {error.__cause__}".lower():
                raise MemoryError from None
            raise ValueError("truncated or damaged") from None


def _bands(page: DatasetReader) -> list[_Band]:
    from rasterio.enums import ColorInterp

    if page.count == 1 and page.colorinterp[0] == ColorInterp.palette and page.dtypes[0] == "uint8":
        return [_Band(page, 1, colour=colour) for colour in range(3)]
    return [_Band(page, i, name or "") for i, name in enumerate(page.descriptions, 1)]


def _all_bands(pages: list[DatasetReader], look: Look) -> list[_Band]:
    """Those of all pages; where the images of a set have no transparency, without that of this one."""
    bands = [band for page in pages for band in _bands(page)]
    if look.whole and len(bands) == len(look.bands) + 1:
        return [band for band in bands if not _is_alpha(band)]
    return bands


def _is_alpha(band: _Band) -> bool:
    from rasterio.enums import ColorInterp

    return bool(band.page.colorinterp[band.index - 1] == ColorInterp.alpha)


def _check_size(first: DatasetReader, chosen: list[_Band]) -> None:
    """Refuse what would fill the memory, from the head of the file."""
    pixels = first.width * first.height
    if pixels > (Image.MAX_IMAGE_PIXELS or pixels):
        raise Image.DecompressionBombError
    for band in chosen:
        page = band.page
        depth = np.dtype(page.dtypes[band.index - 1]).itemsize
        height, width = page.block_shapes[band.index - 1]
        together = page.count if page.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL" else 1
        if max(pixels * len(chosen), height * width * together) * depth > MOST_BYTES:
            raise ValueError(f"too large (more than {MOST_BYTES >> 30} GB decoded)")


def _values(chosen: Sequence[_Band]) -> np.ndarray:
    """(C, H, W); of one page all at once: one by one, each would decode the pixels of all again."""
    first = chosen[0].page
    alike = len({band.page.dtypes[band.index - 1] for band in chosen}) == 1
    if alike and all(band.page is first for band in chosen):
        values = first.read([band.index for band in chosen])
    else:
        values = [band.page.read(band.index) for band in chosen]
    return np.stack([_readable(band, own) for band, own in zip(chosen, values, strict=True)])


def _readable(band: _Band, values: np.ndarray) -> np.ndarray:
    """The values of a band as they are looked at."""
    if band.colour is not None:
        palette = np.zeros((max(int(values.max()), 255) + 1, 3), np.uint8)
        for index, colour in band.page.colormap(band.index).items():
            if index < len(palette):
                palette[index] = colour[:3]
        values = palette[values, band.colour]
        return values
    if values.dtype == np.uint16 and band.page.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
        values = np.iinfo(np.uint16).max - values
    if values.dtype.kind == "c":
        raise ValueError("complex values: save their amplitude as an image")
    if values.dtype.itemsize > 4 or (values.dtype.kind in "iu" and values.dtype.itemsize > 2):
        with np.errstate(over="ignore"):  # what is beyond is not finite then, and no data
            return values.astype(np.float32)
    bits = int(band.page.tags(band.index, ns="IMAGE_STRUCTURE").get("NBITS", 8))
    if values.dtype == np.uint8 and bits < 8:
        return (values.astype(np.uint16) * 255 // ((1 << bits) - 1)).astype(np.uint8)
    return values


def _known(first: DatasetReader, chosen: list[_Band], values: np.ndarray) -> np.ndarray | None:
    """Where all bands have data that can be seen; None for everywhere."""
    from rasterio.enums import ColorInterp, MaskFlags

    known: np.ndarray | None = None
    for band, seen in zip(chosen, values, strict=True):
        no_data = band.page.nodatavals[band.index - 1]
        if no_data is not None and band.colour is None:
            # nearly equal: the text of a 32-bit float may be rounded
            near = np.isclose(seen, no_data, rtol=1e-5, atol=0) if seen.dtype.kind == "f" else seen == no_data
            known = ~near if known is None else known & ~near
    flags = first.mask_flag_enums[0]
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        mask = first.read_masks(1) > 0
        known = mask if known is None else known & mask
    if ColorInterp.alpha in first.colorinterp:
        at = first.colorinterp.index(ColorInterp.alpha) + 1
        alpha = first.read(at)
        if all(band.index != at for band in chosen) and _is_transparency(alpha, first.driver):
            known = alpha > 0 if known is None else known & (alpha > 0)
    return known


def _is_transparency(alpha: np.ndarray, driver: str) -> bool:
    """Whether a band is transparency: in a TIFF near infrared is often tagged so, with values in between."""
    opaque = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    between = np.count_nonzero((alpha > 0) & (alpha < opaque))
    return driver != "GTiff" or bool((alpha == opaque).any() and 2 * between < alpha.size)


def _orientation(data: bytes) -> int:
    """How the image is turned, 1 to 8 as in Exif."""
    with suppress(Exception):  # without such a tag it is upright
        if DRIVERS.get(data[:4]) != "GTiff":
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG2000")) as image:
                return int(image.getexif().get(ORIENTATION, 1))
        return int(_tags(data).get(ORIENTATION, 1))
    return 1


def _tags(data: bytes) -> Mapping[int, Any]:
    """The tags of a TIFF's first page; empty if they cannot be read."""
    with suppress(Exception):  # Pillow raises almost anything on a damaged file
        tags = ImageFileDirectory_v2(data[: 16 if b"+" in data[2:4] else 8])
        stream = io.BytesIO(data)
        stream.seek(tags.next)
        tags.load(stream)
        return tags  # each is decoded when it is asked for
    return {}


def _upright(array: np.ndarray, turn: int) -> np.ndarray:
    """(…, H, W) turned as `PIL.ImageOps.exif_transpose` does."""
    if turn in (5, 6, 7, 8):
        array = array.swapaxes(-1, -2)
    if turn in (2, 3, 6, 7):
        array = array[..., ::-1]
    if turn in (3, 4, 7, 8):
        array = array[..., ::-1, :]
    return np.ascontiguousarray(array)


def _resized(band: np.ndarray, height: int, width: int) -> np.ndarray:
    if band.shape == (height, width):
        return band
    rows = np.arange(height) * band.shape[0] // height
    columns = np.arange(width) * band.shape[1] // width
    resized: np.ndarray = band[rows[:, None], columns]
    return resized
