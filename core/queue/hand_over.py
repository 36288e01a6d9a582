"""What the launchers of clusters have in common: handing runs over, stopping them, and seeing what was lost.

A hand-over has a name of its own, its claim, which is in the lease of each of its runs before the engine is
asked and is the name of its jobs. So nothing is lost or trained twice if the process that hands over is
killed half-way: runs whose claim the engine does not know are given back, and a job whose claim is not that
of the run (any more) leaves it alone.
"""

import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from core import tracking
from core.errors import MaclError
from core.queue.launcher import Standing, launcher
from core.runs import Run, where
from core.runs.where import Lease

GRACE_SECONDS = 60.0  # in which a hand-over may still be on its way to the engine
MARKERS = ("stopped", "error.txt")  # of what came of a run before

Hand = Callable[[str, list[list[Path]]], list[str]]


def submit(name: str, runs: Sequence[Run], pack: int, hand: Hand) -> None:
    """Hand runs over.

    Args:
        name: Key of the launcher.
        runs: The runs, of which nobody has one.
        pack: How many a job trains.
        hand: Gets the claim and the folders that each job trains, in order; returns the engine's names of the
            jobs in the same order.

    Raises:
        MaclError: If a run is in somebody's hands, or the engine refuses; the runs are as they were then.
    """
    for run in runs:
        refuse_alive(run)
    parts = [list(runs[start : start + pack]) for start in range(0, len(runs), pack)]
    claim, before = f"macl-{secrets.token_hex(4)}", {run.id: _markers(run) for run in runs}
    for index, part in enumerate(parts):
        for run in part:
            alone = len(part) == 1
            where.write(run.path, Lease(name, claim, index, alone, state="waiting", at=time.time()))
            run.unmark("submitted", "stop", *MARKERS)
    try:
        jobs = hand(claim, [[run.path for run in part] for part in parts])
    except BaseException:
        for run in runs:
            where.end(run.path)
            for marker, text in before[run.id].items():
                run.mark(marker, text)
        raise
    tracking.ensure(runs[0].path.parent)
    for part, job in zip(parts, jobs, strict=True):
        for run in part:
            lease = run.where
            if lease.claim == claim and not lease.host:  # it may be trained already, and says so itself
                where.write(run.path, replace(lease, job=job))


def most_devices(parts: Sequence[Sequence[Path]]) -> int:
    """The most devices that a run of a hand-over is trained on; its jobs ask for as many."""
    return max(Run(folder).config.devices for part in parts for folder in part)


def _markers(run: Run) -> dict[str, str]:
    return {name: path.read_text() for name in MARKERS if (path := run.path / name).exists()}


def stop(run: Run, cancel: Callable[[Lease], None]) -> None:
    """Stop a run that a cluster has: by the marker while it is trained, else by taking it back.

    Args:
        run: The run.
        cancel: Takes the job of a lease out of the engine's queue; not called for a job with several runs.
    """
    lease, waits = run.where, run.state != "running"
    run.mark("stop")  # in any case: a job that takes it at this very moment sees it at the first step
    if waits:
        run.mark("stopped")
        where.end(run.path)
        if lease.alone:
            cancel(lease)


def settle(runs: Iterable[Run], grace: float = GRACE_SECONDS) -> dict[str, Standing]:
    """Ask the clusters that have any of these runs, and give back those that they do not know any more.

    Args:
        runs: Any runs; those that no cluster has are left out.
        grace: Seconds for which a run that waits stays with an engine that does not know it (yet).

    Returns:
        Where each run stands that a cluster has, or had until now, by its id.
    """
    by_launcher: dict[str, list[tuple[Run, Lease]]] = defaultdict(list)
    for run in runs:
        if (lease := run.where).elsewhere:
            by_launcher[lease.launcher].append((run, lease))
    standings: dict[str, Standing] = {}
    for name, held in by_launcher.items():
        try:
            standings |= launcher(name).look([run for run, _ in held])
        except MaclError as error:  # not set up any more: nobody can say where they are
            standings |= {run.id: Standing("unknown", reason=str(error)) for run, _ in held}
        for run, lease in held:
            standing = standings[run.id]
            young = lease.state == "waiting" and time.time() - lease.at < grace
            if (
                standing.state == "gone"
                and not young
                and not run.where.lives
                and run.where.claim == lease.claim
            ):
                with suppress(OSError):
                    where.end(run.path, standing.reason, died=standing.died)
    return standings


def refuse_alive(run: Run) -> None:
    """MaclError if somebody has a run: its heartbeat is fresh, or an engine has a job for it or is silent."""
    if run.where.lives or run.state == "running":
        raise MaclError(f"{run.id} {where.words(run.where)}: stop it first, or wait for its end")
    standing = settle([run], grace=0).get(run.id)
    lease = run.where
    if standing is None or not lease.elsewhere:
        return
    if standing.state == "unknown":
        raise MaclError(
            f"{run.id} was handed to {lease.launcher}, which does not say whether it still has it "
            f"({standing.reason}): try again when it answers"
        )
    raise MaclError(f"{run.id} {where.words(lease)}: stop it first, or wait for its end")
