"""Who trains queued runs: the workers of this machine, or the queue of a cluster.

A launcher is one class with the methods of `Launcher` and one line in `LAUNCHERS`; what those of clusters
have in common is in `core.queue.hand_over`. The run folder stays the only truth: `where.json` in it names the
launcher that has the run (`core.runs.where`), and stop and resume go to that one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol

from core.errors import MaclError
from core.queue import settings
from core.runs import Run
from core.runs.where import LOCAL, Lease

# Module and class of each; loaded when somebody asks for it, as an engine may take seconds to import.
LAUNCHERS = {
    LOCAL: "local.Local",
    "slurm": "slurm.Slurm",
    "ray": "ray.Ray",
}


@dataclass(frozen=True)
class Standing:
    """Where a run stands with the engine that has it.

    Attributes:
        state: Whether it waits or is trained; gone if the engine has no job for it any more; unknown if the
            engine does not answer, so that the run may be anywhere.
        before: Jobs that come before it; None if that is not known.
        reason: Why it waits or why it has gone, in the engine's words; may be empty.
        host: Where it is trained; may be empty.
        died: For a run that has gone: whether its own process failed. The loss of a node, pre-emption, a time
            limit and a cancelled job do not count.
    """

    state: Literal["waiting", "running", "gone", "unknown"]
    before: int | None = None
    reason: str = ""
    host: str = ""
    died: bool = False


@dataclass(frozen=True)
class Finding:
    """One thing that works, or does not, as a sentence."""

    works: bool
    says: str


class Launcher(Protocol):
    """What every launcher can do; made without arguments."""

    def submit(self, runs: Sequence[Run], pack: int = 1) -> None:
        """Hand over runs of one run root, whatever their state; returns at once.

        Args:
            runs: Runs that nobody has.
            pack: How many of them a job trains, one after another in one process.

        Raises:
            MaclError: If the engine takes none of them.
        """

    def look(self, runs: Sequence[Run]) -> Mapping[str, Standing]:
        """Where runs of this launcher stand, by their ids: one question to the engine for all of them."""

    def stop(self, run: Run) -> None:
        """Ask a run to stop: a running one saves a checkpoint first, a waiting one stops at once."""

    def check(self, root: Path) -> Iterator[Finding]:
        """What works and what does not, from the first to the last thing that a run needs."""


def launcher(name: str) -> Launcher:
    """The launcher of this name.

    Raises:
        MaclError: If there is none, or it is not set up.
    """
    if name not in LAUNCHERS:
        raise MaclError(f"--launcher: need one of {', '.join(LAUNCHERS)}, got {name!r}")
    if name not in set_up():
        raise MaclError(
            f"{name} is not set up: put a table [{name}] into {settings.place()}, see the README on clusters"
        )
    module, _, member = LAUNCHERS[name].partition(".")
    made: Launcher = getattr(import_module(f"core.queue.{module}"), member)()
    return made


def set_up() -> list[str]:
    """Launchers that can be chosen here; MaclError if their settings cannot be read."""
    given = settings.read()
    return [name for name in LAUNCHERS if name == LOCAL or getattr(given, name) is not None]


def elsewhere(run: Run) -> Launcher | None:
    """The launcher of the cluster that has a run; None for one that is here, or that nobody has."""
    lease = run.where
    return launcher(lease.launcher) if lease.elsewhere else None


def waits(standing: Standing, lease: Lease) -> str:
    """Where a run that waits stands in the queue of a cluster, in words."""
    job = f"job {lease.job}" if lease.job else ""
    place = "" if standing.before is None else f"{standing.before} before it" if standing.before else "next"
    parts = [lease.launcher, job, place, standing.reason]
    return ", ".join(part for part in parts if part)


def last(run: Run) -> str:
    """Name of the launcher that has a run, or had it last."""
    lease: Lease = run.where
    return lease.launcher if lease.launcher in LAUNCHERS else LOCAL
