"""The files that images of an archive come from, found again by what `Record.source` says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from core.archive import scene
from core.archive.images import content_of, number_of
from core.archive.table import Record
from core.data import unpacked
from core.data.band_files import BandFiles, grouped
from core.data.source import IMAGES, ZIP_DEPTH, File, scan, shown
from core.errors import MaclError

MOST_ARCHIVES = 100  # of a folder, in which an image is looked for

Image = File | BandFiles


class Originals:
    """Finds files, and looks into a folder or an archive only once."""

    def __init__(self) -> None:
        self._held: dict[Path, dict[str, Image]] = {}
        self._contents: dict[str, str] = {}

    def find(self, record: Record) -> Image:
        """The file, or the files of the bands, of an image; of a tile those of its scene.

        Raises:
            MaclError: If it is gone, or is another image now.
            OSError: If it cannot be read.
        """
        image = self._named(record.source)
        if image is None:
            raise MaclError("its file is not there any more")
        if record.source not in self._contents:
            self._contents[record.source] = content_of(scene.parts_of(image).values())
        if number_of(self._contents[record.source], record.window) != record.id:
            raise MaclError("its file has another content now")
        return image

    def _named(self, source: str) -> Image | None:
        path = Path(source)
        if path.is_file():
            return File(path.name, path, path.stat().st_size)
        name = str(path)
        for folder in (path, path.parent):
            if folder.is_dir() and name in (found := self._in_folder(folder)):
                return found[name]
        place = next((above for above in path.parents if above.exists()), None)
        return None if place is None else self._in_archives(place).get(name)

    def _in_folder(self, folder: Path) -> dict[str, Image]:
        """The images of one folder that have a file for each band."""
        if folder not in self._held:
            files = [
                File(f"{folder.name}/{shown(path.name)}", path, path.stat().st_size)
                for path in sorted(folder.iterdir())
                if path.suffix.lower() in IMAGES and path.is_file()
            ]
            joined = [image for image in grouped(files)[0] if isinstance(image, BandFiles)]
            self._held[folder] = {
                str(Path(shown(f"{folder.parent}/{name}"))): image for image in joined for name in image.names
            }
        return self._held[folder]

    def _in_archives(self, place: Path) -> dict[str, Image]:
        """The images of an archive, or of those in a folder."""
        if place not in self._held:
            found: dict[str, Image] = {}
            for archive in [place] if place.is_file() else islice(_archives(place), MOST_ARCHIVES):
                try:
                    files = scan(archive, may_unpack=False)
                except MaclError:  # another archive may hold what is looked for
                    continue
                for image in grouped([file for file in files if file.suffix in IMAGES])[0]:
                    found.setdefault(str(Path(shown(f"{place}/{image.path}"))), image)
                    found.setdefault(str(Path(shown(f"{place}/{image.archive}/{image.path}"))), image)
            self._held[place] = found
        return self._held[place]


def _archives(folder: Path, depth: int = 1) -> Iterator[Path]:
    """Zip and tar files of a folder, as deep as `core.data.source.scan` looks for them."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if depth < ZIP_DEPTH and not path.name.startswith("."):
                yield from _archives(path, depth + 1)
        elif path.suffix.lower() == ".zip" or unpacked.groups([path]):
            yield path
