"""Where a run is: `where.json` in its folder says who has it, and, while it is trained, that it lives.

A record lock is no truth across machines: on some shared file systems another machine does not see it, on
some it cannot be taken at all. So whoever has a run writes a lease: the launcher, the engine's job, the host,
and a heartbeat every few seconds. A run handed to a cluster belongs to one hand-over, its claim: a job with
another claim, left over from an earlier one, does not train it. Nothing here imports torch.
"""

import json
import os
import secrets
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

from core.errors import MaclError
from core.files import NoLocks, lock, unlock, write_atomic

NAME = "where.json"
LOCAL = "local"  # the launcher of this machine's workers and of `macl train`
# An engine sends one of them when a limit is near, or the machine is wanted back.
WARNINGS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
MISSED = 6  # heartbeats that may be missing before a run counts as lost
BEAT_SECONDS = 10.0

# What a launcher sets in the environment of a job; `here` reads them.
LAUNCHER, CLAIM, JOB, HOST = "MACL_LAUNCHER", "MACL_CLAIM", "MACL_JOB", "MACL_HOST"


@dataclass(frozen=True)
class Lease:
    """Who has a run.

    Attributes:
        launcher: Key of `core.queue.launcher.LAUNCHERS`.
        claim: Name of the hand-over; only a process with the same one may train the run.
        index: Place of its job among those of the hand-over.
        alone: Whether that job trains no other run.
        job: The engine's own name of the job, for people; empty if it is not known yet.
        host: Where it is trained; empty while it waits.
        holder: A word of the process that trains it, and of no other.
        state: Whether it waits for a machine, is trained, or belongs to nobody any more.
        at: Time of the hand-over or of the last heartbeat, seconds since 1970.
        every: Seconds between two heartbeats.
        reason: Why it ended, in the engine's words; empty if it ended by itself.
        died: Whether it ended because its process failed, and not because a machine was lost or taken away.
    """

    launcher: str = LOCAL
    claim: str = ""
    index: int = 0
    alone: bool = True
    job: str = ""
    host: str = ""
    holder: str = ""
    state: Literal["waiting", "running", "ended"] = "ended"
    at: float = 0.0
    every: float = BEAT_SECONDS
    reason: str = ""
    died: bool = False

    @property
    def elsewhere(self) -> bool:
        """Whether a cluster has the run, waiting or trained."""
        return self.launcher != LOCAL and self.state != "ended"

    @property
    def lives(self) -> bool:
        """Whether its heartbeat is fresh; on this machine the lock of a local run says more."""
        if self.state != "running" or (self.launcher == LOCAL and self.host == host()):
            return False
        return time.time() - self.at < MISSED * self.every  # a clock that is ahead of this one is no harm


def host() -> str:
    """Name of this machine; a cluster may call it otherwise than it calls itself."""
    return os.environ.get(HOST) or socket.gethostname()


def here() -> Lease:
    """The lease of a run that this process trains, as the job of a launcher or for this machine."""
    launcher = os.environ.get(LAUNCHER, LOCAL)
    claim = os.environ.get(CLAIM) or secrets.token_hex(4)
    every = float(os.environ.get("MACL_BEAT_SECONDS", BEAT_SECONDS))
    holder, job = secrets.token_hex(4), os.environ.get(JOB, "")
    return Lease(launcher, claim, 0, True, job, host(), holder, "running", time.time(), every)


def read(folder: Path) -> Lease:
    """The lease of a run; one that has ended if there is none or it is damaged."""
    try:
        content = json.loads((folder / NAME).read_bytes())
        lease, usual = Lease(**content), Lease()
        lease = replace(lease, at=float(lease.at), every=float(lease.every))
        sound = all(type(value) is type(getattr(usual, name)) for name, value in asdict(lease).items())
    except (OSError, ValueError, TypeError, RecursionError):
        return Lease()
    return lease if sound else Lease()


def write(folder: Path, lease: Lease) -> None:
    """Say who has a run."""
    write_atomic(folder / NAME, json.dumps(asdict(lease)), flush=False)


def end(folder: Path, reason: str = "", *, died: bool = False) -> None:
    """Let a run belong to nobody; what is known of its last job stays."""
    if (lease := read(folder)).state != "ended":
        write(folder, replace(lease, state="ended", reason=reason, died=died))


class Hold:
    """A run in the hands of this process: its lock, its lease, and a thread that keeps the lease fresh.

    Attributes:
        lost: Whether somebody else has been given the run meanwhile; this process has to let go of it.

    Raises:
        MaclError: If another process trains it, or a cluster has it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.lease, self.lost = folder, here(), False
        self._over = threading.Event()
        taken = f"{folder.name} is being trained by another process: wait for it, or stop it first"
        try:
            if not lock(folder / "lock"):
                raise MaclError(taken)
        except NoLocks:
            if self.lease.launcher == LOCAL:  # a job has its claim instead
                raise
        before = read(folder)
        if before.lives or (before.elsewhere and before.claim != self.lease.claim):
            unlock(folder / "lock")
            raise MaclError(f"{folder.name} {words(before)}: wait for it, or stop it first")
        if before.claim == self.lease.claim:
            self.lease = replace(self.lease, index=before.index, alone=before.alone)

    def __enter__(self) -> "Hold":
        with suppress(OSError):  # a full disk: the run will fail and say so
            write(self.folder, self.lease)
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self, *, waits: bool = False) -> None:
        """Give the run back; one that `waits` stays with its cluster, which begins it again."""
        if self._over.is_set():
            return
        self._over.set()
        self._thread.join()
        with suppress(OSError):  # a full disk, or a folder that has gone
            if self._mine():
                if self.lease.launcher == LOCAL:
                    (self.folder / NAME).unlink()
                else:
                    now: Literal["waiting", "ended"] = "waiting" if waits else "ended"
                    write(self.folder, replace(self.lease, state=now, at=time.time()))
        unlock(self.folder / "lock")

    def _mine(self) -> bool:
        lease = read(self.folder)
        return (lease.holder, lease.state) == (self.lease.holder, "running")

    def _beat(self) -> None:
        while not self._over.wait(self.lease.every):
            with suppress(OSError):
                if not self.folder.is_dir() or not self._mine():
                    self.lost = (self.folder / NAME).exists()  # missing: a disk that hangs, or a deleted run
                    continue
                write(self.folder, replace(self.lease, at=time.time()))


def words(lease: Lease) -> str:
    """What a lease says, for a sentence about the run."""
    job = f"job {lease.job}" if lease.job and lease.launcher != LOCAL else ""
    if lease.state == "running":
        return f"is trained on {lease.host}" + (f" ({job} of {lease.launcher})" if job else "")
    return f"waits in the queue of {lease.launcher}" + (f" ({job})" if job else "")
