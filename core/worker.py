"""The detached worker: imports torch once, then trains queued runs in order (`python -m core.worker`)."""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from core.errors import MaclError
from core.files import lock, unlock, write_atomic
from core.launch import device_of, queue
from core.runs import Run

IDLE_SECONDS = 600.0  # longer than a person looks at a result before the next start
POLL_SECONDS = 0.1


def main() -> None:
    """Serve the queue of one device until idle, or until SIGTERM (the current run then stops resumably)."""
    parser = argparse.ArgumentParser(prog="python -m core.worker", description=main.__doc__)
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

    def serve(self) -> None:
        """Take the locks, warm up, train what is queued, give the locks back."""
        if not lock(self._lock(self.asked)):
            return  # somebody else serves this queue
        signal.signal(signal.SIGTERM, self._terminate)
        self._say([self.asked], [self.asked], ready=False)
        from core import device, train  # torch comes in here: after the lock, so that no second one loads it

        try:
            found = str(device.resolve(self.asked))
        except MaclError:
            found = self.asked  # it is not there: its runs are taken all the same, fail, and say so
        takes = sorted({self.asked, found} | ({"auto"} if found == str(device.resolve("auto")) else set()))
        names = sorted({self.asked, found})
        if found != self.asked and not lock(self._lock(found)):
            unlock(self._lock(self.asked))  # the worker of that device takes this queue too
            return
        self._say(names, takes, ready=False)
        train.warm_up()
        if self._next(takes) is None:  # a run that waits already may do without
            train.warm_up_backbones()
        self._say(names, takes, ready=True)
        self._drain(takes, lambda folder: train.run(folder, submitted_only=True))
        for name in names:
            unlock(self._lock(name))
        # somebody may have submitted between the last look and the release, and have seen this worker alive
        if not self.ending and self._next(takes) is not None:
            Worker(self.root, self.asked, self.idle).serve()

    def _drain(self, takes: list[str], train_run: Callable[[Path], object]) -> None:
        last = time.monotonic()
        while not self.ending and time.monotonic() - last < self.idle:
            self.current = self._next(takes)
            if self.current is None:
                time.sleep(POLL_SECONDS)
                continue
            try:
                train_run(self.current.path)
            except (MaclError, OSError) as error:  # somebody else trains it, or its folder has gone
                print(f"{self.current.id}: {error}", file=sys.stderr, flush=True)
                time.sleep(1)
            last = time.monotonic()

    def _next(self, takes: list[str]) -> Run | None:
        return next((run for run in queue(self.root) if device_of(run) in takes), None)

    def _lock(self, name: str) -> Path:
        return self.root / f".worker-{name}.lock"

    def _say(self, names: list[str], takes: list[str], *, ready: bool) -> None:
        about = json.dumps({"pid": os.getpid(), "takes": takes, "ready": ready})
        for name in names:
            write_atomic(self._lock(name).with_suffix(".json"), about)

    def _terminate(self, _signal: int, _frame: FrameType | None) -> None:
        self.ending = True
        if self.current is not None:
            with suppress(OSError):
                (self.current.path / "stop").touch()


if __name__ == "__main__":
    main()
