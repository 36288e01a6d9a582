"""Images with one file per band, as Sentinel-2 and Landsat come: `patch/patch_B02.tif` and so on."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from core.data import raster
from core.data.decode import quiet_decoding
from core.data.source import File
from core.data.unpacked import Span

SUFFIXES = frozenset({".tif", ".tiff", ".jp2"})
COLOURS = {"red", "green", "blue"}
# what a file's name ends in, perhaps with the size of a pixel behind it
BAND = re.compile(
    r"(?:(?P<image>.+)[-_. ])?"
    r"(?P<band>b\d{1,2}a?|band[-_ ]?\d{1,2}a?|[vh][vh]|red|green|blue|nir|swir[-_]?\d?)"
    r"(?:[-_]\d{1,3}m)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class BandFiles:
    """One image in one file per band.

    Attributes:
        path: The folder, if it holds no other image; else with the start that the names of its files share.
        bands: Name and file of each band, in the order of their numbers.
        other: Another path that a table may call it by; empty if there is none.
    """

    path: str
    bands: tuple[tuple[str, File], ...]
    other: str = ""

    @property
    def parts(self) -> tuple[File, ...]:
        """The files that its content depends on."""
        return tuple(file for _, file in self.bands)

    @property
    def names(self) -> tuple[str, ...]:
        """What a table may call it."""
        return (self.path, self.other) if self.other else (self.path,)

    @property
    def stem(self) -> str:
        """The last part of its path, in lower case."""
        return self.path.rpartition("/")[2].lower()

    @property
    def archive(self) -> str:
        """The archive that holds its files, as of a file."""
        return self.bands[0][1].archive

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of `path`, in lower case."""
        return tuple(self.path.lower().split("/")[:-1])

    def read(self) -> dict[str, File]:
        """The file of each band by its name; none is read yet."""
        return dict(self.bands)


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch of BigEarthNet; its files follow from its name, which keeps half a million of them small.

    Attributes:
        name: Such as S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57.
        holder: The folder of all patches, or the archive that holds them.
        bands: Those that are known of, in the order of their numbers.
        wanted: Those that are read.
        members: Where each of `bands` lies in the archive.
    """

    name: str
    holder: File
    bands: tuple[str, ...]
    wanted: tuple[str, ...]
    members: tuple[zipfile.ZipInfo | Span | None, ...] = ()

    @property
    def path(self) -> str:
        """Its folder: that of its product, without the last two parts of its name, and its name."""
        return f"{self.holder.path}/{self.name.rsplit('_', 2)[0]}/{self.name}"

    @property
    def stem(self) -> str:
        """The name in lower case."""
        return self.name.lower()

    @property
    def parts(self) -> tuple[File, ...]:
        """The files that what is seen of it depends on."""
        return tuple(file for band, file in self.read().items() if band in self.wanted)

    def read(self) -> dict[str, File]:
        """The file of each band by its name; none is read yet."""
        return {
            band: self._file(i, f"{self.path}/{self.name}_{band}.tif") for i, band in enumerate(self.bands)
        }

    def _file(self, index: int, path: str) -> File:
        if not self.members:
            return File(path, self.holder.at / path.removeprefix(f"{self.holder.path}/"), 0)
        member = self.members[index]
        return File(path, self.holder.at, member.file_size if member else 0, member, self.holder.archive)


def grouped(images: Sequence[File]) -> tuple[list[File | BandFiles], tuple[str, ...]]:
    """Files that are bands of one image joined to it, and what to say of them.

    They lie in one folder, their names are the same up to the band, and the first of them has one band.
    """
    groups: dict[tuple[str, str], dict[str, File]] = {}
    for file in sorted(images, key=lambda file: (len(file.path), file.path)):  # _10m before _100m
        folder, name = posixpath.split(file.path)
        stem, suffix = posixpath.splitext(name)
        match = BAND.fullmatch(stem) if suffix.lower() in SUFFIXES else None
        if match:
            band = re.sub(r"^BAND[-_ ]?", "B", match["band"].upper())
            groups.setdefault((folder, match["image"] or ""), {}).setdefault(_cased(band), file)
    groups = {key: bands for key, bands in groups.items() if _are_bands(set(bands))}
    if not groups or not _has_one_band(next(iter(next(iter(groups.values())).values()))):
        return list(images), ()
    taken = {id(file) for bands in groups.values() for file in bands.values()}
    others = [file for file in images if id(file) not in taken and not _is_coarser(file, groups)]
    held = Counter([folder for folder, _ in groups] + [posixpath.split(file.path)[0] for file in others])
    joined = [_joined(folder, start, bands, held[folder] == 1) for (folder, start), bands in groups.items()]
    all_bands = sorted({band for bands in groups.values() for band in bands}, key=_order)
    note = f"one file per band: {len(joined):,} images with bands {', '.join(all_bands)}"
    return sorted([*others, *joined], key=lambda image: image.path), (note,)


def _joined(folder: str, start: str, bands: dict[str, File], alone: bool) -> BandFiles:
    in_order = tuple(sorted(bands.items(), key=lambda band: _order(band[0])))
    whole = posixpath.join(folder, start) if start else folder
    if alone and folder:
        return BandFiles(folder, in_order, whole if whole != folder else "")
    return BandFiles(whole, in_order)


def _are_bands(names: set[str]) -> bool:
    """Whether these can be the bands of one image; `car_red` and `car_blue` may be two images."""
    return len(names) > 1 and (names >= COLOURS or not names & COLOURS)


def _is_coarser(file: File, groups: dict[tuple[str, str], dict[str, File]]) -> bool:
    """Whether it is a band that is there with smaller pixels too."""
    folder, name = posixpath.split(file.path)
    match = BAND.fullmatch(posixpath.splitext(name)[0])
    return match is not None and (folder, match["image"] or "") in groups and file.suffix in SUFFIXES


def _has_one_band(file: File) -> bool:
    try:
        with quiet_decoding():
            return len(raster.band_names(file.read())) == 1
    except Exception:  # damaged: that is said when it is decoded
        return True


def _cased(band: str) -> str:
    return band if re.match(r"B\d", band) else band.lower()


def _order(band: str) -> tuple[int, str]:
    digits = re.search(r"\d+", band)
    return int(digits[0]) if digits else 0, band
