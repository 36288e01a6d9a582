"""Every image of a data set decoded to find the broken ones, in a detached process, before anything starts.

The whole report of `core.data.check` lies in the cache. It holds as long as the files are what they were.
"""

import json
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from core.background.cache import cache_root, used, writing
from core.background.process import Process, Running, Status
from core.data import check, fingerprint
from core.data.job import is_mended
from core.data.report import Report


def start(name: str, root: str | None) -> None:
    """Decode the images in a process of its own, unless that is going on; returns at once.

    Args:
        name: Key of `DATASETS`.
        root: Folder or archive; None looks in the usual place.

    Raises:
        MaclError: If the cache cannot be written.
    """
    process(name, root).start("core.data.examination", name, root or "")


def status(name: str, root: str | None) -> Status:
    """What the last `start` has come to; `none` where files have changed since."""
    job = process(name, root)
    about = job.status()
    if about.state == "failed" and is_mended(job, name, root):
        return Status("none")
    return Status("none") if about.state == "done" and result(name, root) is None else about


def result(name: str, root: str | None) -> Report | None:
    """The report of these very files; None if nobody has looked at them yet."""
    path = process(name, root).file("report")
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    used(path)
    return _report(found["report"]) if found["files"] == fingerprint(name, root) else None


def main(running: Running, name: str, root: str) -> None:
    """Examine one data set."""
    files = fingerprint(name, root or None)  # before: a file that changes meanwhile makes the report void
    running.say(files=files)
    report = check(name, root or None, decode=True, progress=running.tell)
    with writing(running.process.file("report")) as partial:
        partial.write_text(json.dumps({"files": files, "report": asdict(report)}))


def _report(fields: dict[str, Any]) -> Report:
    """A report from JSON, which knows lists only."""
    return Report(**{key: _tuples(value) for key, value in fields.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def process(name: str, root: str | None) -> Process:
    """The process that examines these images."""
    key = sha256(f"{name}\0{root or ''}".encode()).hexdigest()[:16]
    return Process(cache_root() / "examined" / f"{name}-{key}")
