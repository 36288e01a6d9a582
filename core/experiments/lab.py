"""The live lab: runs of about a second in a worker of their own, one folder per configuration.

They are in `.lab` of the run root, outside the list of runs, with a queue and a worker of their own, so that
a long queue never holds them up. The same settings on the same images are trained once; a stopped run goes on
where it was. Nothing here imports torch.
"""

import hashlib
import shutil
import time
from contextlib import suppress
from pathlib import Path

from core import runs
from core.errors import MaclError
from core.queue import launch
from core.runs import Run, RunConfig
from core.runs.folder import begin, text_of_loss

FOLDER = ".lab"
MOST_KEPT = 150  # folders of 3 MB
TRIED = "tried"


def folder(root: Path) -> Path:
    """Folder of the lab's runs in a run root."""
    return root / FOLDER


def warm(root: Path) -> None:
    """Make sure that the lab's worker is alive; if it cannot start, `launch.trouble` says why."""
    with suppress(MaclError):
        launch.ensure_worker("auto", folder(root))


def of(config: RunConfig, root: Path, files: str | None = None) -> Run:
    """The lab's run of a configuration on the images as they are now, whether it exists or not.

    `files` is their `ImageSet.fingerprint` if known; other images mean another run.
    """
    place = config.place or config.data_root or ""
    files = config.images.fingerprint() if files is None else files
    name = hashlib.sha256(f"{config.identity} {place} {config.device} {files}".encode()).hexdigest()[:20]
    return Run(folder(root) / name)


def want(config: RunConfig, root: Path, files: str | None = None) -> Run:
    """The lab's run of a configuration: trained before, under way, or queued now; returns at once.

    Calling it again is cheap, and revives a run that was stopped or whose worker died, unless the run keeps
    killing its workers. `files` as in `of`.
    """
    run = of(config, root, files)
    if not (run.path / "config.json").exists():
        text = text_of_loss(config)
        _make_room(folder(root))
        run.path.mkdir(parents=True, exist_ok=True)
        begin(run.path, config, text)
        launch.requeue(run)
    state = run.state
    if state == "running":
        run.unmark("stop")  # left from a time when it was not wanted
    elif state == "stopped":
        launch.requeue(run)
    elif state == "interrupted":
        run.unmark("stop")
        launch.take_up(run)
    if state not in ("finished", "failed"):
        with suppress(MaclError):
            launch.ensure_worker(config.device, folder(root))
    return run


def cancel(run: Run) -> None:
    """Stop a run that nobody waits for any more; no error if it has ended."""
    with suppress(OSError):
        launch.stop(run)


def tried(run: Run) -> None:
    """Record that a person has just tried these settings."""
    with suppress(OSError):
        (run.path / TRIED).touch()


def trail(root: Path) -> list[Run]:
    """Finished runs that a person has tried, latest first."""
    tried_at = []
    for path in folder(root).glob(f"*/{TRIED}"):
        with suppress(OSError):
            if (path.parent / "scores.json").exists():
                tried_at.append((path.stat().st_mtime_ns, path.parent))
    return [Run(path) for _, path in sorted(tried_at, reverse=True)]


def keep(run: Run, root: Path) -> Run:
    """Copy a finished run of the lab to the ordinary runs, where every page finds it."""
    config = run.config
    copy = runs.create(config, root)
    for path in run.path.iterdir():
        if path.name not in (TRIED, "lock", "config.json", "scores.json") and path.is_file():
            shutil.copy2(path, copy.path / path.name)
    shutil.copy2(run.path / "scores.json", copy.path / "scores.json")  # last: it makes the run finished
    return copy


def _make_room(place: Path) -> None:
    """Remove the runs that have not been looked at for longest."""
    folders = [path.parent for path in place.glob("*/config.json")]
    if len(folders) < MOST_KEPT:
        return

    def seen(path: Path) -> float:
        with suppress(OSError):
            return max(path.stat().st_mtime, (path / TRIED).stat().st_mtime)
        with suppress(OSError):
            return path.stat().st_mtime
        return time.time()

    for path in sorted(folders, key=seen)[: len(folders) - MOST_KEPT + 10]:
        if Run(path).state not in ("running", "queued"):
            shutil.rmtree(path, ignore_errors=True)
