"""Which images there are in some sources, in order: a list on disk, so that memory is flat for any number."""

from __future__ import annotations

import os
import posixpath
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from core.archive.images import Item, mark_of
from core.data import unpacked
from core.data.band_files import BAND, SUFFIXES, BandFiles, grouped
from core.data.prepared import Progress
from core.data.source import IMAGES, ZIP_DEPTH, File, place, scan, shown, walk
from core.errors import MaclError

TOLD = 10_000  # files between two words of progress
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/.*")  # two letters at least: c:/ is a disk
# with the names given, a tar may hold millions of files
ENDINGS = tuple(
    ending for suffix in (*sorted(IMAGES), ".zip") for ending in (suffix, suffix.upper(), suffix.title())
)

Row = tuple[int, bytes, bytes, bytes, int | None]  # source, folder, image, name, number in archives


class Catalogue:
    """The images of some sources, each once, in the order of their folders and names.

    Args:
        sources: Folders, archives, or images.
        progress: Called with (done, total, what).
        shard: (i, n): only the i-th of every n images; no file of the others is opened.

    Attributes:
        broken: Name and reason of archives below a folder that cannot be read.

    Raises:
        MaclError: If a source is not there, or holds no image.
    """

    def __init__(
        self, sources: Sequence[str], progress: Progress | None = None, shard: tuple[int, int] = (1, 1)
    ) -> None:
        self.broken: list[tuple[str, str]] = []
        self._inside: list[File] = []  # of archives, whose directories are in memory anyway
        self._shard, self._progress, self._count = shard, progress, 0
        self._roots = [_root(source) for source in sources]
        self._above = [root.parent if _is_image(root) else root for root in self._roots]
        try:
            self._list = sqlite3.connect("")  # a temporary file, which goes with the process
            self._list.execute("CREATE TABLE files (source, folder, image, name, place)")
            for number, root in enumerate(self._roots):
                before = self._count
                self._list.executemany("INSERT INTO files VALUES (?, ?, ?, ?, ?)", self._rows(number))
                if self._count == before and not self._is_in(str(root), self._roots[:number]):
                    endings = f"need files that end in {', '.join(sorted(IMAGES))}"
                    raise MaclError(
                        "; ".join([f"no image in {root}: {endings}", *(why for _, why in self.broken)])
                    )
        except sqlite3.Error as error:
            raise _no_room(error) from None

    def __len__(self) -> int:
        """How many images there are; files that look like the bands of one count as one."""
        single = "SELECT COUNT(*) FROM files WHERE image = name"
        several = "SELECT DISTINCT source, folder, image FROM files WHERE image <> name"
        ((count,),) = self._list.execute(f"SELECT ({single}) + (SELECT COUNT(*) FROM ({several}))")
        return len(range(self._shard[0] - 1, count, self._shard[1]))

    def __iter__(self) -> Iterator[Item]:
        """The images; a file that is gone by then is among them."""
        first, every = self._shard
        try:
            rows = self._list.execute(
                "SELECT source, folder, image, name, place FROM files ORDER BY source, folder, image, name"
            )
            number = 0
            for (source, _), some in groupby(rows, key=lambda row: row[:2]):
                groups = (list(group) for _, group in groupby(some, key=lambda row: row[2]))
                for alone, group in _alone(groups):
                    number += 1
                    if number % every == first % every:
                        yield from self._items(source, group, alone)
        except sqlite3.Error as error:
            raise _no_room(error) from None

    def _items(self, source: int, group: list[Row], alone: bool) -> Iterator[Item]:
        """The image, or images, of files that may be the bands of one."""
        files = [self._file(row) for row in group]
        for image in grouped(files)[0] if len(files) > 1 else files:
            if isinstance(image, BandFiles) and not alone:
                image = replace(image, path=image.other or image.path, other="")
            name = shown(f"{self._above[source]}/{image.path}")
            yield Item(name, image, mark_of(name, image))

    def _file(self, row: Row) -> File:
        source, folder, _, name, packed = row
        if packed is not None:
            return self._inside[packed]
        path = posixpath.join(os.fsdecode(folder), os.fsdecode(name))
        at = self._above[source] / path
        try:
            size = at.stat().st_size
        except OSError:
            size = 0  # reading it will say why
        return File(shown(path), at, size)

    def _rows(self, number: int) -> Iterator[Row]:
        """The images of a source that are not below an earlier one."""
        root = self._roots[number]
        if not os.path.isdir(root):  # false, too, where it cannot be told: scanning it will say why
            if _is_image(root):
                yield from self._row(number, root.name, None)
            else:
                yield from self._packed(number, root, "")
            return
        start, before = len(os.path.join(root, "")), self._count
        archives: list[str] = []
        near: list[Path] = []
        for count, entry in enumerate(walk(root)):
            if self._progress and count % TOLD == 0:
                self._progress(count, count, "Looking for images")
            relative = entry.path[start:]
            if entry.name.lower().endswith(".zip") and relative.count("/") < ZIP_DEPTH:
                archives.append(relative)
            elif posixpath.splitext(entry.name)[1].lower() in IMAGES:
                yield from self._row(number, relative, None)
            elif relative.count("/") < ZIP_DEPTH and unpacked.groups([Path(entry.path)]):
                near.append(Path(entry.path))
        for relative in sorted(archives):
            yield from self._packed(number, root / relative, shown(relative))
        if self._count == before:  # else a tar is most likely what the images were unpacked from
            for parts in unpacked.groups(near):
                yield from self._packed(number, parts[0], shown(str(parts[0])[start:]))

    def _packed(self, number: int, archive: Path, below: str) -> Iterator[Row]:
        """The images of an archive; `below` is its path in the source, empty if it is the source."""
        if below and self._is_in(str(archive), self._roots[:number]):
            return
        try:
            files = scan(archive, self._progress, only=ENDINGS)
        except MaclError as error:
            if not below:
                raise
            self.broken.append((shown(str(archive)), str(error)))
            return
        for file in files:
            if file.suffix in IMAGES:
                path = posixpath.join(below, file.path)
                self._inside.append(replace(file, path=path))
                yield from self._row(number, path, len(self._inside) - 1)

    def _row(self, number: int, path: str, packed: int | None) -> Iterator[Row]:
        if self._is_in(f"{self._above[number]}/{path}", self._roots[:number]):
            return
        self._count += 1
        folder, name = posixpath.split(path)
        stem, suffix = posixpath.splitext(name)
        match = BAND.fullmatch(stem) if suffix.lower() in SUFFIXES else None
        image = f"{match['image'] or ''}_" if match else name
        yield number, os.fsencode(folder), os.fsencode(image), os.fsencode(name), packed

    @staticmethod
    def _is_in(path: str, roots: Sequence[Path]) -> bool:
        """Whether a path is one of these, or below one."""
        return any(path == str(root) or path.startswith(os.path.join(root, "")) for root in roots)


def is_address(text: str | Path) -> bool:
    """Whether it is one of an object store or of the web, such as s3://images; also as a path: s3:/images."""
    return ADDRESS.fullmatch(str(text)) is not None


def _root(source: str) -> Path:
    if is_address(source):
        raise MaclError(
            f"{source} is an address: need a folder or a file; mount it (rclone mount, s3fs, gcsfuse) or "
            "download it, and give the folder"
        )
    return place(source).absolute()


def _is_image(root: Path) -> bool:
    try:
        return root.suffix.lower() in IMAGES and root.is_file()
    except OSError:
        return False  # scanning it will say why


def _alone(groups: Iterator[list[Any]]) -> Iterator[tuple[bool, list[Any]]]:
    """The images of one folder, each with whether it is the only one."""
    group, first = next(groups, None), True
    while group is not None:
        after = next(groups, None)
        yield first and after is None, group
        group, first = after, False


def _no_room(error: sqlite3.Error) -> MaclError:
    return MaclError(
        f"the list of the images cannot be kept in the folder for temporary files ({error}): make room "
        "there, or point SQLITE_TMPDIR to another folder"
    )
