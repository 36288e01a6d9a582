"""Which image a cell of a table means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import normalize

from core.data.band_files import BandFiles
from core.data.source import File


@dataclass(frozen=True)
class ImageNames:
    """Every name a row may use for an image, with and without extension, in lower case.

    Attributes:
        images: The images.
        whole: Indices of the images by whole path.
        ends: The same by whole path and by every path without its first folders.
        folders: Names of all folders.
    """

    images: Sequence[File | BandFiles]
    whole: dict[str, list[int]]
    ends: dict[str, list[int]]
    folders: frozenset[str]

    @classmethod
    def of(cls, images: Sequence[File | BandFiles]) -> ImageNames:
        """The names of these images."""
        whole: dict[str, list[int]] = {}
        ends: dict[str, list[int]] = {}
        for number, image in enumerate(images):
            for name in {*map(folded, image.names)}:
                whole.setdefault(name, []).append(number)
                parts = name.split("/")
                for start in range(len(parts)):
                    ends.setdefault("/".join(parts[start:]), []).append(number)
        return cls(images, whole, ends, frozenset(folded(part) for image in images for part in image.folders))

    def find(self, cell: str) -> list[int]:
        """Images that a row may mean: one, none, or several if it is ambiguous.

        Folders above the data set, from other machines, are dropped one by one. What remains must be a whole
        path: a row about a missing image must not label one of the same name elsewhere.
        """
        parts = [part for part in cell.replace("\\", "/").split("/") if part not in ("", ".")]
        for start in range(len(parts)):
            if start and folded(parts[start - 1]) in self.folders:
                continue  # this folder is part of the data set: do not drop it
            text = "/".join(parts[start:])
            fits = self.whole.get(folded(text)) or ([] if start else self.ends.get(folded(text), []))
            if fits:
                return [i for i in fits if self._as_written(i, text)] or fits
        return []

    def may_mean(self, cell: str) -> bool:
        """Whether a cell ends as an image is called: a quick look, before `find`."""
        return folded(cell.replace("\\", "/").rpartition("/")[2].strip()) in self.ends

    def _as_written(self, i: int, text: str) -> bool:
        return any(f"/{name}".endswith(f"/{text}") for name in self.images[i].names)


def folded(text: str) -> str:
    """Lower case, accents in one form: macOS decomposes them in file names, tables do not."""
    return text.lower() if text.isascii() else normalize("NFC", text).lower()
