"""Preparing a data set in a detached process, so that no page waits for it."""

import hashlib
from typing import Any

from core.background.cache import cache_root
from core.background.process import Process, Running
from core.background.process import Status as Preparation
from core.data.image_set import ImageSet

__all__ = ["Preparation", "is_mended", "start", "status"]


def start(images: ImageSet) -> None:
    """Prepare them in a process of their own, unless that is going on already; returns at once.

    Raises:
        MaclError: If the cache cannot be written.
    """
    process(images).start("core.data.job", images.to_json())


def status(images: ImageSet) -> Preparation:
    """What the last `start` for these images has come to; `none` where files have changed since."""
    job = process(images)
    about = job.status()
    if about.state == "failed" and is_mended(job, images):
        return Preparation("none")
    if about.state == "done" and not _holds(job, images):
        return Preparation("none")
    return about


def is_mended(job: Process, images: ImageSet) -> bool:
    """Whether files have changed since a process failed on them: what it said may no longer be so."""
    files = job.note().get("files")
    return files is not None and files != images.fingerprint()


def _holds(job: Process, images: ImageSet) -> bool:
    """Whether `load` would open what that process has prepared."""
    # where only the table has changed, the images may still be the same
    return job.note().get("files") == images.fingerprint() or images.is_prepared()


def main(running: Running, which: str) -> dict[str, Any]:
    """Prepare one data set."""
    images = ImageSet.from_json(which)
    # before: a file that changes meanwhile makes the preparation void
    running.say(files=images.fingerprint())
    return {"skipped": bool(images.load(progress=running.tell).skipped)}


def process(images: ImageSet) -> Process:
    """The process that prepares these images, with or without broken ones."""
    key = hashlib.sha256(f"{images.name}\0{images.root or ''}\0{images.size}".encode()).hexdigest()[:16]
    return Process(cache_root() / "jobs" / f"{images.name}-{key}")
