"""Look at a data set in a detached process: at tables and names, or at every image, to find broken ones.

The report of `core.data.check` is cached, and valid as long as the files do not change. Whatever is in them,
it is this process whose memory they may take, and never the server's.
"""

import json
import time
from contextlib import suppress
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

from core.background.cache import cache_root, used, writing
from core.background.process import Process, Running, Status
from core.data.image_set import ImageSet
from core.data.job import is_mended
from core.data.recall import code
from core.data.report import Report
from core.data.sets import check
from core.errors import MaclError

UNREADABLE = 10  # seconds for which the report on files holds whose changes cannot be seen


def start(images: ImageSet, decode: bool = True) -> None:
    """Look at the images in a process of its own, unless one is at it already; returns at once.

    Args:
        images: Which.
        decode: Decode every image; else what the data set holds is found, and what is prepared is opened.

    Raises:
        MaclError: If the cache cannot be written.
    """
    words = () if decode else ("files",)
    process(images, decode).start("core.data.examination", images.to_json(), *words)


def status(images: ImageSet, decode: bool = True) -> Status:
    """State of the last `start`; `none` if files have changed since."""
    job = process(images, decode)
    state = job.status()
    if state.state == "failed" and is_mended(job, images):
        return Status("none")
    return Status("none") if state.state == "done" and result(images, decode) is None else state


def result(images: ImageSet, decode: bool = True) -> Report | None:
    """The report on these files as they are now; None if there is none yet."""
    path, files = process(images, decode).file("report"), images.fingerprint()
    try:
        stored = json.loads(path.read_text())
        age = time.time() - path.stat().st_mtime
    except (OSError, ValueError):
        return None
    if (stored.get("code"), stored["files"]) != (code(), files) or (not files and age > UNREADABLE):
        return None
    used(path)
    return _report(stored["report"])


def main(running: Running, which: str, what: str = "") -> None:
    """Examine one data set."""
    images, decode = ImageSet.from_json(which), what != "files"
    files = images.fingerprint()  # taken first, so that a file that changes meanwhile invalidates the report
    running.say(files=files)
    report = check(images.name, images.root, decode=decode, progress=running.tell, reading=images.reading)
    if report.images and not decode:
        with suppress(MaclError):  # not prepared, or not at this size: nothing is prepared here
            replace(images, skip_broken=True).load(only_prepared=True, progress=running.tell)
    with writing(running.process.file("report")) as partial:
        partial.write_text(json.dumps({"code": code(), "files": files, "report": asdict(report)}))


def _report(fields: dict[str, Any]) -> Report:
    """A report from JSON, which turns tuples into lists."""
    return Report(**{key: _tuples(value) for key, value in fields.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def process(images: ImageSet, decode: bool = True) -> Process:
    """The process that looks at these images; one that decodes them does so for every size."""
    size = "" if decode else f"\0{images.size}"
    key = sha256(f"{images.name}\0{images.root or ''}{images.reading.text}{size}".encode()).hexdigest()[:16]
    return Process(cache_root() / "examined" / f"{images.name}-{key}")
