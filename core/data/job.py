"""Prepare a data set in a detached process, so that no page waits for it."""

import hashlib
from typing import Any

from core.background.cache import cache_root
from core.background.process import Process, Running
from core.background.process import Status as Preparation
from core.data.image_set import ImageSet

__all__ = ["Preparation", "is_mended", "start", "status"]


def start(images: ImageSet) -> None:
    """Prepare the images in a process of their own, unless one is at it already; returns at once.

    Raises:
        MaclError: If the cache cannot be written.
    """
    process(images).start("core.data.job", images.to_json())


def status(images: ImageSet) -> Preparation:
    """State of the last `start` for these images; `none` if files have changed since."""
    job = process(images)
    state = job.status()
    if state.state == "failed" and is_mended(job, images):
        return Preparation("none")
    if state.state == "done" and not _holds(job, images):
        return Preparation("none")
    return state


def is_mended(job: Process, images: ImageSet) -> bool:
    """Whether files have changed since a process failed on them, so that its error may no longer hold."""
    files = job.note().get("files")
    return files is not None and files != images.fingerprint()


def _holds(job: Process, images: ImageSet) -> bool:
    """Whether these are the files that this process has prepared, or somebody has loaded them since."""
    return job.note().get("files") == images.fingerprint() or images.can_open()


def main(running: Running, which: str) -> dict[str, Any]:
    """Prepare one data set."""
    images = ImageSet.from_json(which)
    # first, so that a file that changes meanwhile invalidates the preparation
    running.say(files=images.fingerprint())
    return {"skipped": bool(images.load(progress=running.tell).skipped)}


def process(images: ImageSet) -> Process:
    """The process that prepares these images, with or without broken ones."""
    key = hashlib.sha256(
        f"{images.name}\0{images.root or ''}\0{images.size}{images.reading.text}".encode()
    ).hexdigest()[:16]
    return Process(cache_root() / "jobs" / f"{images.name}-{key}")
