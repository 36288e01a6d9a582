"""An array that is being written: what is on disk stays, however the process ends, and is not made again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from core.background.cache import bound, cannot_write, discard, make_folder, use
from core.files import clear_scratch, lock, unlock

SECONDS = 2.0  # of work that are lost at most

Progress = Callable[[int, int, str], None]


@contextmanager
def growing(final: Path, progress: Progress | None) -> Iterator[Path]:
    """The folder in which an array grows, for one process at a time; which becomes `final` with `kept.json`.

    It stays for the next time if the work is interrupted, but not if the disk is full.

    Raises:
        MaclError: If the disk is full or the place cannot be written.
    """
    partial = final.with_name(f"{final.name}.part")
    guard = partial / "lock"
    try:
        clear_scratch(final.parent)
        _take(partial, guard, progress)
    except OSError as error:
        raise cannot_write(final.parent, error) from error
    try:
        yield partial
        if (partial / "kept.json").exists():
            guard.unlink()
            partial.replace(final)
        else:  # another process has made it meanwhile
            discard(partial)
    except OSError as error:
        discard(partial)
        raise cannot_write(final.parent, error) from error
    finally:
        unlock(guard)
    bound(final.parent, final)


def _take(partial: Path, guard: Path, progress: Progress | None) -> None:
    while True:
        make_folder(partial)
        with suppress(FileNotFoundError):  # whoever had the folder has just renamed it
            if lock(guard):
                break
        if progress:
            progress(0, 1, "Waiting for the other process that prepares the same")
        time.sleep(0.1)
    use(partial)


class Rows:
    """Which rows of an array are on disk: a byte for each in a file, written only once its pixels are safe.

    Args:
        path: The file.
        count: Number of rows N.
        array: The open file of the array.

    Attributes:
        done: (N,) bool, those of the processes before this one.
    """

    def __init__(self, path: Path, count: int, array: int) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._array = array
        self._new: list[int] = []
        self._saved = time.monotonic()
        self._lock = threading.Lock()
        said = os.pread(self._handle, count, 0).ljust(count, b"\0")
        self.done: np.ndarray = np.frombuffer(said, np.uint8) == 1

    def add(self, row: int) -> None:
        """Note that a row is written, from any thread."""
        with self._lock:
            self._new.append(row)
            late = time.monotonic() - self._saved > SECONDS
        if late:
            self.save()

    def save(self) -> None:
        """Make all that is written safe."""
        with self._lock:
            new, self._new, self._saved = self._new, [], time.monotonic()
        if new:
            os.fsync(self._array)
            for row in new:
                os.pwrite(self._handle, b"\1", row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with suppress(OSError):
                self.save()
        finally:
            os.close(self._handle)
