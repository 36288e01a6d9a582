"""Preparing a data set in a detached process, so that no page waits for it."""

import hashlib
from typing import Any

from core.background.cache import cache_root
from core.background.process import Process, Running
from core.background.process import Status as Preparation
from core.data import fingerprint, is_prepared, load

__all__ = ["Preparation", "is_mended", "start", "status"]


def start(name: str, root: str | None, image_size: int, skip_broken: bool = False) -> None:
    """Prepare the images in a process of their own, unless that is going on already; returns at once.

    Raises:
        MaclError: If the cache cannot be written.
    """
    process(name, root, image_size).start(
        "core.data.job", name, root or "", image_size, "skip" if skip_broken else ""
    )


def status(name: str, root: str | None, image_size: int) -> Preparation:
    """What the last `start` with these arguments has come to; `none` where files have changed since."""
    job = process(name, root, image_size)
    about = job.status()
    if about.state == "failed" and is_mended(job, name, root):
        return Preparation("none")
    if about.state == "done" and not _holds(job, name, root, image_size):
        return Preparation("none")
    return about


def is_mended(job: Process, name: str, root: str | None) -> bool:
    """Whether files have changed since a process failed on them: what it said may no longer be so."""
    files = job.note().get("files")
    return files is not None and files != fingerprint(name, root)


def _holds(job: Process, name: str, root: str | None, image_size: int) -> bool:
    """Whether `load` would open what that process has prepared."""
    # where only the table has changed, the images may still be the same
    return job.note().get("files") == fingerprint(name, root) or is_prepared(name, root, image_size)


def main(running: Running, name: str, root: str, image_size: str, skip: str) -> dict[str, Any]:
    """Prepare one data set."""
    # before: a file that changes meanwhile makes the preparation void
    running.say(files=fingerprint(name, root or None))
    data = load(name, root or None, image_size=int(image_size), skip_broken=bool(skip), progress=running.tell)
    return {"skipped": bool(data.skipped)}


def process(name: str, root: str | None, image_size: int) -> Process:
    """The process that prepares these images."""
    key = hashlib.sha256(f"{name}\0{root or ''}\0{image_size}".encode()).hexdigest()[:16]
    return Process(cache_root() / "jobs" / f"{name}-{key}")
