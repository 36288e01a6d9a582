"""One image file of any kind as a square of RGB bytes.

The whole image is resized to a square, not just its centre: the labels belong to the whole image, and a crop
could cut off the object that a label names. Images a few pixels off square (44 of DLRSD) lose nothing
visible; training varies the aspect ratio anyway.
"""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from core.data import raster
from core.data.look import ALL, LOOK, Look
from core.data.raster import Readable

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000")  # never EPS: it starts programs
GDAL_NODATA = 42113  # TIFF tag: the value of pixels without data, as text


def decode(data: bytes | Mapping[str, Readable], size: int, look: Look = LOOK) -> np.ndarray:
    """One image file as (size, size, C) uint8: first frame, upright, antialiased bicubic.

    C is 3, RGB, unless `look` has another number of bands. Grey, palette, CMYK and 1-bit images become RGB;
    transparent pixels become black, but a fourth band with another meaning is left out; integers of more than
    8 bits and floats are stretched to 0..255 as `look` says. Gaps (not finite, or the no-data value of the
    file) become black. Pages of equal size are bands.

    Args:
        data: The content of the file; of one file per band, the file of each by its name.
        size: Side P in pixels.
        look: Which bands are seen, and between which values.

    Raises:
        Exception: Whatever Pillow raises for a damaged file; `reason` puts it into words.
    """
    if not isinstance(data, bytes):
        parts = _seen(raster.read_files(data, look), look)
    elif not data:
        raise UnidentifiedImageError("empty file")
    elif raster.wanted(data, look):
        try:
            parts = _seen(raster.read(data, look), look)
        except raster.CannotOpen:
            parts = _by_pillow(data, size, look)
    else:
        parts = _by_pillow(data, size, look)
    small = [part.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0) for part in parts]
    if look.channels == 3:
        return np.asarray(small[0].convert("RGB"))  # grey so far if it was: a third of the memory
    return np.stack([np.asarray(part) for part in small], axis=-1)


def bands(data: bytes | Mapping[str, Readable]) -> list[str]:
    """Name of each band of an image but transparency, empty where it has none.

    Raises:
        Exception: As `decode`.
    """
    if not isinstance(data, bytes):
        return list(data)
    if raster.wanted(data, Look(ALL)):
        with contextlib.suppress(raster.CannotOpen):
            return raster.opaque_names(data)
    with _open(data) as image:
        return [""] * (1 if _is_grey(image) else 3)


def side(data: bytes | Mapping[str, Readable]) -> tuple[int, int]:
    """Width and height of an image, of its largest band; decodes nothing.

    Raises:
        Exception: As `decode`.
    """
    if not isinstance(data, bytes):
        widths, heights = zip(*(side(file.read()) for file in data.values()), strict=True)
        return max(widths), max(heights)
    try:
        with _open(data) as image:
            return image.size
    except ValueError:  # a TIFF, but none that Pillow knows
        return raster.sides(data)[:2]


def _seen(read: raster.Raster, look: Look) -> list[Image.Image]:
    """One RGB image, or one for each band where the network sees another number of them."""
    if read.deep:
        levels = look.levels(read.values, read.known)  # (H, W, C)
    else:
        levels = np.ascontiguousarray(read.values.transpose(1, 2, 0))
        if read.known is not None:
            levels[~read.known] = 0
    if look.channels != 3:
        return [Image.fromarray(np.ascontiguousarray(band)) for band in levels.transpose(2, 0, 1)]
    return [Image.fromarray(levels if levels.shape[2] == 3 else levels[..., 0])]


def _by_pillow(data: bytes, size: int, look: Look) -> list[Image.Image]:
    with _open(data) as image:
        if image.format in ("JPEG", "MPO"):
            image.draft(None, (2 * size, 2 * size))  # twice the target keeps the antialiasing exact enough
        grey = _is_grey(image)
        ImageOps.exif_transpose(image, in_place=True)
        rgb = _rgb(image, look)
    if not look.bands:
        return [rgb]
    parts = [rgb.getchannel(i) for i in look.chosen([""] if grey else ["", "", ""])]
    if look.channels != 3:
        return parts
    return [Image.merge("RGB", [parts[i % len(parts)] for i in range(3)])]


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")


def _open(data: bytes) -> ImageFile.ImageFile:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        offset_formats = {b"II*\0": "<4xI", b"MM\0*": ">4xI", b"II+\0": "<8xQ", b"MM\0+": ">8xQ"}
        offset_format = offset_formats.get(data[:4])
        if offset_format is None or len(data) < 16:
            raise
        if struct.unpack_from(offset_format, data)[0] >= len(data):  # where its directory should be
            raise EOFError from None
        raise ValueError("a TIFF with a band layout that cannot be read: save it as 8-bit RGB") from None


def _rgb(image: Image.Image, look: Look) -> Image.Image:
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image)
        known = ~np.isclose(values, _no_data(image), rtol=1e-5, atol=0)  # the text may be rounded
        return Image.fromarray(look.levels(values[None], known)[..., 0]).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        if image.format == "TIFF" and not _is_transparency(rgba.getchannel("A")):
            return rgba.convert("RGB")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return image.convert("RGB")


def _is_transparency(alpha: Image.Image) -> bool:
    """Whether a fourth band is transparency: near infrared, often tagged so, has mostly values in between."""
    count = alpha.histogram()
    return count[255] > 0 and 2 * sum(count[1:255]) < sum(count)


def _no_data(image: Image.Image) -> float:
    """The value of pixels without data; NaN if the file names none."""
    try:
        return float(str(getattr(image, "tag_v2", {})[GDAL_NODATA]).strip("\0 "))
    except (KeyError, ValueError):
        return np.nan


def reason(error: Exception) -> str:
    """Why a file could not be decoded, in a few words a person can act on."""
    text = str(error)
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"too large (more than {(Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} million pixels)"
    if isinstance(error, UnidentifiedImageError):
        return "empty file" if "empty" in text else "not an image"
    if isinstance(error, zipfile.BadZipFile):
        return text
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read ({error.strerror})"
    if "truncated" in text.lower() or isinstance(error, EOFError) or "decoder error" in text:
        return "truncated or damaged"
    return text.splitlines()[0] if text else type(error).__name__


@contextlib.contextmanager
def quiet_decoding() -> Iterator[None]:
    """Pillow's warnings become errors (decompression bombs) or nothing (odd metadata) while images decode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
