"""An image of an archive: its marks, its place on Earth, its date, its thumbnail."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from core.archive import scene
from core.archive.scene import Bytes, Parts, Place, Window
from core.data.band_files import BandFiles
from core.data.raster import DRIVERS
from core.data.source import File

THUMBNAIL = 96  # pixels
THUMBNAIL_BYTES = 4096
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d{1,5}(?!\d))")
_TAKEN, _GPS, _EXIF = 0x9003, 0x8825, 0x8769  # Exif: date of the photograph, place, and their folder


@dataclass(frozen=True)
class Item:
    """An image file, or a scene.

    Attributes:
        source: Where it is, for people and for `Record`.
        image: Its file, or one for each band.
        mark: From name, size and time; the stamp of a record comes from it.
    """

    source: str
    image: File | BandFiles
    mark: str

    def stamp(self, window: Window | None = None) -> int:
        """Of the whole, or of a tile."""
        return number_of(self.mark, text_of(window))

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.image.parts)

    @property
    def is_raster(self) -> bool:
        """Whether it may be a scene."""
        return self.image.parts[0].suffix in scene.RASTERS


def number_of(*texts: str) -> int:
    """63 bits that identify some texts."""
    digest = hashlib.sha256("\0".join(texts).encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def text_of(window: Window | None) -> str:
    """A window as `Record` has it."""
    return "" if window is None else " ".join(map(str, window))


def mark_of(name: str, image: File | BandFiles) -> str:
    """What changes with the name, the size or the time of an image."""
    marks = [name]
    for file in image.parts:
        if file.member is not None:
            marks.append(f"{file.member.CRC:08x}-{file.size}")
        else:
            with suppress(OSError):  # reading it will say why
                info = file.at.stat()
                marks.append(f"{info.st_size} {info.st_mtime_ns}")
    return "\0".join(marks)


def content_of(files: Iterable[File | Bytes]) -> str:
    """A digest of all bytes of the files of an image."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        with file.open() as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def place_of(image: File | BandFiles, data: bytes | None, parts: Parts) -> Place:
    """Where and when an image was taken, as far as its file and its name say so.

    Args:
        image: The image.
        data: Its content, if it is in one file.
        parts: Its files.
    """
    found = Place()
    with suppress(Exception):  # no coordinates are no reason to leave an image out
        if data is not None and DRIVERS.get(data[:4]) in (None, "PNG"):
            found = _of_photograph(data)
        elif image.parts[0].suffix in scene.RASTERS:
            with scene.opened(parts) as datasets:
                found = scene.place_of(next(iter(datasets.values())))
    return Place(found.lon, found.lat, found.crs, date_in(image.path) or found.date)


def _of_photograph(data: bytes) -> Place:
    """What a camera has written."""
    with Image.open(io.BytesIO(data)) as photograph:
        exif = photograph.getexif()
    taken = str(exif.get_ifd(_EXIF).get(_TAKEN, ""))[:10].replace(":", "-")
    gps = exif.get_ifd(_GPS)
    if not {1, 2, 3, 4} <= gps.keys():
        return Place(date=date_in(taken))
    lat, lon = (
        sum(float(part) / 60**i for i, part in enumerate(gps[at])) * (-1 if gps[at - 1] in ("S", "W") else 1)
        for at in (2, 4)
    )
    return Place(lon, lat, scene.WGS84, date_in(taken))


def date_in(name: str) -> str:
    """The first date in a name as YYYY-MM-DD, such as of S2A_20170613T101031; empty if there is none."""
    match = _DATE.search(Path(name).name) or _DATE.search(name)
    return f"{match[1]}-{match[3]}-{match[4]}" if match else ""


def thumbnail(pixels: np.ndarray) -> bytes:
    """A JPEG of at most `THUMBNAIL_BYTES` of an image (P, P, 3)."""
    picture = Image.fromarray(pixels)
    side = min(THUMBNAIL, picture.width)
    while True:
        small = picture.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
        for quality in (80, 60, 40, 20):
            file = io.BytesIO()
            small.save(file, "JPEG", quality=quality)
            if file.tell() <= THUMBNAIL_BYTES:
                return file.getvalue()
        side = side * 3 // 4
