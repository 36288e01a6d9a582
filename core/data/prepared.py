"""Images decoded, resized and kept once: one memory-mapped uint8 array per content and size.

The whole image is resized to a square, not its centre: the labels belong to the whole image, and a crop could
cut off the object that a label names. Sizes that are a few pixels off (44 images of DLRSD) lose nothing
visible; training varies the aspect ratio anyway.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from hashlib import sha256
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from core.background.cache import cache_root, discard, use, used, writing
from core.background.cores import cores
from core.errors import MaclError
from core.files import write_atomic

VERSION = 3  # part of every key: raise it when the same files would give other pixels
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000")  # never EPS: it starts programs
BATCH = 16  # images per task: fewer make the queue cost, more make the progress bar jump
TAILS = 0.5, 99.5  # percentiles of a deep image that become 0 and 255
GDAL_NODATA = 42113  # TIFF tag: the value of pixels that were not seen, as text
UNUSED = 28 * 24 * 3600  # seconds without being opened after which an array makes room for a newer one
LISTED = 10  # names printed per list

Progress = Callable[[int, int, str], None]
Skipped = tuple[tuple[str, str], ...]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Readable(Protocol):
    """What an image is read from; `core.data.source.File` is one."""

    def read(self) -> bytes:
        """The undecoded content."""
        ...


def prepared_size(image_size: int) -> int:
    """Side P of a prepared image: at least 1.25 × image_size (pixels), a multiple of 8.

    The margin gives the random resized crop something to cut from; without it the crop only blurs.
    """
    if not 1 <= image_size <= 4096:
        raise ValueError(f"need image_size from 1 to 4096 pixels, got {image_size}")
    return (5 * image_size + 31) // 32 * 8


def in_parallel(
    work: Callable[[Item], Result], items: Sequence[Item], progress: Progress | None, what: str
) -> list[Result]:
    """`[work(item) for item in items]` on all cores; `progress` is called from the calling thread only.

    Threads, not processes: reading, decoding and resizing release the interpreter's lock, and no worker has
    to import anything.
    """
    results: dict[int, list[Result]] = {}
    starts = range(0, len(items), BATCH)

    def batch(start: int) -> list[Result]:
        return [work(item) for item in items[start : start + BATCH]]

    with ThreadPoolExecutor(min(cores(), 32)) as pool:
        waiting: dict[Future[list[Result]], int] = {pool.submit(batch, start): start for start in starts}
        todo = set(waiting)
        done = 0
        try:
            while todo:
                if progress:
                    progress(done, len(items), what)
                finished, todo = wait(todo, return_when=FIRST_COMPLETED)
                for future in finished:
                    results[waiting[future]] = future.result()
                    done += len(results[waiting[future]])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if progress:
        progress(len(items), len(items), what)
    return [result for start in starts for result in results[start]]


def decode(data: bytes, size: int) -> np.ndarray:
    """One image file as (size, size, 3) uint8 RGB: first frame, upright, antialiased bicubic.

    Grey, palette, CMYK and 1-bit images become RGB; transparent pixels become black, but a fourth band that
    says something else is left out; integers of more than 8 bits and floats are stretched to 0..255, between
    the `TAILS` of their own values, because one saturated pixel would leave a few levels for all others.
    Gaps (not finite, or the no-data value of a GeoTIFF) are black.

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
        places = {b"II*\0": "<4xI", b"MM\0*": ">4xI", b"II+\0": "<8xQ", b"MM\0+": ">8xQ"}
        place = places.get(data[:4])
        if place is None or len(data) < 16:
            raise
        if struct.unpack_from(place, data)[0] >= len(data):  # where its directory should be
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
        high = np.asarray(image.convert("RGB"))
        if int(high.max()) - int(high.min()) < 32:
            raise ValueError("colour with 16 bits per channel, the upper 8 nearly empty: save it with 8 bits")
        return Image.fromarray(_stretch(high.astype(np.float64)))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        if image.format == "TIFF" and not _is_transparency(rgba.getchannel("A")):
            return rgba.convert("RGB")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return image.convert("RGB")


def _is_transparency(alpha: Image.Image) -> bool:
    """Whether a fourth band says what is seen: near infrared, often tagged so, is neither all nor nothing."""
    count = alpha.histogram()
    return count[255] > 0 and 2 * sum(count[1:255]) < sum(count)


def _no_data(image: Image.Image) -> float:
    """The value of pixels that were not seen; NaN if the file names none."""
    try:
        return float(str(getattr(image, "tag_v2", {})[GDAL_NODATA]).strip("\0 "))
    except (KeyError, ValueError):
        return np.nan


def _stretch(values: np.ndarray, no_data: float = np.nan) -> np.ndarray:
    # nearly equal: the text of a 32-bit float may be rounded
    seen = np.isfinite(values) & ~np.isclose(values, no_data, rtol=1e-5, atol=0)
    if not seen.any():
        raise ValueError("no finite pixel value")
    known = values[seen]
    # without interpolation: of a small image, and of one whose tails are all that differs, nothing is cut off
    low, high = (
        np.percentile(known, TAILS[0], method="lower"),
        np.percentile(known, TAILS[1], method="higher"),
    )
    if low == high:
        low, high = known.min(), known.max()
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


def key_of(checksums: Sequence[str], size: int) -> str:
    """The content of a prepared array before it exists: its files in order, its size, this code's version."""
    return sha256("\n".join([f"{VERSION} {size}", *checksums]).encode()).hexdigest()[:32]


def prepare(
    names: Sequence[str],
    files: Sequence[Readable],
    key: str,
    size: int,
    skip_broken: bool = False,
    progress: Progress | None = None,
    known_broken: Skipped = (),
    origin: str = "",
) -> tuple[np.ndarray, np.ndarray, Skipped]:
    """All files as one array on the disk; nothing is decoded when `key` is there already.

    A new array takes the place of those from the same origin that nobody has opened for weeks.

    Args:
        names: What the images are called in messages.
        files: Where they are read from.
        key: `key_of` their checksums and size.
        size: Side P in pixels.
        skip_broken: Leave broken images out instead of raising.
        progress: Called with (done, total, what).
        known_broken: Images found unusable before, to be named in the same message.
        origin: What data set they are of, and where it lies.

    Returns:
        images (n, size, size, 3) uint8 memory-mapped read-only, kept (n,) int64 indices into `files`,
        skipped (name, reason) of the rest.

    Raises:
        MaclError: If images are broken and not to be skipped, or the disk is full.
    """
    folder = cache_root() / "prepared" / key
    if not is_kept(key, files, size):
        discard(folder)
        _write(folder, names, files, size, skip_broken, progress, known_broken, origin)
        _drop_unused(folder.parent, origin)
    broken = _broken(folder)
    use(folder)
    used(folder / "kept.json")  # opened now
    skipped = tuple((names[index], why) for index, why in sorted(broken.items()))
    if (known_broken or skipped) and not skip_broken:
        raise MaclError(broken_message((*known_broken, *skipped), len(files) + len(known_broken)))
    rows = np.array([index for index in range(len(files)) if index not in broken], dtype=np.int64)
    return np.load(folder / "images.npy", mmap_mode="r"), rows, skipped


def is_kept(key: str, files: Sequence[Readable] = (), size: int = 8) -> bool:
    """Whether the array of that key is on the disk, complete; a damaged one is not.

    Images that were broken when it was made are decoded again: a zip names the checksum of the whole image
    also where its bytes are damaged, so that a better copy has the same key.
    """
    folder = cache_root() / "prepared" / key
    try:
        broken = _broken(folder) if files else {}
        count = len(files) - len(broken) if files else len(np.load(folder / "labels.npy"))
        if len(np.load(folder / "images.npy", mmap_mode="r")) != count:
            return False
    except Exception:  # not there, or damaged in one of many ways: prepared anew
        return False
    with quiet_decoding():
        return all(_reason(files[index], size) is not None for index in broken)


def _broken(folder: Path) -> dict[int, str]:
    kept = json.loads((folder / "kept.json").read_text())
    return {int(index): why for index, why in kept["broken"].items()}


def _reason(file: Readable, size: int) -> str | None:
    """Why an image cannot be decoded; None if it can."""
    try:
        decode(file.read(), size)
    except Exception as error:  # Pillow's readers raise almost anything on a damaged file
        return reason(error)
    return None


def keep(key: str, draw: Callable[[], tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels that are computed instead of read; `draw` is called only when `key` is not there yet.

    Returns:
        images (N, P, P, 3) uint8 memory-mapped read-only, labels (N, L) uint8.

    Raises:
        MaclError: If the disk is full.
    """
    folder = cache_root() / "prepared" / key
    if not is_kept(key):
        discard(folder)
        images, labels = draw()
        with writing(folder) as partial:
            partial.mkdir()
            for name, array in (("labels.npy", labels), ("images.npy", images)):
                with (partial / name).open("wb") as stream:
                    np.save(stream, np.asarray(array, dtype=np.uint8))
                    stream.flush()
                    os.fsync(stream.fileno())
    use(folder)
    return np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "labels.npy")


def broken_message(skipped: Skipped, total: int) -> str:
    """The first of what could not be used, how many more there are, and what the person can do."""
    listing = "; ".join(f"{name}: {why}" for name, why in skipped[:LISTED])
    more = f" and {len(skipped) - LISTED:,} more" if len(skipped) > LISTED else ""
    return (
        f"{len(skipped):,} of {total:,} images cannot be used: {listing}{more}. "
        "Mend or remove them, or use --skip-broken"
    )


def broken_among(names: Sequence[str], files: Sequence[Readable], progress: Progress | None) -> Skipped:
    """(name, reason) of the images that cannot be decoded; nothing is kept."""
    with quiet_decoding():
        whys = in_parallel(lambda file: _reason(file, 32), files, progress, "Decoding images")
    return tuple((name, why) for name, why in zip(names, whys, strict=True) if why is not None)


def _write(
    folder: Path,
    names: Sequence[str],
    files: Sequence[Readable],
    size: int,
    skip_broken: bool,
    progress: Progress | None,
    known_broken: Skipped,
    origin: str,
) -> None:
    rows = size * size * 3
    with writing(folder) as partial:
        partial.mkdir()
        with (partial / "images.npy").open("w+b") as stream:
            np.lib.format.write_array_header_1_0(stream, _header(len(files), size))
            stream.flush()
            start, handle = stream.tell(), stream.fileno()

            def one(index: int) -> str | None:
                try:
                    pixels = decode(files[index].read(), size)
                except Exception as error:  # Pillow's readers raise almost anything on a damaged file
                    return reason(error)
                # written, not mapped: on a full disk a write raises where a mapping kills the process
                view = pixels.data.cast("B")
                at = start + index * rows
                while view:
                    sent = os.pwrite(handle, view, at)
                    view, at = view[sent:], at + sent
                return None

            with quiet_decoding():
                whys = in_parallel(one, range(len(files)), progress, "Preparing images")
            broken = {index: why for index, why in enumerate(whys) if why is not None}
            if len(broken) == len(files) or ((broken or known_broken) and not skip_broken):
                listed = tuple((names[index], why) for index, why in broken.items())
                raise MaclError(broken_message((*known_broken, *listed), len(files) + len(known_broken)))
            stream.truncate(start + len(files) * rows)  # the last images may be among the broken ones
        if broken:
            _close_gaps(partial / "images.npy", [i for i in range(len(files)) if i not in broken])
        with (partial / "images.npy").open("rb") as finished:
            os.fsync(finished.fileno())
        about = {"broken": broken, "created": time.time(), "origin": origin}
        write_atomic(partial / "kept.json", json.dumps(about))


def _header(count: int, size: int) -> dict[str, object]:
    return {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}


def _close_gaps(path: Path, kept: Sequence[int]) -> None:
    """Write the array again without the rows of broken images."""
    images = np.load(path, mmap_mode="r")
    dense = path.with_name("dense.npy")
    with dense.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, _header(len(kept), images.shape[1]))
        for index in kept:
            stream.write(images[index].tobytes())
    del images
    dense.replace(path)


def _drop_unused(prepared: Path, origin: str) -> None:
    """Delete what was not opened for weeks of this origin, or of none: an earlier version wrote that."""
    for kept in prepared.glob("*/kept.json"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            same = json.loads(kept.read_text()).get("origin", origin) == origin
            if same and time.time() - kept.stat().st_mtime > UNUSED:
                discard(kept.parent)
