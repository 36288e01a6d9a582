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
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000")  # never EPS: it starts programs
TAILS = 0.5, 99.5  # percentiles of a deep image that become 0 and 255
STRETCH = f"{TAILS[0]:g}-{TAILS[1]:g} % of each image"
GDAL_NODATA = 42113  # TIFF tag: the value of pixels without data, as text


def decode(data: bytes, size: int) -> np.ndarray:
    """One image file as (size, size, 3) uint8 RGB: first frame, upright, antialiased bicubic.

    Grey, palette, CMYK and 1-bit images become RGB; transparent pixels become black, but a fourth band with
    another meaning is left out; integers of more than 8 bits and floats are stretched to 0..255 between the
    `TAILS` of their own values, because one saturated pixel would leave few levels for all others. Gaps (not
    finite, or the no-data value of a GeoTIFF) become black.

    Raises:
        Exception: Whatever Pillow raises for a damaged file; `reason` puts it into words.
    """
    if not data:
        raise UnidentifiedImageError("empty file")
    with _open(data) as image:
        deep = any(";16" in str(tile[3]) for tile in image.tile)
        if image.format in ("JPEG", "MPO"):
            image.draft(None, (2 * size, 2 * size))  # twice the target keeps the antialiasing exact enough
        ImageOps.exif_transpose(image, in_place=True)
        rgb = _rgb(image, deep)
    small = rgb.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(small)


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


def _rgb(image: Image.Image, deep: bool) -> Image.Image:
    if image.mode == "RGB" and not deep:
        image.load()
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image, dtype=np.float64)
        return Image.fromarray(_stretch(values, _no_data(image))).convert("RGB")
    if deep and image.mode in ("RGB", "RGBA"):
        # Pillow keeps the upper 8 of 16 bits per channel; 10 to 12 bits stored in 16 leave almost nothing
        upper_bytes = np.asarray(image.convert("RGB"))
        if int(upper_bytes.max()) - int(upper_bytes.min()) < 32:
            raise ValueError("colour with 16 bits per channel, the upper 8 nearly empty: save it with 8 bits")
        return Image.fromarray(_stretch(upper_bytes.astype(np.float64)))
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


def _stretch(values: np.ndarray, no_data: float = np.nan) -> np.ndarray:
    # nearly equal: the text of a 32-bit float may be rounded
    seen = np.isfinite(values) & ~np.isclose(values, no_data, rtol=1e-5, atol=0)
    if not seen.any():
        raise ValueError("no finite pixel value")
    seen_values = values[seen]
    # without interpolation, so that small images and those that differ in their tails only lose nothing
    low, high = (
        np.percentile(seen_values, TAILS[0], method="lower"),
        np.percentile(seen_values, TAILS[1], method="higher"),
    )
    if low == high:
        low, high = seen_values.min(), seen_values.max()
    scaled = (np.where(seen, values, low).clip(low, high) - low) / max(high - low, np.finfo(np.float64).tiny)
    stretched: np.ndarray = np.rint(255 * scaled).astype(np.uint8)
    return stretched


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
