"""Preparing a data set in a detached process, so that no page waits for it (`python -m core.data.job`).

A job is a small JSON file that says how it goes, and a lock beside it that dies with the process.
"""

import hashlib
import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.data import fingerprint, is_prepared, load
from core.data.prepared import cache_root, make_folder
from core.errors import MaclError
from core.files import PROJECT, lock, locked_by, write_atomic

START_SECONDS = 10.0  # a process that has not taken its lock after this long has died at its start


@dataclass(frozen=True)
class Preparation:
    """Where a preparation is: `none` was ever started, `running`, `done`, or `failed` with its `error`.

    `skipped` when it was done without the images that cannot be read, as the person chose.
    """

    state: Literal["none", "running", "done", "failed"]
    what: str = ""
    done: int = 0
    total: int = 0
    error: str = ""
    skipped: bool = False


def start(name: str, root: str | None, image_size: int, skip_broken: bool = False) -> None:
    """Prepare the images in a process of their own, unless that is going on already; returns at once.

    Raises:
        MaclError: If the cache cannot be written.
    """
    detach(_path(name, root, image_size), "core.data.job", name, root or "", image_size, int(skip_broken))


def status(name: str, root: str | None, image_size: int) -> Preparation:
    """What the last `start` with these arguments has come to; `none` where files have changed since."""
    path = _path(name, root, image_size)
    about = read_status(path)
    if about.state == "failed" and is_mended(path, name, root):
        return Preparation("none")
    if about.state == "done" and not _holds(path, name, root, image_size):
        return Preparation("none")
    return about


def is_mended(path: Path, name: str, root: str | None) -> bool:
    """Whether files have changed since a job failed on them: what it said may no longer be so."""
    try:
        files = json.loads(path.read_text()).get("files")
    except (OSError, ValueError):
        return False
    return files is not None and files != fingerprint(name, root)


def _holds(path: Path, name: str, root: str | None, image_size: int) -> bool:
    """Whether `load` would open what that job has prepared."""
    prepared_from = json.loads(path.read_text()).get("files")
    # where only the table has changed, the images may still be the same
    return prepared_from == fingerprint(name, root) or is_prepared(name, root, image_size)


def detach(path: Path, module: str, *arguments: object) -> None:
    """Run `python -m MODULE ARGUMENTS…` as the job of that file, unless it is running; returns at once.

    Raises:
        MaclError: If the folder of the file cannot be written.
    """
    if read_status(path).state == "running":
        return
    make_folder(path.parent)
    try:
        tell_status(path, state="running", started=time.time())
    except OSError as error:
        raise MaclError(
            f"cannot write to {path.parent} ({error.strerror or error}): "
            "make room or point MACL_CACHE to another folder"
        ) from None
    command = shlex.join([sys.executable, "-m", module, *map(str, arguments)])
    # in the background of a shell that ends: nobody has a child to reap
    subprocess.run(
        ["/bin/sh", "-c", f"{command} </dev/null >/dev/null 2>&1 &"],
        cwd=PROJECT,
        start_new_session=True,
        check=True,
    )


def read_status(path: Path) -> Preparation:
    """How the job of that file goes."""
    for _ in range(2):  # twice: it may have ended between the look at the file and the look at the lock
        try:
            said = json.loads(path.read_text())
            state, started = said["state"], float(said.get("started", 0))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):  # not there, or damaged
            return Preparation("none")
        lost = state == "running" and locked_by(path.with_suffix(".lock")) is None
        if not lost:
            break
    if lost and 0 <= time.time() - started < START_SECONDS:  # the clock may have been set back since
        return Preparation("running", "starting")
    if lost:
        return Preparation("failed", error="its process was killed: start it again")
    keys = ("what", "done", "total", "error", "skipped")
    return Preparation(said["state"], **{key: said[key] for key in keys if key in said})


def tell_status(path: Path, **about: object) -> None:
    """Write how the job of that file goes; the job itself calls it."""
    write_atomic(path, json.dumps(about))


def main() -> None:
    """Prepare one data set and say in the job's file how it goes."""
    name, root, image_size = sys.argv[1], sys.argv[2] or None, int(sys.argv[3])
    path = _path(name, root, image_size)
    if not lock(path.with_suffix(".lock")):
        return
    told = 0.0

    def tell(done: int, total: int, what: str) -> None:
        nonlocal told
        if time.monotonic() - told > 0.25 or done == total:
            told = time.monotonic()
            tell_status(path, state="running", what=what, done=done, total=total)

    files = fingerprint(name, root)  # before: a file that changes meanwhile makes the preparation void
    try:
        data = load(name, root, image_size=image_size, skip_broken=sys.argv[4] == "1", progress=tell)
        tell_status(path, state="done", skipped=bool(data.skipped), files=files)
    except MaclError as error:
        tell_status(path, state="failed", error=str(error), files=files)
    except Exception as error:
        tell_status(path, state="failed", error=f"{type(error).__name__}: {error}", files=files)
        raise


def _path(name: str, root: str | None, image_size: int) -> Path:
    key = hashlib.sha256(f"{name}\0{root or ''}\0{image_size}".encode()).hexdigest()[:16]
    return cache_root() / "jobs" / f"{name}-{key}.json"


if __name__ == "__main__":
    main()
