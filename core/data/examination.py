"""Every image of a data set decoded to find the broken ones, in a detached process, before anything starts.

`python -m core.data.examination NAME ROOT` writes the whole report of `core.data.check` into the cache. It
holds as long as the files are what they were.
"""

import json
import sys
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from core.data import check, fingerprint
from core.data.job import Preparation, detach, is_mended, read_status, tell_status
from core.data.prepared import cache_root
from core.data.report import Report
from core.files import lock, write_atomic


def start(name: str, root: str | None) -> None:
    """Decode the images in a process of its own, unless that is going on; returns at once.

    Args:
        name: Key of `DATASETS`.
        root: Folder or archive; None looks in the usual place.

    Raises:
        MaclError: If the cache cannot be written.
    """
    detach(_job(name, root), "core.data.examination", name, root or "")


def status(name: str, root: str | None) -> Preparation:
    """What the last `start` has come to; `none` where files have changed since."""
    job = _job(name, root)
    about = read_status(job)
    if about.state == "failed" and is_mended(job, name, root):
        return Preparation("none")
    return Preparation("none") if about.state == "done" and result(name, root) is None else about


def result(name: str, root: str | None) -> Report | None:
    """The report of these very files; None if nobody has looked at them yet."""
    try:
        found = json.loads(_job(name, root).with_suffix(".report").read_text())
    except (OSError, ValueError):
        return None
    return _report(found["report"]) if found["files"] == fingerprint(name, root) else None


def main() -> None:
    """Examine one data set and say in the job's file how it goes."""
    name, root = sys.argv[1], sys.argv[2] or None
    job = _job(name, root)
    if not lock(job.with_suffix(".lock")):
        return

    def tell(done: int, total: int, what: str) -> None:
        tell_status(job, state="running", what=what, done=done, total=total)

    files = fingerprint(name, root)  # before: a file that changes meanwhile makes the report void
    try:
        report = check(name, root, decode=True, progress=tell)
        write_atomic(job.with_suffix(".report"), json.dumps({"files": files, "report": asdict(report)}))
        tell_status(job, state="done")
    except Exception as error:
        tell_status(job, state="failed", error=str(error) or type(error).__name__, files=files)
        raise


def _report(fields: dict[str, Any]) -> Report:
    """A report from JSON, which knows lists only."""
    return Report(**{key: _tuples(value) for key, value in fields.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _job(name: str, root: str | None) -> Path:
    key = sha256(f"{name}\0{root or ''}".encode()).hexdigest()[:16]
    return cache_root() / "examined" / f"{name}-{key}.json"


if __name__ == "__main__":
    main()
