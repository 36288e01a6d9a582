"""Make or extend an archive in a detached process; several wait for each other."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from core.background.cache import cache_root
from core.background.process import Process, Running, Status
from core.files import lock, write_atomic
from core.queue import launch
from core.runs import Run

LISTED = 1000  # broken files that the note has
LOOK_SECONDS = 0.2
KNOWN = "archives.json"  # beside the runs: the archives that a page lists


@dataclass(frozen=True)
class Job:
    """What is to be added.

    Attributes:
        uri: Folder of the archive.
        runs: Folders of the runs.
        sources: As `core.archive.images.found` takes them.
        tile: As `core.archive.images.cut`.
        stride: As there.
        asked: When, nanoseconds; the first that asked is the first.
    """

    uri: str
    runs: tuple[str, ...]
    sources: tuple[str, ...]
    tile: int | None = None
    stride: int | None = None
    asked: int = field(default_factory=time.time_ns, compare=False)

    def to_json(self) -> str:
        """For `from_json`, of the process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        return cls(**fields | {"runs": tuple(fields["runs"]), "sources": tuple(fields["sources"])})

    @property
    def process(self) -> Process:
        """The process that does it."""
        text = json.dumps({**asdict(self), "asked": 0})
        return Process(home() / sha256(text.encode()).hexdigest()[:16])


@dataclass(frozen=True)
class Made:
    """A job, how far it is, and what came of it: the fields of `core.archive.ingest.Report`.

    The state of one that a person has stopped is `none`.
    """

    job: Job
    status: Status
    report: dict[str, Any]

    @property
    def broken(self) -> list[tuple[str, str]]:
        """Name and reason of what cannot be read; at most `LISTED`."""
        return [(str(name), str(reason)) for name, reason in self.report.get("broken", ())]


def home() -> Path:
    """Folder of the notes."""
    return cache_root() / "archives"


def start(job: Job) -> None:
    """Begin, or wait for those that were asked for before; returns at once.

    Raises:
        MaclError: If the cache cannot be written.
    """
    job.process.start("core.archive.job", job.to_json())
    remember(job.uri)


def made() -> list[Made]:
    """All jobs that nobody has dismissed, the newest first; one whose process has died is started again."""
    found = []
    for path in home().glob("*.json"):
        process = Process(path.with_suffix(""))
        try:
            note = process.note()
            job = Job.from_json(note["arguments"][0])
        except (KeyError, IndexError, TypeError, ValueError):
            continue
        status, report = process.status(), process.note().get("report")
        found.append(Made(job, status, report if isinstance(report, dict) else {}))
    return sorted(found, key=lambda one: -one.job.asked)


def stop(job: Job) -> None:
    """Ask it to end; what it has embedded stays, and the same job goes on from there."""
    job.process.stop()


def go_on(job: Job) -> None:
    """Start one that was stopped or has failed again, behind those that wait; raises as `start`."""
    start(replace(job, asked=time.time_ns()))


def dismiss(job: Job) -> None:
    """Forget a job that has ended."""
    if job.process.pid is None:
        job.process.file("json").unlink(missing_ok=True)


def known() -> list[str]:
    """The archives that were made or opened on a page, the last one first, as far as they are there."""
    try:
        held = json.loads((launch.run_root() / KNOWN).read_bytes())
    except (OSError, ValueError):
        return []
    listed = [str(one) for one in held] if isinstance(held, list) else []
    return [uri for uri in listed if _is_there(uri)]


def remember(uri: str) -> None:
    """List an archive first; where that cannot be kept it is only not listed."""
    try:
        before = json.loads((launch.run_root() / KNOWN).read_bytes())
    except (OSError, ValueError):
        before = []
    listed = [uri, *(str(one) for one in before if one != uri)] if isinstance(before, list) else [uri]
    if listed != before:
        with suppress(OSError):
            write_atomic(launch.run_root() / KNOWN, json.dumps(listed, indent=1) + "\n")


def main(running: Running, which: str) -> dict[str, Any]:
    """Wait for those before, then add."""
    job = Job.from_json(which)
    place = home() / "turn"
    while _others(running, job.asked) or not lock(place):
        running.tell(0, 0, "waiting for the archive before it")
        time.sleep(LOOK_SECONDS)
    running.tell(0, 0, "looking for images")
    from core.archive import ingest  # torch

    def told(done: int, total: int, what: str) -> None:
        running.tell(done, total, what)
        if done:
            running.progressed()

    runs = [Run(Path(path)) for path in job.runs]
    report = asdict(ingest.add(job.uri, runs, job.sources, job.tile, job.stride, progress=told))
    report["unread"], report["broken"] = len(report["broken"]), report["broken"][:LISTED]
    return {"report": report}


def missing(sources: Sequence[str]) -> list[str]:
    """Those that are not there."""
    return [source for source in sources if not _is_there(source)]


def _others(running: Running, asked: int) -> bool:
    """Whether a living job was asked for before."""
    for path in home().glob("*.json"):
        process = Process(path.with_suffix(""))
        if process == running.process:
            continue
        try:
            if Job.from_json(process.alive()["arguments"][0]).asked < asked:
                return True
        except (KeyError, IndexError, TypeError, ValueError):
            continue
    return False


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # below a folder that may not be read
        return False
