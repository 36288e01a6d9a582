"""Decode every image of a data set in a detached process, to find the broken ones before anything starts.

The full report of `core.data.check` is cached, and valid as long as the files do not change.
"""

import json
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from core.background.cache import cache_root, used, writing
from core.background.process import Process, Running, Status
from core.data.image_set import ImageSet
from core.data.job import is_mended
from core.data.report import Report
from core.data.sets import check


def start(images: ImageSet) -> None:
    """Decode the images in a process of its own, unless one is at it already; returns at once.

    Raises:
        MaclError: If the cache cannot be written.
    """
    process(images).start("core.data.examination", images.to_json())


def status(images: ImageSet) -> Status:
    """State of the last `start`; `none` if files have changed since."""
    job = process(images)
    state = job.status()
    if state.state == "failed" and is_mended(job, images):
        return Status("none")
    return Status("none") if state.state == "done" and result(images) is None else state


def result(images: ImageSet) -> Report | None:
    """The report on these files as they are now; None if there is none yet."""
    path = process(images).file("report")
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    used(path)
    return _report(stored["report"]) if stored["files"] == images.fingerprint() else None


def main(running: Running, which: str) -> None:
    """Examine one data set."""
    images = ImageSet.from_json(which)
    files = images.fingerprint()  # taken first, so that a file that changes meanwhile invalidates the report
    running.say(files=files)
    report = check(images.name, images.root, decode=True, progress=running.tell)
    with writing(running.process.file("report")) as partial:
        partial.write_text(json.dumps({"files": files, "report": asdict(report)}))


def _report(fields: dict[str, Any]) -> Report:
    """A report from JSON, which turns tuples into lists."""
    return Report(**{key: _tuples(value) for key, value in fields.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def process(images: ImageSet) -> Process:
    """The process that examines these images, at any size."""
    key = sha256(f"{images.name}\0{images.root or ''}".encode()).hexdigest()[:16]
    return Process(cache_root() / "examined" / f"{images.name}-{key}")
