"""Hand runs to a detached worker, stop them, resume them. Nothing here imports torch.

How the state of a run follows from its folder, first match first:

    scores.json            finished (unless trains_on is there too: it was given more epochs)
    lock is held           running
    submitted              queued, a worker will take it
    error.txt              failed
    stopped                stopped (resumable)
    started                interrupted: its process died (resumable)
    nothing of these       queued, created but not handed to a worker

A worker (`core.queue.worker`) outlives page, browser and server; it drains the queue of its device in order
of submission and ends after some idle minutes. It is the `core.background` process `.worker-<device>` of the
run root, whose note names the run in its hands. If it dies, the next worker puts that run at the end of the
queue, so that a run that kills its worker does not hold up the others; after `MOST_DEATHS` deaths at the same
point it has failed. `.paused` in the run root lets no worker begin another run.
"""

import contextlib
import json
import os
import re
import time
from pathlib import Path

from core.background.process import MOST_DEATHS, Process
from core.background.requests import count_death
from core.errors import MaclError
from core.files import PROJECT, clear_scratch, locked_by
from core.runs import DEVICE, Run, RunConfig, create

OWN = re.compile(r"\d{8}-\d{6}|[0-9a-f]{20}$")  # names of run folders, and of the lab's
BEGUN_SECONDS = 60.0  # in which a run folder that is empty is being written by an earlier version


def run_root() -> Path:
    """Where runs are kept: $MACL_RUN_ROOT, else checkpoints/ of this checkout."""
    return Path(os.environ.get("MACL_RUN_ROOT") or PROJECT / "checkpoints").resolve()


def submit(config: RunConfig, root: Path | None = None) -> Run:
    """Create the run folder, queue it, make sure that a worker is alive, and return at once."""
    run = create(config, (root or run_root()).resolve())
    requeue(run)
    ensure_worker(config.device, run.path.parent)
    return run


def requeue(run: Run, *keep: str) -> None:
    """Put a run behind all others that wait, whatever has become of it before; starts no worker.

    What it was marked with before goes, but for what is to be kept.
    """
    # first: a worker that takes the run and fails at once must not lose its error, and a run that is stopped
    # while it waits again is stopped, not failed
    run.unmark(*{"stop", "error.txt", "stopped", "deaths"}.difference(keep))
    (run.path / "submitted").touch()


def resume(run: Run) -> Run:
    """Queue a stopped, interrupted or failed run again; it goes on from its last checkpoint.

    Raises:
        MaclError: If the run is finished.
    """
    state = run.state
    if state == "finished":
        raise MaclError(f"{run.id} is finished; nothing is left to resume")
    if state == "running":
        run.unmark("stop")
        return run
    requeue(run)
    ensure_worker(device_of(run), run.path.parent)
    return run


def stop(run: Run) -> None:
    """Ask a run to stop: a running one saves a checkpoint first, a queued one stops at once."""
    state = run.state
    if state == "running":
        run.mark("stop")
    elif state == "queued":
        # stop as well, until it is resumed: a process that takes the run at this very moment sees it at the
        # first step
        run.mark("stop")
        run.mark("stopped")
        run.unmark("submitted")


def queue(root: Path) -> list[Run]:
    """Runs that wait for a worker, first submitted first."""
    waiting = []
    try:
        names = os.listdir(root)
    except OSError:
        return []
    for name in names:
        # by plain strings: an idle worker asks ten times a second, and most of the runs do not wait
        if name.startswith(".") or not os.access(f"{root}/{name}/submitted", os.F_OK):
            continue
        run = Run(root / name)
        with contextlib.suppress(OSError):  # taken in the meantime
            submitted = (run.path / "submitted").stat().st_mtime_ns
            if run.state == "queued":
                waiting.append((submitted, run.id, run))
    return [run for _, _, run in sorted(waiting, key=lambda item: item[:2])]


def pause(root: Path) -> None:
    """Let no worker begin another run; what runs goes on to its end. It stays paused through restarts."""
    root.mkdir(parents=True, exist_ok=True)
    (root / ".paused").touch()


def unpause(root: Path) -> None:
    """Let the queue go on, with a worker for everything that waits."""
    (root / ".paused").unlink(missing_ok=True)
    for device in {device_of(run) for run in queue(root)}:
        with contextlib.suppress(MaclError):  # `trouble` tells why it cannot start
            ensure_worker(device, root)


def paused(root: Path) -> bool:
    """Whether the queue is paused."""
    return (root / ".paused").exists()


def dropped(root: Path, taken_over: Path | None = None) -> list[Run]:
    """Runs that were in the hands of a worker when it died, and that nobody has taken up since.

    Args:
        root: Of the runs.
        taken_over: A lock that the caller has just taken: the note beside it is still the dead worker's.
    """
    found: dict[str, Run] = {}
    for path in root.glob(".worker-*.json"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            name, held = json.loads(path.read_text()).get("run"), path.with_suffix(".lock")
            if name and (held == taken_over or locked_by(held) is None):
                run = Run(root / str(name))
                if run.state == "interrupted":
                    found[run.id] = run
    return [found[name] for name in sorted(found)]


def take_up(run: Run) -> None:
    """Queue a run whose worker has died again, behind all others; after `MOST_DEATHS` it has failed.

    Deaths count only if the run made no progress between them: a machine may be restarted as often as it
    likes.
    """
    rows = run.history()
    deaths = count_death(run.path / "deaths", int(rows[-1]["step"]) if rows else 0)
    if deaths < MOST_DEATHS:
        requeue(run, "deaths", "stop")
        return
    run.mark(
        "error.txt",
        f"its process died {deaths} times (killed, or out of memory): lower the batch size or the image "
        "size, or free memory, then resume it",
    )


def device_of(run: Run) -> str:
    """Device of a waiting run, read without validation: a broken configuration must fail, not block."""
    try:
        device = str(json.loads((run.path / "config.json").read_bytes()).get("device"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return "auto"
    return device if DEVICE.fullmatch(device) else "auto"  # one that no worker serves would wait for ever


def worker(device: str, root: Path) -> Process:
    """The worker that is asked for by this name of a device."""
    return Process(root / f".worker-{device}")


def workers(root: Path) -> dict[str, dict[str, object]]:
    """Living workers by device name: process id, the queues they take, and whether they are ready."""
    found: dict[str, dict[str, object]] = {}
    for path in root.glob(".worker-*.lock"):
        device = path.name.removeprefix(".worker-").removesuffix(".lock")
        process = worker(device, root)
        if (pid := process.pid) is not None:  # its note is not there yet, or damaged: it lives all the same
            found[device] = {"takes": [device], "ready": False, **process.alive(), "pid": pid}
    return found


def trouble(root: Path, device: str = "auto") -> str:
    """Why the last worker for a device could not start; empty if it could."""
    note = worker(device, root).note()
    return str(note.get("error" if note.get("state") == "failed" else "trouble") or "")


def ensure_worker(device: str = "auto", root: Path | None = None) -> None:
    """Start a worker for the queue of `device` unless one is alive; returns when it has its lock.

    Raises:
        MaclError: If it died at once.
        OSError: If the run root cannot be made.
    """
    root = (root or run_root()).resolve()
    for about in workers(root).values():
        takes = about["takes"]
        if isinstance(takes, list) and device in takes:
            return
    root.mkdir(parents=True, exist_ok=True)
    worker(device, root).start("core.queue.worker", device)


def tidy(root: Path) -> None:
    """Remove what killed processes have left: half-written files, and folders of runs that never were."""
    clear_scratch(root)
    for folder in root.iterdir():
        if OWN.match(folder.name):
            with contextlib.suppress(OSError):
                age = time.time() - folder.stat().st_mtime
                clear_scratch(folder)
                clear_scratch(folder / "frames")
                if not 0 <= age < BEGUN_SECONDS:
                    folder.rmdir()  # one that holds anything stays
