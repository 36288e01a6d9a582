"""What lies beside the table, in the order of its rows: the vectors, and which rows are removed.

The table decides how many rows there are. Vectors are written and flushed before their rows are committed to
it, so that a process killed in between leaves vectors without rows, which the next one writes over, and never
a row without its vector. Marks of removal are one small file, replaced as a whole. They are not a column of
the table because there a changed row is a deleted and a new one, and the first deletion makes every search
slower.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.files import scratch, write_atomic

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

BLOCK = 1 << 14  # rows that are copied at once


class Columns:
    """The files of one generation.

    Args:
        folder: Of the generation.
        dim: D, the embedding size.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self.dim = dim
        self._path, self._marks = folder / "vectors.f32", folder / "removed.u1"
        self._mapped: Floats = np.zeros((0, dim), np.float32)
        self._stamp: tuple[int, ...] = ()
        self._removed: Bools = np.zeros(0, np.bool_)

    def hold(self, rows: int) -> bool:
        """Whether there are vectors for so many rows."""
        return rows == 0 or (self._path.exists() and self._path.stat().st_size >= 4 * self.dim * rows)

    def vectors(self, rows: int) -> Floats:
        """(rows, D), memory-mapped and read-only."""
        if rows == 0:
            return np.zeros((0, self.dim), np.float32)
        if len(self._mapped) < rows:
            self._mapped = np.memmap(self._path, np.float32, "r", shape=(rows, self.dim)).view(np.ndarray)
        return self._mapped[:rows]

    def append(self, start: int, z: Floats) -> None:
        """Write the vectors (n, D) of the rows from `start` on, and flush them to the disk."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # written, not mapped: on a full disk a write raises, while a mapping kills the process
            view, position = np.ascontiguousarray(z, np.float32).data.cast("B"), 4 * self.dim * start
            while view:
                sent = os.pwrite(handle, view, position)
                view, position = view[sent:], position + sent
            os.fsync(handle)
        finally:
            os.close(handle)

    def rebuild(self, rows: int, read: Callable[[int, int], Floats]) -> None:
        """Write the file anew where a machine that went down has cut it; `read` gives the rows of a range."""
        lost = self._path
        self._path = scratch(lost)
        try:
            self._path.touch()
            for start in range(0, rows, BLOCK):
                self.append(start, read(start, min(start + BLOCK, rows)))
            self._path.replace(lost)
        finally:
            self._path.unlink(missing_ok=True)
            self._path = lost
        self._mapped = np.zeros((0, self.dim), np.float32)

    def removed(self, rows: int) -> Bools:
        """(rows,), which of them are removed."""
        try:
            info = self._marks.stat()
            stamp: tuple[int, ...] = (info.st_ino, info.st_mtime_ns, info.st_size)
            if stamp != self._stamp:
                self._removed = np.fromfile(self._marks, np.bool_)
                self._stamp = stamp
        except FileNotFoundError:
            self._removed = np.zeros(0, np.bool_)
        marks = np.zeros(rows, np.bool_)  # a row that was added later has no mark yet
        marks[: len(self._removed)] = self._removed[:rows]
        return marks

    def mark(self, removed: Bools) -> None:
        """Keep which rows are removed (rows,)."""
        write_atomic(self._marks, removed.tobytes())
