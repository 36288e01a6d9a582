"""What one encoder has embedded of an archive: a table of rows, and their vectors in a file.

A folder holds generations; `current` names the one that counts. Rows are only ever added to a generation, and
marked as removed. Compaction writes a new generation and then renames a new `current` into place, so that a
process killed at any moment leaves the one or the other. All writing is done under one lock.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.archive import nearest
from core.archive.columns import BLOCK, Bools, Columns, Floats
from core.archive.encoder import Encoder
from core.archive.nearest import query_of
from core.archive.table import (
    STORED,
    VECTOR,
    Answer,
    Hit,
    Index,
    Record,
    Table,
    to_arrow,
    vectors_of,
)
from core.errors import MaclError
from core.files import lock, unlock, write_atomic

EXACT = 200_000  # rows that a filter leaves are searched exactly up to so many
INDEXED = 100_000  # rows beyond which there is an index
GROWN = 10  # built again when one row in so many is new
FEWEST = 1000  # rows that an index can be built from
PER_PARTITION = 1000  # rows
PROBES = (20, 50, 100, 200)  # partitions that are looked at: as few as reach the recall
RECALL, DEEP = 0.99, 100  # recall@DEEP that an index should reach: fewer answers are easier
WAIT_SECONDS = 0.02
FILTERS = 16  # conditions whose rows are remembered
PIECES = 100  # files of a table beyond which they are joined

Ints = NDArray[np.int64]
Result = TypeVar("Result")


class Archive:
    """What one encoder has embedded. Safe to be read and written by several processes at once.

    Args:
        folder: Of the encoder, in that of the archive.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.encoder = Encoder.read(folder)
        self._generation = ""
        self._table: Table
        self._columns: Columns
        self._filters: dict[str, tuple[int, Ints]] = {}
        self._known: Ints = np.zeros(0, np.int64)

    def __len__(self) -> int:
        """Images, without the removed ones."""
        return int(np.count_nonzero(~self._marks()))

    @property
    def removed(self) -> int:
        """Rows that are marked as removed and not yet compacted."""
        return int(np.count_nonzero(self._marks()))

    @property
    def index(self) -> Index | None:
        """The index, if there is one."""
        self._count()
        try:
            return Index(**json.loads((self._place / "index.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def size(self) -> int:
        """Bytes on disk."""
        total = 0
        for path in self.folder.rglob("*"):
            with suppress(OSError):  # another process may be removing it
                total += path.stat().st_size if path.is_file() else 0
        return total

    def ids(self, where: str | None = None) -> Ints:
        """Ids of the images, those that meet the condition, in the order in which they were added.

        Raises:
            MaclError: If the condition cannot be understood.
        """

        def read() -> Ints:
            marks = self._marks()
            return self._ids(len(marks))[self._allowed(marks, where)]

        return self._read(read)

    def values(self, name: str, where: str | None = None) -> list[object] | Ints:
        """One field of `Record` for every image, in the order of `ids`; numbers as an array."""

        def read() -> list[object] | Ints:
            marks = self._marks()
            found = self._table.read([name], where) if where else self._table.span([name], 0, len(marks))
            rows = found["row"].to_numpy()
            live = np.append(~marks, False)[np.minimum(rows, len(marks))]  # others have been added since
            kept = found.filter(live)[name]
            return np.asarray(kept.to_numpy()) if name in ("id", "stamp") else list(kept.to_pylist())

        return self._read(read)

    def records(self, ids: ArrayLike) -> dict[int, Record]:
        """What is kept of these images, by id; those that are not there (any more) are left out."""

        def read() -> dict[int, Record]:
            return {one.id: one for one in self._table.records(self._rows_of(ids).tolist()).values()}

        return self._read(read)

    def vectors(self, ids: ArrayLike) -> Floats:
        """Embeddings (n, D) of some images; MaclError if one is not there."""
        wanted = np.asarray(ids, np.int64)

        def read() -> Floats:
            rows = self._rows_of(wanted)
            count = self._count()
            at = dict(zip(self._ids(count)[rows].tolist(), rows.tolist(), strict=True))
            if missing := [number for number in wanted.tolist() if number not in at]:
                raise MaclError(f"{len(missing)} images are not in the archive (any more): search again")
            picked: Floats = self._columns.vectors(count)[[at[number] for number in wanted.tolist()]]
            return picked

        return self._read(read) if wanted.size else np.zeros((0, self.encoder.dim), np.float32)

    def add(self, records: Sequence[Record], z: ArrayLike) -> int:
        """Add images that are not there yet; all of them or, if it fails, none.

        Args:
            records: What is kept of each.
            z: Their embeddings (n, D), unit rows.

        Returns:
            How many were new.

        Raises:
            ValueError: If z is not (n, D), or its rows are not of length 1.
        """
        vectors = np.asarray(z, np.float32)
        if vectors.shape != (len(records), self.encoder.dim):
            raise ValueError(f"need z ({len(records)}, {self.encoder.dim}), got {vectors.shape}")
        if not np.all(np.abs(np.linalg.norm(vectors, axis=1) - 1) < 1e-3):  # false for nan, too
            raise ValueError("need unit rows in z")
        with self._writing():
            there = self.ids()  # also those that another process has added by now
            new, seen = [], set(there[np.isin(there, [record.id for record in records])].tolist())
            for i, record in enumerate(records):
                if record.id not in seen:
                    seen.add(record.id)
                    new.append(i)
            if new:
                count = self._table.count()
                self._columns.append(count, vectors[new])  # before the rows that need them
                self._table.add(count, to_arrow([records[i] for i in new]), vectors[new])
        return len(new)

    def remove(self, ids: ArrayLike) -> int:
        """Mark images as removed: they are not found any more, and can be added again.

        Returns:
            How many there were.
        """
        with self._writing():
            marks, rows = self._marks(), self._rows_of(ids)
            if rows.size:
                marks[rows] = True
                self._columns.mark(marks)
        return int(rows.size)

    def search(self, z: ArrayLike, k: int, where: str | None = None, exact: bool = False) -> Answer:
        """The k images nearest to a query.

        Args:
            z: Its embedding (D,), of this encoder; of length 1.
            k: How many, at least 1; fewer if there are fewer.
            where: A condition in SQL over `core.archive.table.QUERY_COLUMNS`.
            exact: Do not use the index.

        Raises:
            MaclError: If the condition cannot be understood.
            ValueError: If z or k is not as described.
        """
        query = query_of(z, self.encoder.dim, k)

        def answer() -> Answer:
            marks = self._marks()
            allowed = self._allowed(marks, where)
            number = int(np.count_nonzero(allowed))
            few = number <= EXACT and number < len(marks) - np.count_nonzero(marks)
            index = None if exact or few or not number else self.index
            vectors = self._columns.vectors(len(marks))
            found = None if index is None else nearest.near(self._table, vectors, query, k, allowed, index)
            if found is None:
                index, found = None, nearest.exact(vectors, query, k, allowed)
            rows, cosines = found
            records = self._table.records(rows.tolist())
            return Answer(
                tuple(Hit(float(c), records[row]) for row, c in zip(rows.tolist(), cosines, strict=True)),
                index,
            )

        return self._read(answer)

    def build_index(self) -> Index:
        """Build the index anew, and measure its recall on rows of the archive."""
        with self._writing():
            count = self._table.count()
            if count < FEWEST:
                raise MaclError(
                    f"{count:,} images are too few for an index (need {FEWEST:,}): exact answers are as fast"
                )
            (self._place / "index.json").unlink(missing_ok=True)  # until it is measured, answers are exact
            partitions = max(1, round(count / PER_PARTITION))
            kind = self._table.build_index(partitions)
            rows = self._table.indexed()
            vectors, allowed = self._columns.vectors(count), ~self._marks()
            for probes in PROBES:
                asked = Index(rows, kind, min(probes, partitions), DEEP, 0.0, 0.0)
                deep = nearest.measured(self._table, vectors, allowed, asked)
                if deep.recall >= RECALL or probes >= partitions:
                    break
            asked = replace(asked, k=nearest.RECALL_AT)
            index = nearest.measured(self._table, vectors, allowed, asked)
            write_atomic(self._place / "index.json", json.dumps(asdict(index)))
        return index

    @property
    def wants_index(self) -> bool:
        """Whether there are enough rows for an index, or enough new ones for another."""
        count, index = self._count(), self.index
        return count > INDEXED and (index is None or (count - index.rows) * GROWN > count)

    def compact(self) -> None:
        """Drop removed images for good and join small files: copies everything, so never within a request."""
        with self._writing():
            marks = self._marks()
            if not marks.any():
                self._table.tidy()
                return
            had_index = self.index is not None
            number = str(int(self._generation) + 1)
            place = begin(self.folder, self.encoder.dim, int(number))
            table, columns, done = Table(place, self.encoder.dim), Columns(place, self.encoder.dim), 0
            for start in range(0, len(marks), BLOCK):
                stop = min(start + BLOCK, len(marks))
                live = ~marks[start:stop]
                z = self._columns.vectors(len(marks))[start:stop][live]
                if len(z):
                    columns.append(done, z)
                    table.add(done, self._table.span(STORED, start, stop).filter(live), z)
                    done += len(z)
            write_atomic(self.folder / "current", number)
            shutil.rmtree(self._place, ignore_errors=True)  # who reads in it looks again
            self._count(held=True)
        if had_index and len(self) >= FEWEST:
            self.build_index()

    def tidy(self) -> None:
        """After an addition: join files where there are many, build an index where there are enough rows."""
        self._count()
        if self._table.pieces > PIECES:
            with self._writing():
                self._table.tidy()
        if self.wants_index:
            self.build_index()

    @property
    def _place(self) -> Path:
        return self.folder / self._generation

    def _count(self, held: bool = False) -> int:
        """Rows of the current generation, removed ones too; opens it if it is another than before."""
        while (current := self._current()) != self._generation:
            place = self.folder / current
            try:
                table = Table(place, self.encoder.dim)
            except (OSError, RuntimeError, ValueError):
                if self._current() == current:
                    raise
                continue  # replaced just now
            self._table, self._columns = table, Columns(place, self.encoder.dim)
            self._generation, self._filters, self._known = current, {}, np.zeros(0, np.int64)
        count = self._table.count()
        if not self._columns.hold(count):  # a machine that went down has lost some of the file
            with nullcontext() if held else locked(self.folder):
                if not self._columns.hold(count):
                    self._columns.rebuild(count, self._stored)
        return count

    def _current(self) -> str:
        return (self.folder / "current").read_text().strip()

    def _stored(self, start: int, stop: int) -> Floats:
        return vectors_of(self._table.span([VECTOR], start, stop), self.encoder.dim)

    def _marks(self) -> Bools:
        count = self._count()
        return self._columns.removed(count)

    def _read(self, work: Callable[[], Result]) -> Result:
        """What `work` gives; once more if the generation was replaced meanwhile."""
        self._count()
        before = self._generation
        try:
            return work()
        except (OSError, RuntimeError, ValueError):
            self._count()
            if self._generation == before:
                raise
            return work()

    def _ids(self, count: int) -> Ints:
        """Ids of the first rows (count,), removed ones too; only those that are new are read."""
        known = self._known  # taken once: other threads extend it, too
        if len(known) < count:
            new = self._table.span(["id"], len(known), count)["id"].to_numpy()
            self._known = known = np.concatenate([known, new])
        return known[:count]

    def _rows_of(self, ids: ArrayLike) -> Ints:
        """Rows of images, without those that are not there (any more)."""
        marks = self._marks()
        return np.flatnonzero(np.isin(self._ids(len(marks)), np.asarray(ids, np.int64)) & ~marks)

    def _allowed(self, marks: Bools, where: str | None) -> Bools:
        """(rows,), which of them are not removed and meet the condition."""
        if where is None or not where.strip():
            return ~marks
        fitting = np.zeros(len(marks), np.bool_)
        fitting[self._rows(where, len(marks))] = True
        return fitting & ~marks

    def _rows(self, where: str, count: int) -> Ints:
        """Rows that meet a condition, removed ones too; remembered while no row is added."""
        known, rows = self._filters.get(where, (-1, np.zeros(0, np.int64)))
        if known != count:
            found: Ints = self._table.read([], where)["row"].to_numpy()
            rows = found[found < count]
            while len(self._filters) >= FILTERS:
                self._filters.pop(next(iter(self._filters)))
            self._filters[where] = count, rows
        return rows

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock, with the current generation open and what killed processes left removed."""
        with locked(self.folder):
            self._count(held=True)
            for path in self.folder.iterdir():
                if path.is_dir() and path.name != self._generation:
                    shutil.rmtree(path, ignore_errors=True)
            yield


def begin(folder: Path, dim: int, generation: int) -> Path:
    """A new, empty generation."""
    place = folder / str(generation)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    Table(place, dim, create=True)
    return place


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait for the lock of the folder, and hold it."""
    path = folder / "lock"
    while not lock(path):
        time.sleep(WAIT_SECONDS)
    try:
        yield
    finally:
        with suppress(OSError):
            unlock(path)
