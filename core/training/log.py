"""What a run reports while it trains: log lines with times, its progress, and why it failed."""

import errno
import json
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

from core.errors import MaclError
from core.runs import Run
from core.training.group import Lost

Progress = Callable[[int, int, str], None]


class Stopped(Exception):
    """Somebody asked the run to stop; it can be resumed."""


class Left(Exception):
    """The machine is wanted back; the run goes on elsewhere."""


class Taken(Exception):
    """The run has been given to somebody else, who writes into its folder now."""


class Diverged(MaclError):
    """A loss, a gradient or an embedding is not finite."""


class Ended(Exception):
    """Another process that trained the run has failed or died.

    Args:
        message: For the person.
        details: For the log, with the traceback where there is one.
        diverged: Whether a value was not finite.
    """

    def __init__(self, message: str, details: str, *, diverged: bool = False) -> None:
        super().__init__(message)
        self.message, self.details, self.diverged = message, details, diverged


class Log:
    """The log of a run: lines with times, and progress through whatever takes long.

    Args:
        run: The run.
        progress: Called with (done, total, what).
        leave: Whether the run is to end here for another reason than a person's wish, and which.
        writes: Whether anything is written and a wish noticed; of several processes only one does.
    """

    def __init__(
        self,
        run: Run,
        progress: Progress | None,
        leave: Callable[[], type[Left | Taken] | None] = lambda: None,
        *,
        writes: bool = True,
    ) -> None:
        self.run = run
        self.progress = progress
        self.leave = leave
        self.writes = writes
        self.what = ""
        self.began = self.written = 0.0
        self.first = 0  # `done` when this phase began: a resumed run begins in the middle

    def say(self, text: str) -> None:
        """Append one line with the time to log.txt."""
        if not self.writes:
            return
        with (self.run.path / "log.txt").open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def step(self, done: int, total: int, what: str) -> None:
        """Report progress; raises what `end_wanted` gives."""
        self.show(done, total, what)
        if end := self.end_wanted():
            raise end

    def show(self, done: int, total: int, what: str) -> None:
        """Report progress, to disk a few times a second at most."""
        if not self.writes:
            return
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

    def end_wanted(self) -> type[Stopped | Left | Taken] | None:
        """Stopped if somebody has put the marker `stop` into the folder, else what `leave` says."""
        if not self.writes:
            return None
        return Stopped if (self.run.path / "stop").exists() else self.leave()


def said(run: Run, error: Exception) -> dict[str, Any]:
    """What an error means: `message` for the person, `details` for the log, whether it has `diverged`.

    And whether another process was `lost`, which is never the cause.
    """
    message = str(error) if isinstance(error, MaclError) else f"{type(error).__name__}: {error}"
    details = message if isinstance(error, MaclError) else "".join(traceback.format_exception(error))
    if isinstance(error, Ended):
        message, details = error.message, error.details
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message = f"the disk of {run.path} is full: make room, then resume the run"
    elif isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        message = "there is not enough memory: lower the batch size or the image size"
    diverged = isinstance(error, Diverged) or (isinstance(error, Ended) and error.diverged)
    return {"message": message, "details": details, "diverged": diverged, "lost": isinstance(error, Lost)}


def fail(run: Run, log: Log, error: Exception) -> None:
    """Write into its folder why a run failed, as far as a full disk or a deleted folder allows."""
    what = said(run, error)
    if what["diverged"] and (run.path / "resume.safetensors").exists():
        kept = " The last checkpoint is kept."
        what["message"], what["details"] = what["message"] + kept, what["details"] + kept
    with suppress(OSError):
        run.unmark("submitted", "stop", "progress.json")  # or a worker would take it up again and again
        (run.path / "error.txt").touch()  # needs no room
        run.mark("error.txt", what["message"])
        log.say(what["details"])
