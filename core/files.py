"""Files that are never half written, and record locks that die with their process."""

import errno
import fcntl
import os
import re
import secrets
import shutil
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

from core.errors import MaclError

PROJECT = Path(__file__).resolve().parent.parent  # the checkout: every process is started in it

# struct flock: the kernels order the fields differently.
_FLOCK = "qqihh" if sys.platform == "darwin" else "hhqqi0q"
_SCRATCH = re.compile(
    r"\.(?:.*\.)?(?:(\d+)-)?[0-9a-f]{8,32}(?:\.part)?"
)  # earlier versions put no process id into the name
_ABANDONED = 3600.0  # seconds after which a file without a process id counts as abandoned
_held: dict[Path, int] = {}  # our own locks: F_GETLK cannot see them, and opening the file would drop them


class NoLocks(MaclError):
    """The file system has no record locks."""


def scratch(path: Path) -> Path:
    """A temporary name beside `path`, new at each call, with the id of the writing process in it."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")


def clear_scratch(folder: Path) -> None:
    """Remove the half-written files that killed processes left in a folder."""
    with suppress(OSError):
        for path in folder.glob(".*"):
            match = _SCRATCH.fullmatch(path.name)
            with suppress(OSError):
                if match is None or _is_written(path, match[1]):
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def _is_written(path: Path, pid: str | None) -> bool:
    """Whether a process may still be writing this temporary file."""
    if pid is None:
        return 0 <= time.time() - path.stat().st_mtime < _ABANDONED
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # somebody else's
    with suppress(OSError):  # a zombie writes nothing; only Linux tells
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def write_atomic(path: Path, data: bytes | str, *, flush: bool = True) -> None:
    """Write `data` to a temporary name, flush it to the disk, and rename it to `path`.

    Without `flush` the file may be lost or damaged if the machine goes down, never if only the process does.
    """
    if isinstance(data, str):
        data = data.encode()
    temporary = scratch(path)
    try:
        with temporary.open("xb") as file:  # permissions follow the umask
            file.write(data)
            file.flush()
            if flush:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def lock(path: Path) -> bool:
    """Take the record lock of `path` for this process; False if another process holds it.

    Record locks (fcntl) are released by the kernel when the process ends, however it ends, and are not
    inherited by its children. They need a local or NFSv4 file system.

    Raises:
        NoLocks: If the file system has no record locks.
        OSError: If the file cannot be made.
    """
    path = path.resolve()
    if path in _held:
        return False
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise NoLocks(
            f"the file system of {path.parent} cannot lock files ({error.strerror}): "
            "choose a folder on a local or NFSv4 disk"
        ) from error
    try:
        unchanged = path.stat().st_ino == os.fstat(handle).st_ino
    except OSError:
        unchanged = False
    if not unchanged:  # the holder has ended and removed the file, and others may lock a new one
        os.close(handle)
        return lock(path)
    _held[path] = handle
    return True


def unlock(path: Path) -> None:
    """Give back a lock that this process holds; no error if it holds none."""
    handle = _held.pop(path.resolve(), None)
    if handle is not None:
        os.close(handle)


def locked_by(path: Path) -> int | None:
    """Process id of the holder of the lock of `path`, None if it is free. Never takes the lock itself."""
    if path.resolve() in _held:
        return os.getpid()
    try:
        handle = os.open(path, os.O_RDONLY)  # enough to ask, even about another user's run
    except OSError:
        return None
    try:
        return holder(handle)
    finally:
        os.close(handle)


def holder(handle: int, start: int = 0, length: int = 0) -> int | None:
    """Id of another process that has locked these bytes of an open file; length 0 means to its end."""
    darwin, kind = sys.platform == "darwin", fcntl.F_WRLCK
    request = (start, length, 0, kind, os.SEEK_SET) if darwin else (kind, os.SEEK_SET, start, length, 0)
    answer = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, struct.pack(_FLOCK, *request)))
    kind, pid = (answer[3], answer[2]) if darwin else (answer[0], answer[4])
    return None if kind == fcntl.F_UNLCK else int(pid)
