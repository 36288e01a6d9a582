"""Files that are never half written, and record locks that die with their process."""

import errno
import fcntl
import os
import secrets
import struct
import sys
from pathlib import Path

from core.errors import MaclError

PROJECT = Path(__file__).resolve().parent.parent  # the checkout, in which everything is started

# struct flock: the kernels order the fields differently.
_FLOCK = "qqihh" if sys.platform == "darwin" else "hhqqi0q"
_held: dict[Path, int] = {}  # our own locks: F_GETLK cannot see them, and opening the file would drop them


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` to a temporary name, flush it to the disk, and rename it to `path`."""
    if isinstance(data, str):
        data = data.encode()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:  # readable for whom the umask lets read
            file.write(data)
            file.flush()
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
        MaclError: If the file system has no record locks.
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
        raise MaclError(
            f"the file system of {path.parent} cannot lock files ({error.strerror}): "
            "choose a folder on a local or NFSv4 disk"
        ) from error
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
        handle = os.open(path, os.O_RDONLY)  # enough to ask, also for somebody else's run
    except OSError:
        return None
    try:
        darwin = sys.platform == "darwin"
        ask = (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET) if darwin else (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, struct.pack(_FLOCK, *ask)))
    finally:
        os.close(handle)
    kind, pid = (answer[3], answer[2]) if darwin else (answer[0], answer[4])
    return None if kind == fcntl.F_UNLCK else int(pid)
