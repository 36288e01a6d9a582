"""The detached worker, `python -m core.queue.worker`: imports torch once, trains queued runs in order."""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType

from core.errors import MaclError
from core.files import lock, unlock, write_atomic
from core.queue import launch
from core.queue.launch import device_of, queue
from core.runs import Run

IDLE_SECONDS = 600.0  # longer than a person looks at a result before the next start
POLL_SECONDS = 0.1
TAKE_UP_SECONDS = 2.0  # between two looks for what dead workers have left
PUT_OFF_SECONDS = 5.0  # a run that somebody else trains, or whose folder cannot be written
AHEAD_SECONDS = 2.0  # of idleness, after which something may be computed that nobody has asked for yet
EAGER_SECONDS, EAGER_POLL = 30.0, 0.02  # so long after a run somebody waits for the next


def main() -> None:
    """Serve the queue of one device until idle, SIGTERM or SIGHUP (the current run then stops resumably)."""
    parser = argparse.ArgumentParser(prog="python -m core.queue.worker", description=main.__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--run-root", type=Path, required=True)
    parser.add_argument(
        "--idle", type=float, default=IDLE_SECONDS, help="seconds without work before it ends"
    )
    arguments = parser.parse_args()
    Worker(arguments.run_root.resolve(), arguments.device, arguments.idle).serve()


class Worker:
    """One process for one device; it holds the locks of the name it was asked for and of the device."""

    def __init__(self, root: Path, asked: str, idle: float) -> None:
        self.root = root
        self.asked = asked
        self.idle = idle
        self.current: Run | None = None
        self.ending = False
        self.names = [asked]
        self.takes = [asked]
        self.others: list[str] = []  # devices of this kind, which other workers serve
        self.looked = time.monotonic()  # for what dead workers have left
        self.put_off: dict[str, float] = {}  # runs that cannot be begun, and until when nobody tries again

    def serve(self) -> None:
        """Take the locks, warm up, train what is queued, give the locks back."""
        mine = lock(self._lock(self.asked))
        launch.starting(self.asked, self.root).unlink(missing_ok=True)
        if not mine:
            return  # somebody else serves this queue
        signal.signal(signal.SIGTERM, self._terminate)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._terminate)
        self._take_up(self._lock(self.asked))
        self._say(ready=False)
        from core import device
        from core.training import loop

        try:
            found, auto = device.resolve(self.asked), device.resolve("auto")
            own, self.names, self.takes, self.others = roles(
                self.asked, str(found), device.alike(found), auto.type == found.type
            )
        except MaclError:
            own = self.asked  # it is not there: its runs are taken all the same, fail, and say so
        if not all(lock(self._lock(name)) for name in self.names if name != self.asked):
            for name in self.names:
                unlock(self._lock(name))  # the worker of that device takes this queue too
            return
        self._say(ready=False)
        loop.warm_up()
        if self._next() is None:  # a run that waits already may do without
            loop.warm_up_backbones()
        self._say(ready=True)
        self._drain(lambda folder: loop.run(folder, submitted_only=True, auto=own))
        for name in self.names:
            unlock(self._lock(name))
        # somebody may have submitted between the last look and the release, and have seen this worker alive
        if not self.ending and self._next() is not None:
            Worker(self.root, self.asked, self.idle).serve()

    def _drain(self, train_run: Callable[[Path], object]) -> None:
        from core.training.ahead import ahead

        begun = last = time.monotonic()
        while not self.ending and time.monotonic() - last < self.idle:
            self.current = self._waiting()
            if self.current is None:
                if begun == last and time.monotonic() - last > AHEAD_SECONDS:  # nothing has been trained yet
                    ahead(partial(self._wanted, last + self.idle))
                    begun = 0.0
                eager = time.monotonic() - last < EAGER_SECONDS
                time.sleep(EAGER_POLL if eager else POLL_SECONDS)
                continue
            self._say(ready=True)  # which run is in these hands, should they die
            self._ask_others()
            try:
                train_run(self.current.path)
            except Exception as error:  # somebody else trains it, its folder has gone, or whatever it is
                print(f"{self.current.id}: {error}", file=sys.stderr, flush=True)
                self.put_off[self.current.id] = time.monotonic() + PUT_OFF_SECONDS
            last = time.monotonic()
        self.current = None
        self._say(ready=True)

    def _waiting(self) -> Run | None:
        """The next run; what a worker of another device has dropped is among them."""
        if time.monotonic() - self.looked > TAKE_UP_SECONDS:
            self._take_up()
            self.looked = time.monotonic()
        return self._next()

    def _wanted(self, end: float) -> bool:
        """Whether there is something to do, or the time for doing nothing is over."""
        return self.ending or time.monotonic() > end or self._waiting() is not None

    def _take_up(self, taken_over: Path | None = None) -> None:
        for run in launch.dropped(self.root, taken_over):
            with suppress(OSError):  # its folder cannot be written: it stays interrupted, the others go on
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
        """A worker on each of the other devices of this kind while runs wait that may go to any of them."""
        if self.others and sum(device_of(run) == "auto" for run in queue(self.root)) > 1:
            for device in self.others:
                launch.ensure_worker(device, self.root)

    def _lock(self, name: str) -> Path:
        return self.root / f".worker-{name}.lock"

    def _say(self, *, ready: bool) -> None:
        run = self.current.id if self.current else None
        about = json.dumps({"pid": os.getpid(), "takes": self.takes, "ready": ready, "run": run})
        for name in self.names:
            with suppress(OSError):  # a full disk: the runs that cannot be trained say so themselves
                write_atomic(self._lock(name).with_suffix(".json"), about)

    def _terminate(self, _signal: int, _frame: FrameType | None) -> None:
        self.ending = True
        if self.current is not None:
            with suppress(OSError):
                (self.current.path / "stop").touch()


def roles(
    asked: str, found: str, every: list[str], automatic: bool
) -> tuple[str, list[str], list[str], list[str]]:
    """What a worker serves.

    Args:
        asked: The name that it was started for.
        found: The device behind that name.
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


if __name__ == "__main__":
    main()
