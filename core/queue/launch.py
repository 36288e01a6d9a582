"""Hand runs to a detached worker, stop them, resume them. Nothing here imports torch.

How the state of a run follows from its folder, first match first:

    scores.json            finished (unless trains_on is there too: it was given more epochs)
    lock is held           running
    submitted              queued, a worker will take it
    error.txt              failed
    stopped                stopped (resumable)
    started                interrupted: its process died (resumable)
    nothing of these       queued, created but not handed to a worker

A worker (`python -m core.queue.worker`) outlives page, browser and server; it drains the queue of its device
in order of submission and ends after some idle minutes. While it lives it holds `.worker-<device>.lock` in
the run root, and `.worker-<device>.json` names the run in its hands. If it dies, the next worker puts that
run at the end of the queue, so that a run that kills its worker does not hold up the others; after
`MOST_DEATHS` deaths at the same point it has failed. `.paused` in the run root lets no worker begin
another run.
"""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from core.errors import MaclError
from core.files import PROJECT, locked_by
from core.runs import DEVICE, Run, RunConfig, create

MOST_DEATHS = 3
START_SECONDS = 20.0  # in which a worker has come as far as its lock


def run_root() -> Path:
    """Where runs are kept: $MACL_RUN_ROOT, else checkpoints/ of this checkout."""
    return Path(os.environ.get("MACL_RUN_ROOT") or PROJECT / "checkpoints").resolve()


def submit(config: RunConfig, root: Path | None = None) -> Run:
    """Create the run folder, queue it, make sure that a worker is alive, and return at once."""
    run = create(config, (root or run_root()).resolve())
    run.mark("submitted")
    ensure_worker(config.device, run.path.parent)
    return run


def resume(run: Run) -> Run:
    """Queue a stopped, interrupted or failed run again; it goes on from its last checkpoint.

    Raises:
        MaclError: If the run is finished.
    """
    state = run.state
    if state == "finished":
        raise MaclError(f"{run.id} is finished; nothing is left to resume")
    run.unmark("stop")
    if state == "running":
        return run
    # first: a worker that takes the run and fails at once must not lose its error, and a run that is stopped
    # while it waits again is stopped, not failed
    run.unmark("error.txt", "stopped", "deaths")
    run.mark("submitted")
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

    Deaths that it got further between do not add up: a machine may be restarted as often as it likes.
    """
    rows = run.history()
    step = int(rows[-1]["step"]) if rows else 0
    before, reached = run.deaths
    deaths = before + 1 if step <= reached else 1
    run.mark("deaths", f"{deaths} {step}")
    if deaths >= MOST_DEATHS:
        run.mark(
            "error.txt",
            f"its process died {deaths} times (killed, or out of memory): lower the batch size or the image "
            "size, or free memory, then resume it",
        )
    else:
        run.mark("submitted")


def device_of(run: Run) -> str:
    """Device of a waiting run, read without validation: a broken configuration must fail, not block."""
    try:
        device = str(json.loads((run.path / "config.json").read_bytes()).get("device"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return "auto"
    return device if DEVICE.fullmatch(device) else "auto"  # one that no worker serves would wait for ever


def workers(root: Path) -> dict[str, dict[str, object]]:
    """Living workers by device name: process id, the queues they take, and whether they are ready."""
    found: dict[str, dict[str, object]] = {}
    for path in root.glob(".worker-*.lock"):
        pid = locked_by(path)
        if pid is None:
            continue
        device = path.name.removeprefix(".worker-").removesuffix(".lock")
        about: dict[str, object] = {"takes": [device], "ready": False}
        try:
            said = json.loads(path.with_suffix(".json").read_text())
            if said.get("pid") == pid:
                about |= said
        except (OSError, ValueError, AttributeError):
            pass  # it has just started and said nothing yet, or what it said is damaged
        found[device] = {**about, "pid": pid}
    return found


def starting(device: str, root: Path) -> Path:
    """Marks that a worker has been started; it takes the mark away with its lock in its hands."""
    return root / f".worker-{device}.starting"


def ensure_worker(device: str = "auto", root: Path | None = None) -> None:
    """Start a worker for the queue of `device` unless one is alive; returns without waiting for it."""
    root = (root or run_root()).resolve()
    for about in workers(root).values():
        takes = about["takes"]
        if isinstance(takes, list) and device in takes:
            return
    root.mkdir(parents=True, exist_ok=True)
    begun = starting(device, root)
    with contextlib.suppress(OSError):
        if 0 <= time.time() - begun.stat().st_mtime < START_SECONDS:
            return  # somebody has just started one
    begun.touch()
    log = root / ".worker.log"
    command = shlex.join(
        [sys.executable, "-m", "core.queue.worker", "--device", device, "--run-root", str(root)]
    )
    # The shell starts it in the background and ends: the worker belongs to init, so that no page or server
    # has a child to reap, and its own session keeps a Ctrl-C in the terminal from reaching it.
    subprocess.run(
        ["/bin/sh", "-c", f"{command} </dev/null >>{shlex.quote(str(log))} 2>&1 &"],
        cwd=PROJECT,
        start_new_session=True,
        check=True,
    )
