"""What is handed to Ray: files in the run root that the process which speaks to Ray takes up.

`.ray/<claim>.json` is one hand-over, with the folders of each of its tasks. It goes when all of them are
done, so that whatever process comes next knows what is left. `.ray/queue.json` says what waits, in order.
"""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from core.background.process import Process
from core.errors import MaclError
from core.files import PROJECT, write_atomic
from core.queue.job import CARRIED
from core.queue.settings import Ray
from core.runs import Run, where

NAME = "ray"
FOLDER = ".ray"
QUEUE = "queue.json"


class Handed(BaseModel):
    """One hand-over.

    Attributes:
        claim: Its name.
        at: When it was made, seconds since 1970.
        parts: Run folders of each task.
        commit: Version of the program.
        settings: Where the cluster is, and what a task asks for.
        variables: Of the environment of its tasks.
    """

    model_config = ConfigDict(frozen=True)

    claim: str
    at: float
    parts: tuple[tuple[Path, ...], ...]
    commit: str
    settings: Ray
    variables: dict[str, str]


def hand(root: Path, claim: str, parts: list[list[Path]], commit: str, settings: Ray) -> None:
    """Write a hand-over, and see that the process which speaks to Ray lives.

    Raises:
        MaclError: If it cannot be started.
    """
    handed = Handed(
        claim=claim, at=time.time(), parts=tuple(map(tuple, parts)), commit=commit, settings=settings,
        variables=variables(settings.cores),
    )  # fmt: skip
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / f"{claim}.json", handed.model_dump_json())
    try:
        if not where.read(folder).lives:  # on another machine
            driver(root).start("core.queue.ray_driver")
    except BaseException:
        (folder / f"{claim}.json").unlink(missing_ok=True)
        raise


def variables(cores: int) -> dict[str, str]:
    """What the environment of a task needs: this checkout, the places that were set here, its threads."""
    path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
    places = {name: os.environ[name] for name in CARRIED if os.environ.get(name)}
    return {"PYTHONPATH": path, "OMP_NUM_THREADS": str(cores)} | places


def handed(folder: Path) -> list[Handed]:
    """What is not done yet, in order; damaged files are left out."""
    found = []
    for path in folder.glob("macl-*.json"):
        with suppress(OSError, ValidationError):
            found.append(Handed.model_validate_json(path.read_bytes()))
    return sorted(found, key=lambda one: (one.at, one.claim))


def driver(root: Path) -> Process:
    """The process that speaks to Ray for a run root."""
    return Process(root / FOLDER / "driver")


def trouble(root: Path) -> str:
    """Why nothing speaks to Ray for this run root; empty if something does. One that has died is started."""
    folder, process = root / FOLDER, driver(root)
    lease = where.read(folder)
    if lease.lives:
        return ""
    if lease.state == "running" and lease.host != where.host() and not _reached_from_anywhere(folder):
        return f"the process on {lease.host} that speaks to Ray has gone: `macl runs` there starts it again"
    status = process.status()
    if status.state == "failed":
        return status.error
    try:
        if status.state != "running":
            process.start("core.queue.ray_driver")
    except MaclError as error:
        return str(error)
    return ""


def _reached_from_anywhere(folder: Path) -> bool:
    return all(one.settings.address.startswith("ray://") for one in handed(folder))


def is_of(run: Run, claim: str) -> bool:
    """Whether a run is still to be trained by this hand-over."""
    lease = run.where
    mine = (lease.launcher, whole(lease.claim)) == (NAME, claim)
    return mine and lease.state != "ended" and not run.finished


def whole(claim: str) -> str:
    """The hand-over of a claim: each time a part is put forward its runs get a claim of their own."""
    return claim.partition(".")[0]


def say_queue(folder: Path, waiting: dict[str, str]) -> None:
    """Write the names of the parts that wait, in order, with the reasons."""
    with suppress(OSError):
        write_atomic(folder / QUEUE, json.dumps(waiting), flush=False)


def queue(folder: Path) -> dict[str, str]:
    """The parts that wait, in order, with the reasons; empty if nobody has said it."""
    try:
        waiting = json.loads((folder / QUEUE).read_bytes())
    except (OSError, ValueError):
        return {}
    return waiting if isinstance(waiting, dict) else {}
