"""The cache: everything in it can be computed again, and each of its folders has a size limit.

What was used longest ago is removed first, but never what a living process uses: that process holds a lock on
one byte of `.in-use`, whose position follows from the entry's name.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from core.errors import MaclError
from core.files import clear_scratch, holder, locked_by, scratch, write_atomic

MB, GB = 10**6, 10**9
BOUNDS = {  # bytes on disk; a folder of requests is emptied by the process that answers them
    "prepared": 50 * GB,
    "features": 5 * GB,
    "unpacked": 250 * GB,
    "weights": 1 * GB,
    "checksums": 1 * GB,  # some 400 bytes for each of 1.4 million band files of BigEarthNet
    "looks": 50 * MB,
    "sheets": 100 * MB,
    "masks": 100 * MB,
    "sets": 1 * GB,
    "jobs": 50 * MB,
    "examined": 100 * MB,
    "archives": 500 * MB,  # what jobs note, and training images beside archives of other machines
    "duplicates": 500 * MB,
    "previews": 200 * MB,
    "projections/layouts": 500 * MB,
    "projections/inputs": 1 * GB,
    "projections/requests": 50 * MB,
    "embedder/answers": 2 * GB,
    "embedder/questions": 50 * MB,
    "embedder/pictures": 500 * MB,
    "mechanism/answers": 200 * MB,
    "mechanism/batches": 100 * MB,
    "mechanism/questions": 10 * MB,
}
WAITING = {"inputs", "requests", "questions", "pictures"}  # in use while the process that takes them lives

_handles: dict[Path, int] = {}  # never closed: that would drop the locks
_own: set[Path] = set()  # in use by this process, which cannot see its own locks


@dataclass(frozen=True)
class Entry:
    """Files of one folder that belong together: their size in bytes, and when one was last used."""

    name: str
    files: tuple[Path, ...]
    size: int
    used: int


def cache_root() -> Path:
    """Where prepared data lies: $MACL_CACHE, else macl-lab in $XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("MACL_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "macl-lab"


def cannot_write(folder: Path, why: object) -> MaclError:
    """The error for a folder of the cache, or of runs, that cannot be written."""
    why = why.strerror or why if isinstance(why, OSError) else why
    variable = "MACL_CACHE" if folder.is_relative_to(cache_root()) else "MACL_RUN_ROOT"
    return MaclError(f"cannot write to {folder} ({why}): make room or point {variable} to another folder")


def make_folder(folder: Path) -> None:
    """Create a folder of the cache.

    Raises:
        MaclError: If it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from None


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that replaces it at the end; readers see all or nothing.

    Also removes what killed processes left in the folder, and what exceeds its limit.

    Raises:
        MaclError: If the disk is full or the place cannot be written.
    """
    make_folder(path.parent)
    clear_scratch(path.parent)
    partial = scratch(path)
    try:
        yield partial
        if partial.is_file():
            with partial.open("rb") as file:
                os.fsync(file.fileno())  # or a machine that goes down may leave zeros of the right length
        try:
            partial.replace(path)
        except OSError as error:
            # a folder cannot replace a non-empty one: another process was first with the same content
            if not (path.is_dir() and error.errno in (errno.ENOTEMPTY, errno.EEXIST)):
                raise
    except OSError as error:
        raise cannot_write(path.parent, error) from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
    bound(path.parent, path)


def write(path: Path, data: bytes | str) -> None:
    """Write a small file of the cache, whole or not at all; not flushed: after a crash it is made again.

    Raises:
        MaclError: If the disk is full or the place cannot be written.
    """
    make_folder(path.parent)
    try:
        write_atomic(path, data, flush=False)
    except OSError as error:
        raise cannot_write(path.parent, error) from error


def use(path: Path) -> None:
    """Mark an entry of the cache as used now, and keep it for as long as this process lives."""
    with suppress(OSError):
        used(path)
        fcntl.lockf(_handle(), fcntl.LOCK_SH | fcntl.LOCK_NB, 1, _byte(path))
        _own.add(path)


def used(path: Path) -> None:
    """Mark an entry as used now; no error if it cannot be written."""
    with suppress(OSError):
        os.utime(path)


def tidy() -> None:
    """Remove half-written files of killed processes, and what exceeds the limits."""
    for name in BOUNDS:
        folder = cache_root() / name
        clear_scratch(folder)
        clear_scratch(folder.parent)
        bound(folder)


def bound(folder: Path, keep: Path | None = None) -> None:
    """Remove what was used longest ago, until a folder of the cache is within its limit."""
    root = cache_root()
    most = BOUNDS.get(str(folder.relative_to(root))) if folder.is_relative_to(root) else None
    if most is None:
        return
    present = entries(folder)
    size = sum(entry.size for entry in present)
    for entry in sorted(present, key=lambda entry: entry.used):
        if size <= most:
            return
        if keep not in entry.files and user(folder, entry) is None:
            _remove(entry)
            size -= entry.size


def empty(name: str) -> tuple[int, list[str]]:
    """Remove everything in a folder of the cache that is not in use.

    Returns:
        The bytes freed, and a line for each entry that stays.
    """
    folder = cache_root() / name
    freed, stay = 0, []
    clear_scratch(folder)
    for entry in entries(folder):
        if (process := user(folder, entry)) is not None:
            stay.append(f"{name}/{entry.name} is in use by process {process}")
        else:
            _remove(entry)
            freed += entry.size
    return freed, stay


def entries(folder: Path) -> list[Entry]:
    """What a folder of the cache holds; files whose names agree up to the first dot are one entry."""
    groups: dict[str, list[Path]] = {}
    with suppress(OSError):
        for path in folder.iterdir():
            if not path.name.startswith("."):
                groups.setdefault(path.name.partition(".")[0], []).append(path)
    found = []
    for name, paths in groups.items():
        size = used = 0
        for path in paths:
            for file in [path, *path.iterdir()] if path.is_dir() else [path]:
                with suppress(OSError):  # gone in the meantime
                    info = file.stat()
                    used = max(used, info.st_mtime_ns)
                    size += 0 if file.is_dir() else info.st_size
        found.append(Entry(name, tuple(paths), size, used))
    return found


def user(folder: Path, entry: Entry) -> int | None:
    """A living process that uses or writes an entry; None if there is none."""
    locks = [path for path in entry.files if path.suffix == ".lock"]
    if folder.name in WAITING:
        locks += folder.parent.glob("*.lock")
    for path in locks:
        if (process := locked_by(path)) is not None:
            return process
    for path in entry.files:
        if path in _own:
            return os.getpid()
        with suppress(OSError):
            if (process := holder(_handle(), _byte(path), 1)) is not None:
                return process
    return None


def discard(path: Path) -> None:
    """Remove a file or a folder from disk; a process that has it open can go on reading."""
    if path.is_dir():
        aside = scratch(path)
        with suppress(OSError):  # rename first, so that nobody finds half of it; another process may be first
            path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _remove(entry: Entry) -> None:
    for path in entry.files:
        discard(path)


def _handle() -> int:
    root = cache_root().resolve()
    if root not in _handles:
        _handles[root] = os.open(root / ".in-use", os.O_RDWR | os.O_CREAT, 0o644)
    return _handles[root]


def _byte(path: Path) -> int:
    name = path.relative_to(cache_root()) if path.is_relative_to(cache_root()) else path
    return int.from_bytes(sha256(str(name).encode()).digest()[:4], "big") >> 1
