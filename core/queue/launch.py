"""Hand runs to a detached worker, stop them, resume them. Nothing here imports torch.

How the state of a run follows from its folder; the first match counts:

    scores.json            finished (unless trains_on is there too: the run was given more epochs)
    lock is held           running; also if where.json has the fresh heartbeat of another machine
    submitted              queued, a worker will take it
    error.txt              failed
    stopped                stopped (resumable)
    where.json             queued, if a cluster has it (`core.queue.launcher`)
    started                interrupted: its process died (resumable)
    none of these          queued, created but not handed to a worker

A worker (`core.queue.worker`) outlives page, browser and server; it drains the queue of its device in order
of submission and ends after some idle minutes. It is the `core.background` process `.worker-<device>` of the
run root, and its note names the run it is training. If it dies, the next worker puts that run at the end of
the queue, so that a run that kills its worker does not hold up the others; after `MOST_DEATHS` deaths at the
same point the run has failed. While `.paused` is in the run root, no worker begins another run.
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from core import tracking
from core.background.process import MOST_DEATHS, Process
from core.background.requests import count_death
from core.errors import MaclError
from core.files import PROJECT, clear_scratch, locked_by
from core.queue import launcher as launchers
from core.queue.hand_over import refuse_alive
from core.runs import DEVICE, Run, RunConfig, create
from core.runs.where import LOCAL

OWN = re.compile(r"\d{8}-\d{6}|[0-9a-f]{20}$")  # names of run folders, the lab's included
BEGUN_SECONDS = 60.0  # an empty run folder this young may still be written by an earlier version


def run_root() -> Path:
    """Where runs are kept: $MACL_RUN_ROOT, else checkpoints/ of this checkout."""
    return Path(os.environ.get("MACL_RUN_ROOT") or PROJECT / "checkpoints").resolve()


def submit(config: RunConfig, root: Path | None = None, launcher: str = LOCAL) -> Run:
    """Create the run folder, hand it to a launcher, and return at once.

    Raises:
        MaclError: If no run can be kept, no worker can start, or the launcher does not take it.
    """
    (run,) = submit_all([config], root, launcher)
    return run


def submit_all(configs: Sequence[RunConfig], root: Path | None = None, launcher: str = LOCAL) -> list[Run]:
    """Create several run folders and hand them over together.

    Raises:
        MaclError: As `submit`; runs that exist by then are in the run root, to be resumed.
    """
    chosen = launchers.launcher(launcher)
    made = [create(config, (root or run_root()).resolve()) for config in configs]
    chosen.submit(made)
    return made


def requeue(run: Run, *keep: str) -> None:
    """Put a run at the end of the queue, whatever its state; starts no worker.

    Removes its earlier markers, except those to `keep`.
    """
    # before "submitted": a worker that takes the run and fails at once must not lose its error, and a run
    # stopped while it waits again must be stopped, not failed
    run.unmark(*{"stop", "error.txt", "stopped", "deaths"}.difference(keep))
    (run.path / "submitted").touch()


def resume(run: Run) -> Run:
    """Queue a stopped, interrupted or failed run again, with the launcher that had it last.

    It goes on from its last checkpoint. A run that a cluster has, or that lives on another machine, stays
    there.

    Raises:
        MaclError: If the run is finished, or its launcher does not take it.
    """
    state = run.state
    if state == "finished":
        raise MaclError(f"{run.id} is finished; nothing is left to resume")
    if state == "running":
        run.unmark("stop")
        return run
    refuse_alive(run)
    run.unmark("deaths")
    launchers.launcher(launchers.last(run)).submit([run])
    return run


def stop(run: Run) -> None:
    """Ask a run to stop: a running one saves a checkpoint first, a queued one stops at once."""
    if (cluster := launchers.elsewhere(run)) is not None:
        cluster.stop(run)
        return
    state = run.state
    if state == "running":
        run.mark("stop")
    elif state == "queued":
        # "stop" as well: a process that takes the run at this very moment sees it at the first step
        run.mark("stop")
        run.mark("stopped")
        run.unmark("submitted")


def queue(root: Path) -> list[Run]:
    """Runs that wait for a worker, in order of submission."""
    waiting = []
    try:
        names = os.listdir(root)
    except OSError:
        return []
    for name in names:
        # plain strings, for speed: an idle worker looks ten times a second, and most runs do not wait
        if name.startswith(".") or not os.access(f"{root}/{name}/submitted", os.F_OK):
            continue
        run = Run(root / name)
        with contextlib.suppress(OSError):  # taken in the meantime
            submitted = (run.path / "submitted").stat().st_mtime_ns
            if run.state == "queued":
                waiting.append((submitted, run.id, run))
    return [run for _, _, run in sorted(waiting, key=lambda item: item[:2])]


def pause(root: Path) -> None:
    """Let no worker begin another run; running ones go on to their end. Restarts do not end the pause."""
    root.mkdir(parents=True, exist_ok=True)
    (root / ".paused").touch()


def unpause(root: Path) -> None:
    """Let the queue go on, with workers for all waiting runs."""
    (root / ".paused").unlink(missing_ok=True)
    for device in {device_of(run) for run in queue(root)}:
        with contextlib.suppress(MaclError):  # `trouble` says why it cannot start
            ensure_worker(device, root)


def paused(root: Path) -> bool:
    """Whether the queue is paused."""
    return (root / ".paused").exists()


def dropped(root: Path, taken_over: Path | None = None) -> list[Run]:
    """Runs whose worker died over them, and which nobody has taken up since.

    Args:
        root: The run root.
        taken_over: A lock that the caller has just taken; the note beside it is still the dead worker's.
    """
    runs: dict[str, Run] = {}
    for path in root.glob(".worker-*.json"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            name, lock_file = json.loads(path.read_text()).get("run"), path.with_suffix(".lock")
            if name and (lock_file == taken_over or locked_by(lock_file) is None):
                run = Run(root / str(name))
                if run.state == "interrupted":
                    runs[run.id] = run
    return [runs[name] for name in sorted(runs)]


def take_up(run: Run) -> None:
    """Put a run whose process has died at the end of its queue; after `MOST_DEATHS` it has failed.

    Deaths count only if the run made no progress between them: a machine may be restarted any number of
    times. A cluster's job that was lost with its node, pre-empted or at its time limit does not count at all.
    """
    lease, failed = run.where, False
    if lease.launcher == LOCAL or lease.died:
        failed = died(run)
    if not failed and lease.launcher == LOCAL:
        requeue(run, "deaths", "stop")
    elif not failed and (run.path / "stop").exists():  # a person has asked it to stop before
        run.mark("stopped")
    elif not failed:
        launchers.launcher(lease.launcher).submit([run])


def died(run: Run) -> bool:
    """Count a death of a run's process; whether the run has failed by it."""
    rows = run.history()
    deaths = count_death(run.path / "deaths", int(rows[-1]["step"]) if rows else 0)
    if deaths < MOST_DEATHS:
        return False
    run.mark(
        "error.txt",
        f"its process died {deaths} times (killed, or out of memory): lower the batch size or the image "
        "size, or free memory, then resume it",
    )
    return True


def device_of(run: Run) -> str:
    """Device of a waiting run, read without validation: a broken configuration must fail, not block."""
    try:
        device = str(json.loads((run.path / "config.json").read_bytes()).get("device"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return "auto"
    return device if DEVICE.fullmatch(device) else "auto"  # no worker would ever serve an unknown one


def worker(device: str, root: Path) -> Process:
    """The worker known by this device name."""
    return Process(root / f".worker-{device}")


def workers(root: Path) -> dict[str, dict[str, object]]:
    """Living workers by device name: process id, the queues they take, and whether they are ready."""
    living: dict[str, dict[str, object]] = {}
    for path in root.glob(".worker-*.lock"):
        device = path.name.removeprefix(".worker-").removesuffix(".lock")
        process = worker(device, root)
        if (pid := process.pid) is not None:  # alive even if its note is missing or damaged
            living[device] = {"takes": [device], "ready": False, **process.alive(), "pid": pid}
    return living


def trouble(root: Path, device: str = "auto") -> str:
    """Why the last worker of a device could not start; empty if it could."""
    note = worker(device, root).note()
    return str(note.get("error" if note.get("state") == "failed" else "trouble") or "")


def ensure_worker(device: str = "auto", root: Path | None = None) -> None:
    """Start a worker for the queue of `device` unless one is alive; returns when it has its lock.

    Raises:
        MaclError: If it died at once.
        OSError: If the run root cannot be made.
    """
    root = (root or run_root()).resolve()
    tracking.ensure(root)
    for living in workers(root).values():
        takes = living["takes"]
        if isinstance(takes, list) and device in takes:
            return
    root.mkdir(parents=True, exist_ok=True)
    worker(device, root).start("core.queue.worker", device)


def tidy(root: Path) -> None:
    """Remove what killed processes left: half-written files, and empty run folders."""
    clear_scratch(root)
    for folder in root.iterdir():
        if OWN.match(folder.name):
            with contextlib.suppress(OSError):
                age = time.time() - folder.stat().st_mtime
                clear_scratch(folder)
                clear_scratch(folder / "frames")
                if not 0 <= age < BEGUN_SECONDS:
                    folder.rmdir()  # fails, as it should, unless it is empty
