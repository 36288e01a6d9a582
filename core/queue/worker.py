"""The detached worker: imports torch once, trains queued runs in order; `core.queue.launch` starts it."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from core.background.process import Running
from core.errors import MaclError
from core.queue import launch
from core.queue.launch import device_of, queue
from core.runs import Run

IDLE_SECONDS = 600.0  # longer than a person studies a result before starting the next run
POLL_SECONDS = 0.1
TAKE_UP_SECONDS = 2.0  # between two searches for runs of dead workers
PUT_OFF_SECONDS = 5.0  # before a run that another process trains, or cannot be written, is tried again
AHEAD_SECONDS = 2.0  # of idleness, after which work is done ahead of time
EAGER_SECONDS, EAGER_POLL = 30.0, 0.02  # for this long after a run the next one is probably awaited


def main(running: Running, device: str) -> None:
    """Serve the queue of one device until idle or asked to end (the current run can then be resumed)."""
    Worker(running.process.path.parent, device, IDLE_SECONDS, running).serve()


class Worker:
    """One process for one device, known by the name it was asked for and by that of the device."""

    def __init__(self, root: Path, asked: str, idle: float, running: Running | None = None) -> None:
        self.root = root
        self.asked = asked
        self.idle = idle
        self.running = running or Running(launch.worker(asked, root).path)
        self.running.at_end = self._stop_run
        self.current: Run | None = None
        self.takes = [asked]
        self.others: list[str] = []  # devices of the same kind, served by other workers
        self.looked = time.monotonic()  # for runs of dead workers
        self.put_off: dict[str, float] = {}  # runs that could not begin, and when to try them again

    def serve(self) -> None:
        """Warm up, train the queued runs, give the locks back."""
        self._take_up(self.running.process.file("lock"))
        self._say(ready=False)
        launch.tidy(self.root)
        from core import device
        from core.training import loop

        names = [self.asked]
        try:
            resolved, auto = device.resolve(self.asked), device.resolve("auto")
            own, names, self.takes, self.others = roles(
                self.asked, str(resolved), device.alike(resolved), auto.type == resolved.type
            )
        except MaclError:
            own = self.asked  # no such device: its runs are taken all the same, to fail and say so
        if not self.running.also([launch.worker(name, self.root).path for name in names]):
            return  # the worker of that device takes this queue too
        self._say(ready=False)
        loop.warm_up()
        if self._next() is None:  # a run that is waiting may not need them
            loop.warm_up_backbones()
        self.running.progressed()
        self._say(ready=True)
        self._drain(lambda folder: loop.run(folder, submitted_only=True, auto=own))
        self.running.release()
        # a run may have been submitted between the last look and the release, when this worker seemed alive
        if not self.running.ending and self._next() is not None and self.running.begin():
            self.serve()

    def _drain(self, train_run: Callable[[Path], object]) -> None:
        from core.training.ahead import ahead

        ended, fresh = time.monotonic(), True  # nothing has been trained yet

        def turn() -> bool:
            nonlocal ended, fresh
            self.current = self._waiting()
            if self.current is None:
                idle = time.monotonic() - ended
                if fresh and idle > AHEAD_SECONDS:
                    fresh = False
                    ahead(partial(self._wanted, ended + self.idle))
                elif idle > EAGER_SECONDS:
                    time.sleep(POLL_SECONDS)
                return False
            fresh = False
            self._say(ready=True)  # names the current run, in case this process dies
            self._ask_others()
            try:
                train_run(self.current.path)
            except Exception as error:  # another process trains it, its folder has gone, or anything else
                print(f"{self.current.id}: {error}", file=sys.stderr, flush=True)
                self.put_off[self.current.id] = time.monotonic() + PUT_OFF_SECONDS
            ended = time.monotonic()
            return True

        self.running.serve(turn, self.idle, EAGER_POLL)
        self.current = None
        self._say(ready=True)

    def _waiting(self) -> Run | None:
        """The next run, including those of dead workers of other devices."""
        if time.monotonic() - self.looked > TAKE_UP_SECONDS:
            self._take_up()
            self.looked = time.monotonic()
        return self._next()

    def _wanted(self, end: float) -> bool:
        """Whether there is something to do, or the idle time is over."""
        return self.running.ending or time.monotonic() > end or self._waiting() is not None

    def _take_up(self, taken_over: Path | None = None) -> None:
        for run in launch.dropped(self.root, taken_over):
            with suppress(OSError):  # if its folder cannot be written it stays interrupted
                launch.take_up(run)

    def _next(self) -> Run | None:
        if launch.paused(self.root):
            return None
        now = time.monotonic()
        for run in queue(self.root):
            if device_of(run) in self.takes and self.put_off.get(run.id, 0) <= now:
                return run
        return None

    def _ask_others(self) -> None:
        """Start workers on the other devices of this kind if several waiting runs may go to any of them."""
        if self.others and sum(device_of(run) == "auto" for run in queue(self.root)) > 1:
            for device in self.others:
                with suppress(MaclError):
                    launch.ensure_worker(device, self.root)

    def _say(self, *, ready: bool) -> None:
        self.running.say(takes=self.takes, ready=ready, run=self.current.id if self.current else None)

    def _stop_run(self) -> None:
        if self.current is not None:
            with suppress(OSError):
                (self.current.path / "stop").touch()


def roles(
    asked: str, found: str, every: list[str], automatic: bool
) -> tuple[str, list[str], list[str], list[str]]:
    """The device, locks and queues of a worker.

    Args:
        asked: The name that it was started for.
        found: The device that name stands for.
        every: All devices of this kind, by number.
        automatic: Whether runs for "auto" may go to this kind.

    Returns:
        Its device; the names whose locks it holds; the names whose runs it takes (runs for "auto" go to any
        device of the kind, those for a kind without a number to the first); the other devices.
    """
    own = found if found in every else every[0]
    names = {asked, own} | ({own.partition(":")[0]} if own == every[0] else set())
    takes = names | ({"auto"} if automatic else set())
    return own, sorted(names), sorted(takes), [name for name in every if name != own]
