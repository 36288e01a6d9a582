"""One detached process: started, watched, asked to end, restarted when it dies, at last given up.

Its files lie side by side and share its name: `.lock` is held while it lives (a record lock, which dies with
it), `.json` is its note (what it does and how far it is), `.log` is its output, `.stop` asks it to end. It
outlives page, browser and server. Nothing depends on a clock: whoever starts one waits the tenth of a second
until it holds its lock, or is told why it does not.
"""

import json
import os
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.background.cache import cannot_write, make_folder
from core.background.signals import on_stop
from core.errors import MaclError
from core.files import PROJECT, lock, locked_by, unlock, write_atomic

MOST_DEATHS = 3  # in a row without progress, after which it is given up
START_SECONDS = 20.0  # the longest wait on a busy machine; the process may still start after it
TELL_SECONDS = 0.25  # between two progress notes
PACE_SECONDS = 2.0  # after which the time left is told
MOST_LOG = 1_000_000  # bytes of output, after which the next start begins a new file
LINE = 300  # characters of a log line shown on a page


class Ended(Exception):
    """The process was asked to end."""


@dataclass(frozen=True)
class Status:
    """State of a process: `none` (never started), `running`, `done`, or `failed` with its `error`.

    `skipped` if it left out the images that cannot be read, as the person chose. `left` is the time that the
    rest takes at the pace so far, in seconds; 0 if that is not known.
    """

    state: Literal["none", "running", "done", "failed"]
    what: str = ""
    done: int = 0
    total: int = 0
    error: str = ""
    skipped: bool = False
    left: float = 0.0


@dataclass(frozen=True)
class Process:
    """A process seen from outside, identified by the path that its files share."""

    path: Path

    def file(self, ending: str) -> Path:
        """One of its files."""
        return self.path.with_name(f"{self.path.name}.{ending}")

    @property
    def pid(self) -> int | None:
        """Its process id; None if it does not live."""
        return locked_by(self.file("lock"))

    def note(self) -> dict[str, Any]:
        """The note of the last process here, alive or not; empty if it is missing or damaged."""
        try:
            note = json.loads(self.file("json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return note if isinstance(note, dict) else {}

    def alive(self) -> dict[str, Any]:
        """The note of the living process; empty if none lives."""
        pid, note = self.pid, self.note()
        return note if pid is not None and note.get("pid") == pid else {}

    def start(self, module: str, *arguments: object) -> None:
        """Start it with `main` of a module, unless it lives; returns when it holds its lock.

        Raises:
            MaclError: If its folder cannot be written, or it died at once; with the last line of its output.
        """
        deadline = time.monotonic() + START_SECONDS
        while self.pid is not None:
            if self.alive().get("state", "running") == "running" or time.monotonic() > deadline:
                return
            time.sleep(0.01)  # it has written its last note and is about to end
        make_folder(self.path.parent)
        log, words = self.file("log"), [sys.executable, "-m", "core.background", str(self.path)]
        try:
            self.file("stop").unlink(missing_ok=True)
            if (log_start := _size(log)) > MOST_LOG:
                log.unlink()
                log_start = 0
        except OSError as error:
            raise cannot_write(self.path.parent, error) from error
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb", buffering=0) as answer:
            # In the background of a shell that ends, so that init adopts it and nobody has a child to reap;
            # in a session of its own, so that no Ctrl-C in the terminal reaches it.
            command = shlex.join([*words, str(write_end), module, *map(str, arguments)])
            try:
                subprocess.run(
                    ["/bin/sh", "-c", f"{command} </dev/null >>{shlex.quote(str(log))} 2>&1 &"],
                    cwd=PROJECT, start_new_session=True, pass_fds=(write_end,), check=True,
                )  # fmt: skip
            except (OSError, subprocess.CalledProcessError) as error:
                raise MaclError(f"no process can be started ({error}): end others, then try again") from error
            finally:
                os.close(write_end)
            with selectors.DefaultSelector() as selector:
                selector.register(answer, selectors.EVENT_READ)
                if not selector.select(START_SECONDS):
                    return
            word = answer.read(4096).decode(errors="replace")
        if word.startswith("!"):
            raise cannot_write(self.path.parent, word[1:])
        if not word:
            why = f"a process died at its start. It said last: {last_line(log, log_start) or 'nothing'}"
            with suppress(OSError):
                failed = self.note() | {"state": "failed", "error": why}
                write_atomic(self.file("json"), json.dumps(failed), flush=False)
            raise MaclError(why)

    def status(self) -> Status:
        """Its state. If it has died it is started again; it gives up by itself after `MOST_DEATHS`."""
        for _ in range(2):  # twice: it may have ended between reading the lock and reading the note
            pid, note = self.pid, self.note()
            if pid is not None or note.get("state") != "running":
                break
        if pid is not None and note.get("pid") != pid:
            return Status("running", "starting")
        if note.get("state") not in ("running", "done", "failed"):
            return Status("none")
        if pid is None and note["state"] == "running":
            return self._again(note)
        kinds = {"what": str, "done": int, "total": int, "error": str, "skipped": bool, "left": float}
        return Status(
            note["state"], **{k: note[k] for k, kind in kinds.items() if isinstance(note.get(k), kind)}
        )

    def stop(self) -> None:
        """Ask it to end.

        Raises:
            MaclError: If its folder cannot be written.
        """
        try:
            self.file("stop").touch()
        except OSError as error:
            raise cannot_write(self.path.parent, error) from None

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to end and has not ended yet."""
        return self.file("stop").exists()

    def _again(self, note: dict[str, Any]) -> Status:
        if self.is_stopping:  # it was asked to end, and has ended
            with suppress(OSError):
                write_atomic(self.file("json"), json.dumps(note | {"state": "none"}), flush=False)
                self.file("stop").unlink(missing_ok=True)
            return Status("none")
        module, arguments = note.get("module"), note.get("arguments")
        if not isinstance(module, str) or not isinstance(arguments, list):  # of an earlier version
            return Status("failed", error="its process was killed: start it again")
        try:
            self.start(module, *arguments)
        except MaclError as error:
            return Status("failed", error=str(error))
        return Status("running", "starting again")


class Running:
    """A process seen from inside: its note, and whether it should end.

    Attributes:
        names: The names it is known by; a worker has several.
        given_up: Why it has been given up; empty if it has not.
    """

    def __init__(self, path: Path, module: str = "", arguments: list[str] | None = None) -> None:
        self.process = Process(path)
        self.names = [self.process]
        self.given_up = ""
        self.about: dict[str, Any] = {"run": None, "module": module, "arguments": arguments or []}
        self.at_end: Callable[[], None] = lambda: None  # called when a signal asks it to end
        self._written, self._begun, self._ending = 0.0, False, False
        self._pace = ("", 0.0, 0)  # what it does, since when, and how far it was then

    def begin(self) -> bool:
        """Take the lock and count the death of the process before it; False if another one lives.

        The run which that process had in hand (`run`) stays in the note until somebody has taken it up.

        Raises:
            OSError: If the folder cannot be written.
        """
        if not lock(self.process.file("lock")):
            return False
        self.names, before = [self.process], self.process.note()
        deaths, run = 0, before.get("run") if isinstance(before.get("run"), str) else None
        if before.get("state") == "running" and not run:
            deaths = _number(before.get("deaths")) + 1
        if deaths >= MOST_DEATHS:
            self.given_up = died(deaths, last_line(self.process.file("log"), _number(before.get("heard"))))
            deaths = 0
        self.about |= {"state": "running", "pid": os.getpid(), "host": socket.gethostname()}
        self.about |= {"deaths": deaths, "run": run}
        self.about |= {"heard": _size(self.process.file("log"))}
        self.about["trouble"] = str(before.get("error") or before.get("trouble") or "")
        try:
            write_atomic(self.process.file("json"), json.dumps(self.about), flush=False)
        except BaseException:
            unlock(self.process.file("lock"))
            raise
        self._begun = True
        return True

    def also(self, paths: list[Path]) -> bool:
        """Take these names too; if another process has one of them, give up all names and return False."""
        for path in paths:
            if Process(path) not in self.names:
                if not lock(Process(path).file("lock")):
                    self.release()
                    return False
                self.names.append(Process(path))
        return True

    def run(self, work: Callable[..., dict[str, Any] | None], refuse: Callable[[str], None] | None) -> None:
        """Do the work and write its result into the note; `refuse` tells callers who do not read the note."""
        previous = on_stop(self.end, (signal.SIGTERM, signal.SIGHUP))
        result: dict[str, Any] = {"state": "done", "run": None}
        try:
            if self.given_up:
                raise MaclError(self.given_up)
            result |= work(self, *self.about["arguments"]) or {}
        except Ended:
            result["state"] = "none"
        except BaseException as error:
            why = str(error) if isinstance(error, MaclError) else f"{type(error).__name__}: {error}"
            result |= {"state": "failed", "error": why}
            if refuse is not None:
                refuse(why)
            if not isinstance(error, MaclError):
                raise
        finally:
            self.about |= {"what": "", "done": 0, "total": 0, "left": 0.0} | result
            self.release()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def serve(self, turn: Callable[[], bool], idle: float, poll: float) -> None:
        """Take turns until none has had anything to do for `idle` seconds, or the process is asked to end."""
        last = time.monotonic()
        while not self.ending and time.monotonic() - last < idle:
            if turn():
                last = time.monotonic()
            else:
                time.sleep(poll)

    def say(self, **about: object) -> None:
        """Update the note; on a full disk the old one stays."""
        self.about |= about
        for name in self.names:
            with suppress(OSError):
                write_atomic(name.file("json"), json.dumps(self.about), flush=False)

    def tell(self, done: int, total: int, what: str) -> None:
        """Report progress, a few times a second at most.

        Raises:
            Ended: If it was asked to end.
        """
        if self.ending:
            raise Ended
        now = time.monotonic()
        if what != self._pace[0]:
            self._pace = (what, now, done)
        _, began, first = self._pace
        if now - self._written > (TELL_SECONDS if what == self.about.get("what") else TELL_SECONDS / 2):
            self._written = now
            spent = now - began
            left = spent / (done - first) * (total - done) if done > first and spent > PACE_SECONDS else 0.0
            self.say(what=what, done=done, total=total, left=round(left, 1))

    def progressed(self) -> None:
        """Forget earlier deaths and trouble: it has started well, or has got something done."""
        self.about |= {"deaths": 0, "trouble": ""}

    @property
    def ending(self) -> bool:
        """Whether it was asked to end, by a signal or a file, or its folder has gone."""
        note_removed = self._begun and not self.process.file("json").exists()  # with its folder
        return self._ending or note_removed or any(name.is_stopping for name in self.names)

    def end(self) -> None:
        """Ask it to end soon."""
        self._ending = True
        self.at_end()

    def release(self) -> None:
        """Write the last note, give the locks back and remove all files but the note."""
        if self.about.get("state") == "running":
            self.about["state"] = "done"
        if not self._begun or self.process.file("json").exists():
            self.say()
        names, self.names = self.names, []
        for name in names:
            with suppress(OSError):
                name.file("stop").unlink(missing_ok=True)
                if not _size(name.file("log")):
                    name.file("log").unlink(missing_ok=True)
                name.file("lock").unlink(missing_ok=True)  # before unlocking: see `core.files.lock`
            unlock(name.file("lock"))


def died(deaths: int, last: str = "") -> str:
    """The message for a process that has been given up."""
    last_words = f" It said last: {last}" if last else ""
    return (
        f"its process died {deaths} times (killed, out of memory, or it could not start): "
        f"free memory or mend what is wrong, then try again.{last_words}"
    )


def last_line(log: Path, start: int = 0) -> str:
    """The last line of a log from this byte on; empty if there is none."""
    try:
        text = log.read_bytes()[start:].decode(errors="replace").strip()
    except OSError:
        return ""
    return text.splitlines()[-1][:LINE] if text else ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _number(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
