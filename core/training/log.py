"""What a run reports while it trains: log lines with times, its progress, and why it failed."""

import errno
import json
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

import torch

from core.errors import MaclError
from core.runs import Run

Progress = Callable[[int, int, str], None]


class Stopped(Exception):
    """Somebody asked the run to stop; it can be resumed."""


class Diverged(MaclError):
    """A loss, a gradient or an embedding is not finite."""


class Log:
    """The log of a run: lines with times, and progress through whatever takes long."""

    def __init__(self, run: Run, progress: Progress | None) -> None:
        self.run = run
        self.progress = progress
        self.what = ""
        self.began = self.written = 0.0
        self.first = 0  # `done` when this phase began: a resumed run begins in the middle

    def say(self, text: str) -> None:
        """Append one line with the time to log.txt."""
        with (self.run.path / "log.txt").open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def step(self, done: int, total: int, what: str) -> None:
        """Report progress; raises Stopped if somebody asked for a stop."""
        self.show(done, total, what)
        if self.stop_wanted():
            raise Stopped

    def show(self, done: int, total: int, what: str) -> None:
        """Report progress, to disk a few times a second at most."""
        now = time.monotonic()
        if what != self.what:
            self.what, self.began, self.written, self.first = what, now, 0.0, done
        if now - self.written > 0.25 or done == total:
            self.written = now
            spent = now - self.began
            left = spent / (done - self.first) * (total - done) if done > self.first else None
            report = {"what": what, "done": done, "total": total, "eta_s": left}
            (self.run.path / "progress.json.new").write_text(json.dumps(report))
            (self.run.path / "progress.json.new").replace(self.run.path / "progress.json")
        if self.progress is not None:
            with suppress(OSError):  # a closed terminal is no reason for training to end
                self.progress(done, total, what)

    def stop_wanted(self) -> bool:
        """Whether somebody has put the marker `stop` into the folder."""
        return (self.run.path / "stop").exists()


def fail(run: Run, log: Log, error: Exception) -> None:
    """Write into its folder why a run failed, as far as a full disk or a deleted folder allows."""
    message = str(error) if isinstance(error, MaclError) else f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message = f"the disk of {run.path} is full: make room, then resume the run"
    elif isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        message = "there is not enough memory: lower the batch size or the image size"
    elif isinstance(error, Diverged) and (run.path / "resume.safetensors").exists():
        message += " The last checkpoint is kept."
    with suppress(OSError):
        run.unmark("submitted", "stop", "progress.json")  # or a worker would take it up again and again
        (run.path / "error.txt").touch()  # needs no room
        run.mark("error.txt", message)
        log.say(message if isinstance(error, MaclError) else "".join(traceback.format_exception(error)))
