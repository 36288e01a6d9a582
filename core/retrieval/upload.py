"""An image from a stranger: recognised by its content, limited in size, decoded in a process of its own.

Only pixels leave that process: no metadata, no name, nothing else from the file. If a file makes the decoder
crash, loop or use up memory, only that process goes down.
"""

import contextlib
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from core.data import raster
from core.data.decode import decode, quiet_decoding, reason
from core.data.look import LOOK, Look, MissingBand
from core.errors import MaclError
from core.files import PROJECT

FORMATS = ("JPEG", "PNG", "TIFF")
MAX_BYTES = 20_000_000
MAX_PIXELS = 25_000_000
MIN_EDGE = 8  # pixels
MAX_MEMORY = 1 << 30  # bytes that decoding may take
MAX_SECONDS = 10
REFUSED = 3  # exit code of a message; 1 is a traceback
LIMITS = f"JPEG, PNG or TIFF, at most {MAX_BYTES // 10**6} MB and {MAX_PIXELS // 10**6} million pixels"
NEED = "need a JPEG, PNG or TIFF"

_OTHERS = {  # first bytes of files that people take for photographs
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"%PDF": "a PDF",
    b"%!PS": "a PostScript file",
    b"PK\x03\x04": "a ZIP archive",
    b"\x00\x00\x00\x0cjP": "a JPEG 2000",
    b"\xffO\xffQ": "a JPEG 2000",
}


def start() -> subprocess.Popen[bytes]:
    """Start a process that waits for one file, which saves half a second once the file is there.

    It ends when it has decoded its file, or with the process that started it.
    """
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "core.retrieval.upload"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
        env=one_thread,
    )


def pixels(
    data: bytes,
    sizes: Sequence[int],
    decoder: subprocess.Popen[bytes] | None = None,
    look: Look = LOOK,
) -> list[np.ndarray]:
    """The image in each of these sizes, as `core.data` prepares the images of a data set.

    Args:
        data: The whole file. Its name and extension do not matter.
        sizes: Sides P, pixels.
        decoder: A process from `start`, good for one file; None starts one.
        look: As the images of the data set were seen.

    Returns:
        (P, P, C) uint8 for each size, C as the look says: the first frame, upright by its EXIF data, squeezed
        to a square.

    Raises:
        MaclError: With what is wrong with the file, in one line.
    """
    if not data:
        raise MaclError(f"the file is empty: {NEED}")
    if len(data) > MAX_BYTES:
        raise MaclError(
            f"{len(data) / 1e6:.1f} MB are too much: need at most {MAX_BYTES // 10**6} MB, "
            "save it smaller or with more compression"
        )
    request = f"{' '.join(map(str, sizes))}\t{look.text}\n".encode() + data
    with decoder if decoder is not None and decoder.poll() is None else start() as process:
        try:
            answer, error_text = process.communicate(request, timeout=3 * MAX_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise MaclError(
                "decoding it takes too long: save the image anew, as a plain PNG or JPEG"
            ) from None
    expected = [size * size * look.channels for size in sizes]
    if process.returncode == REFUSED:
        raise MaclError(error_text.decode(errors="replace").strip())
    if process.returncode or len(answer) != sum(expected):  # a signal: out of time, memory or luck
        raise MaclError("decoding it failed: the file is damaged or made to do harm; save the image anew")
    ends = np.cumsum(expected)
    return [
        np.frombuffer(answer, np.uint8, count, end - count).reshape(size, size, look.channels)
        for size, count, end in zip(sizes, expected, ends, strict=True)
    ]


def name_of(given: str) -> str:
    """The image's name on the page: the last part of the given name, printable, not too long."""
    last = given.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(letter for letter in last if letter.isprintable())[-60:].strip() or "image"


def key_of(data: bytes) -> str:
    """A short name for a file, from its content."""
    return hashlib.sha256(data).hexdigest()[:32]


def read(data: bytes, sizes: Sequence[int], look: Look = LOOK) -> list[np.ndarray]:
    """As `pixels`, but in this process, and with our size limit instead of Pillow's."""
    bound, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with quiet_decoding():
            check(data)
            return [decode(data, size, look) for size in sizes]
    except MaclError:
        raise
    except MissingBand as error:
        raise MaclError(f"{error.what}: need an image with the bands that the run was trained on") from None
    except MemoryError:
        raise MaclError(
            "decoding it takes too much memory: save it smaller, with 8 bits per channel"
        ) from None
    except Exception as error:  # Pillow's readers raise almost anything on a damaged file
        raise MaclError(f"{reason(error)}: save the image anew, as a plain PNG or JPEG") from None
    finally:
        Image.MAX_IMAGE_PIXELS = bound


def check(data: bytes) -> None:
    """Check the head of a file without decoding it.

    Raises:
        MaclError: If it is none of `FORMATS`, too small, or has too many pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            # a TIFF is decoded tile by tile, and its tiles may be larger than the image
            tags = getattr(image, "tag_v2", {})
            tile = [int(value) for value in (tags.get(322, 0), tags.get(323, 0))]
    except UnidentifiedImageError:
        if data[:4] not in raster.TIFF:
            raise MaclError(f"this is {_looks_like(data)}: {NEED}") from None
        width, height, *tile = raster.sides(data)
    if width * height > MAX_PIXELS or tile[0] * tile[1] > MAX_PIXELS:
        width, height = (tile[0], tile[1]) if tile[0] * tile[1] > width * height else (width, height)
        raise MaclError(
            f"{width:,} × {height:,} pixels are too many: need at most {MAX_PIXELS // 10**6} million, "
            "crop it or save it smaller"
        )
    if min(width, height) < MIN_EDGE:
        raise MaclError(f"{width} × {height} pixels are too few: need at least {MIN_EDGE} each way")


def _looks_like(data: bytes) -> str:
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if b"<svg" in head.lower():
        return "an SVG drawing"
    if head[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a WebP"
    if data[4:8] == b"ftyp":
        return "a HEIC or AVIF picture or a film"
    return next((name for start, name in _OTHERS.items() if head.startswith(start)), "no image")


def _bound() -> None:
    """Limit the memory and time that this process may take from now on."""
    import resource

    with contextlib.suppress(OSError, ValueError):  # macOS does not enforce it
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MAX_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))


def main() -> int:
    """Decode the file on standard input, after a line with sizes and look; writes their raw pixels."""
    _bound()
    asked, _, data = sys.stdin.buffer.read().partition(b"\n")
    sizes, _, look = asked.decode().partition("\t")
    try:
        for image in read(data, [int(size) for size in sizes.split()], Look.of(look)) if sizes else ():
            sys.stdout.buffer.write(image.tobytes())
        sys.stdout.buffer.flush()
    except MaclError as error:
        print(error, file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
