"""What a Ray task does on its node: it trains the runs of one part, in the process that Ray gives it."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from core.errors import MaclError
from core.queue import launch, version
from core.queue.job import Job
from core.queue.ray_parts import NAME
from core.runs import Run, where
from core.runs.where import WARNINGS

POLL_SECONDS = 0.2
CERTAIN_SECONDS = 60.0  # without a heartbeat, after which a node that Ray takes for alive does live


def train(claim: str, name: str, folders: list[str], commit: str, cores: int, gpus: float) -> None:
    """Train the runs that are still this claim's, until the machine is wanted back.

    Without GPUs asked for, Ray leaves all of the node's in sight: the device is then the CPU.
    """
    import ray

    node = ray.get_runtime_context().get_node_id()
    host = f"{ray.util.get_node_ip_address()}-{node[:8]}"
    usual = {number: signal.getsignal(number) for number in (*WARNINGS, signal.SIGINT)}
    job = Job(NAME, claim, [], commit, auto="auto" if gpus else "cpu")

    def leave(number: int, _frame: FrameType | None) -> None:
        job.leaving = number

    signal.signal(signal.SIGINT, leave)  # how Ray cancels a task that has just begun
    try:
        for folder in folders:
            if _is_free(Run(Path(folder)), claim, lambda: bool(job.leaving)):
                job.folders[:] = [folder]
                job.train(name, host, cores)
    finally:
        for number, handler in usual.items():  # this process trains other tasks
            signal.signal(number, handler)


def _is_free(run: Run, claim: str, leaving: Callable[[], bool]) -> bool:
    """Whether a run can be taken; waits while the process that had it may still live.

    Ray begins a task again after the loss of its node, and after the death of its process. A lost node may
    go on for a while, unseen, and nobody takes a run whose heartbeat is fresh. Only deaths on a node that
    lives count as deaths of the run.
    """
    while (lease := run.where).claim == claim and lease.lives:
        if leaving():
            return False
        time.sleep(POLL_SECONDS)
    if lease.claim != claim or lease.state != "running":
        return True
    while _node_lives(lease.host):
        if time.time() - lease.at > CERTAIN_SECONDS:
            break
        if leaving():
            return False
        time.sleep(POLL_SECONDS)
    else:
        return True
    if launch.died(run):
        where.end(run.path)
        return False
    return True


def _node_lives(host: str) -> bool:
    import ray

    node = host.rpartition("-")[2]
    return any(one["Alive"] and one["NodeID"].startswith(node) for one in ray.nodes())


def look_around(folder: str) -> dict[str, str]:
    """What `macl launcher check ray` wants to know of a node."""
    import os
    import platform

    from core.files import NoLocks, lock, unlock

    path = Path(folder)
    try:
        locks = "free" if lock(path / "lock") else "held"
        unlock(path / "lock")
    except NoLocks:
        locks = "none"
    except (OSError, MaclError):
        locks = ""
    return {
        "host": platform.node(),
        "commit": version.commit(),
        "shared": "yes" if (path / "lock").exists() and locks else "",
        "locks": locks,
        "mode": os.environ.get("RAY_AUTH_MODE", ""),
    }
