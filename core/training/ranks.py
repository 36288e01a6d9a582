"""The processes that train one run on several devices of this machine: started, watched, ended together.

Whoever starts them holds the lock of the run and decides what becomes of it; they only train. Each is a
`python -m core.training.rank` with two pipes: one on which it tells what it does and how it ended, and one
that closes when its starter dies, so that no process trains a run that nobody holds.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from core import device as devices
from core.errors import MaclError
from core.files import PROJECT, locked_by
from core.runs import Run
from core.training.log import Ended, Left, Log, Stopped, Taken

LOCK = "lock.rank"  # held by rank 0 while it may write into the run folder
LEAVE = (
    "leave"  # marks a run whose ranks are to save a checkpoint and end, because the machine is wanted back
)
LOOK_SECONDS = 0.2  # between two looks whether they are
THREADS = torch.get_num_threads()  # before a resumed run has set another number
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
GRACE = 5.0  # seconds for rank 0 to say itself what another rank has said, and for all to end by themselves
GONE = 30.0  # seconds within which the ranks of a starter that was killed are gone


@dataclass
class Rank:
    """One of the processes, seen from the one that started it.

    Attributes:
        number: Its rank, from 0.
        process: The process.
        pipe: Where it tells what it does, one line of JSON each time.
        verdict: How it ended in its own words; empty until then, and if it died.
        dead: Whether it has closed the pipe.
    """

    number: int
    process: subprocess.Popen[bytes]
    pipe: int
    verdict: dict[str, Any] = field(default_factory=dict)
    dead: bool = False
    rest: bytes = b""

    def hear(self) -> list[dict[str, Any]]:
        """What it has told since the last time; `dead` if it tells nothing more."""
        heard = os.read(self.pipe, 1 << 16)
        if not heard:
            self.dead = True
            return []
        *lines, self.rest = (self.rest + heard).split(b"\n")
        told = [json.loads(line) for line in lines]
        for line in told:
            if "state" in line:
                self.verdict = line
        return told

    def end(self) -> None:
        """End it, by itself where it has something to end; with SIGKILL otherwise."""
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(GRACE if self.verdict else 0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.pipe)


def train(run: Run, log: Log, count: int, auto: str) -> None:
    """Train a run by `count` processes of this machine; returns when it has finished.

    Args:
        run: The run; its lock is held by the caller.
        log: Its log, which is told everything that rank 0 does.
        count: Number of processes, each with a device of its own; on a CPU they share its cores.
        auto: The device for a run whose device is "auto".

    Raises:
        Stopped: If somebody has asked the run to stop.
        Left: If the machine is wanted back.
        Taken: If the run has been given to somebody else.
        MaclError: If this machine has too few devices.
        Ended: If a process failed, or died; it names its number.
    """
    device = devices.resolve(auto if run.config.device == "auto" else run.config.device)
    if device.type == "mps" or (device.type == "cuda" and (there := torch.cuda.device_count()) < count):
        found = "this machine has one" if device.type == "mps" else f"found {there}"
        raise MaclError(
            f"devices: need {count} devices of the kind {device.type}, {found}: take fewer, or cpu"
        )
    run.unmark(LEAVE)  # of a group whose starter was killed
    ranks: list[Rank] = []
    with TemporaryDirectory(prefix="macl-ranks-") as place:
        try:
            for number in range(count):
                ranks.append(_start(run, number, count, device.type, Path(place) / "meeting"))
                log.say(f"rank {number} of {count} is process {ranks[-1].process.pid}")
            verdict = _watch(ranks, log)
        finally:
            for rank in ranks:
                rank.end()
    run.unmark(LEAVE)
    if verdict["state"] in (ends := {"stopped": Stopped, "left": Left}):
        raise ends[verdict["state"]]
    if verdict["state"] == "failed":
        raise Ended(verdict["message"], verdict["details"], diverged=verdict.get("diverged", False))


def wait_for_last(run: Run) -> None:
    """Wait until no process of an earlier group writes into the folder: their starter was killed just now.

    Raises:
        MaclError: If one goes on.
    """
    until = time.monotonic() + GONE
    while (pid := locked_by(run.path / LOCK)) is not None:
        if time.monotonic() > until:
            raise MaclError(f"process {pid} still trains {run.id}, though its starter has died: end it")
        time.sleep(0.02)


def _start(run: Run, number: int, count: int, device: str, meeting: Path) -> Rank:
    read, write = os.pipe()
    threads = max(1, THREADS // count)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    # beside each other they need no network; the name of this machine may lead out into it
    environment.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK)
    words = [str(run.path.resolve()), device, str(number), str(count), str(meeting), str(write)]
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "core.training.rank", *words],
            cwd=PROJECT, env=environment, pass_fds=(write,), start_new_session=True,
            stdin=subprocess.PIPE, stdout=None if number == 0 else subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        os.close(read)
        raise MaclError(f"no process can be started ({error}): end others, then try again") from error
    finally:
        os.close(write)
    return Rank(number, process, read)


def _watch(ranks: list[Rank], log: Log) -> dict[str, Any]:
    """How the run has ended: what rank 0 says, unless another has failed or died before."""
    decided = 0.0
    with selectors.DefaultSelector() as selector:
        for rank in ranks:
            selector.register(rank.pipe, selectors.EVENT_READ, rank)
        while True:
            _pass_on(log)
            for key, _ in selector.select(LOOK_SECONDS):
                rank = key.data
                for line in rank.hear():
                    if rank.number == 0 and "done" in line and log.progress is not None:
                        with suppress(OSError):  # a closed terminal is no reason for training to end
                            log.progress(line["done"], line["total"], line["what"])
                if rank.dead:
                    selector.unregister(rank.pipe)
            if ranks[0].verdict and not ranks[0].verdict.get("lost"):
                return ranks[0].verdict
            blame = _blame(ranks)
            if blame and not decided:
                decided = time.monotonic()
            if all(rank.dead for rank in ranks):
                return blame or ranks[0].verdict
            if blame and (blame["died"] or time.monotonic() - decided > GRACE):
                return blame


def _pass_on(log: Log) -> None:
    """Tell the ranks that the machine is wanted back; they see themselves that a person wants a stop."""
    end, marker = log.end_wanted(), log.run.path / LEAVE
    if end is Taken:  # at once: their files belong to somebody else
        raise Taken
    if end is Left and not marker.exists():
        marker.touch()


def _blame(ranks: list[Rank]) -> dict[str, Any]:
    """What is said of the first rank that has failed or died by itself; empty if none has."""
    for rank in ranks:
        verdict, name = rank.verdict, f"rank {rank.number} of {len(ranks)}"
        if rank.dead and not verdict:
            message = (
                f"{name} {_how(rank.process.wait())}: resume the run, and it goes on from its last checkpoint"
            )
            return {"state": "failed", "message": message, "details": message, "died": True}
        if verdict.get("state") == "failed" and not verdict.get("lost"):
            said = (
                verdict["message"]
                if verdict.get("diverged") or rank.number == 0
                else f"{name}: {verdict['message']}"
            )
            return verdict | {"message": said, "details": f"{name}: {verdict['details']}", "died": False}
    return {}


def _how(code: int) -> str:
    """How a process has ended, by its exit code."""
    if code >= 0:
        return f"has ended with exit code {code}"
    memory = " (out of memory?)" if code == -signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{memory}"
