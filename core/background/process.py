"""One detached process: started, watched, told to end, found dead, started again, given up.

Its files lie side by side and bear its name: `.lock` is held while it lives (a record lock, which dies with
it), `.json` says what it does and how that goes, `.log` is its output, `.stop` asks it to end. It outlives
page, browser and server. No clock is asked for anything: whoever starts one waits the tenth of a second until
it holds its lock, or is told why it does not.
"""

import json
import os
import selectors
import shlex
import signal
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

MOST_DEATHS = 3  # in a row without progress, then it is given up
START_SECONDS = 20.0  # longer nobody waits for a busy machine; the process comes all the same
TELL_SECONDS = 0.25  # between two notes of how it goes
MOST_LOG = 1_000_000  # bytes of output, after which the next start begins a new file
LINE = 300  # letters of a line of the log on a page


class Ended(Exception):
    """Somebody wants the process to end."""


@dataclass(frozen=True)
class Status:
    """Where a process is: `none` was ever started, `running`, `done`, or `failed` with its `error`.

    `skipped` when it was done without the images that cannot be read, as the person chose.
    """

    state: Literal["none", "running", "done", "failed"]
    what: str = ""
    done: int = 0
    total: int = 0
    error: str = ""
    skipped: bool = False


@dataclass(frozen=True)
class Process:
    """A process from outside, known by the path that its files have in common."""

    path: Path

    def file(self, ending: str) -> Path:
        """One of its files."""
        return self.path.with_name(f"{self.path.name}.{ending}")

    @property
    def pid(self) -> int | None:
        """Its process id; None if it does not live."""
        return locked_by(self.file("lock"))

    def note(self) -> dict[str, Any]:
        """What the last one has said of itself, alive or not; empty where that is damaged."""
        try:
            note = json.loads(self.file("json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return note if isinstance(note, dict) else {}

    def alive(self) -> dict[str, Any]:
        """What the living one says of itself; empty without one."""
        pid, note = self.pid, self.note()
        return note if pid is not None and note.get("pid") == pid else {}

    def start(self, module: str, *arguments: object) -> None:
        """Run `main` of a module in it, unless it lives; returns when it holds its lock.

        Raises:
            MaclError: If its folder cannot be written, or it died at once: with the last line that it said.
        """
        deadline = time.monotonic() + START_SECONDS
        while self.pid is not None:
            if self.alive().get("state", "running") == "running" or time.monotonic() > deadline:
                return
            time.sleep(0.01)  # it has just said its last
        make_folder(self.path.parent)
        log, words = self.file("log"), [sys.executable, "-m", "core.background", str(self.path)]
        try:
            self.file("stop").unlink(missing_ok=True)
            if (heard := _size(log)) > MOST_LOG:
                log.unlink()
                heard = 0
        except OSError as error:
            raise cannot_write(self.path.parent, error) from error
        here, there = os.pipe()
        with os.fdopen(here, "rb", buffering=0) as answer:
            # In the background of a shell that ends: it belongs to init, so that nobody has a child to reap,
            # and in a session of its own no Ctrl-C in the terminal reaches it.
            command = shlex.join([*words, str(there), module, *map(str, arguments)])
            try:
                subprocess.run(
                    ["/bin/sh", "-c", f"{command} </dev/null >>{shlex.quote(str(log))} 2>&1 &"],
                    cwd=PROJECT, start_new_session=True, pass_fds=(there,), check=True,
                )  # fmt: skip
            except (OSError, subprocess.CalledProcessError) as error:
                raise MaclError(f"no process can be started ({error}): end others, then try again") from error
            finally:
                os.close(there)
            with selectors.DefaultSelector() as selector:
                selector.register(answer, selectors.EVENT_READ)
                if not selector.select(START_SECONDS):
                    return
            word = answer.read(4096).decode(errors="replace")
        if word.startswith("!"):
            raise cannot_write(self.path.parent, word[1:])
        if not word:
            why = f"a process died at its start. It said last: {last_line(log, heard) or 'nothing'}"
            with suppress(OSError):
                failed = self.note() | {"state": "failed", "error": why}
                write_atomic(self.file("json"), json.dumps(failed), flush=False)
            raise MaclError(why)

    def status(self) -> Status:
        """How it goes. One that has died is started again; it gives up by itself after `MOST_DEATHS`."""
        for _ in range(2):  # twice: it may have ended between the look at the lock and the look at the note
            pid, note = self.pid, self.note()
            if pid is not None or note.get("state") != "running":
                break
        if pid is not None and note.get("pid") != pid:
            return Status("running", "starting")
        if note.get("state") not in ("running", "done", "failed"):
            return Status("none")
        if pid is None and note["state"] == "running":
            return self._again(note)
        kinds = {"what": str, "done": int, "total": int, "error": str, "skipped": bool}
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
        """Whether it was asked to end and has not yet."""
        return self.file("stop").exists()

    def _again(self, note: dict[str, Any]) -> Status:
        if self.is_stopping:  # it was told to end, and has
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
    """A process from inside: what it says of itself, and whether it shall end.

    Attributes:
        names: Under which it is known; a worker serves several.
        given_up: Why nothing is tried any more; empty while something is.
    """

    def __init__(self, path: Path, module: str = "", arguments: list[str] | None = None) -> None:
        self.process = Process(path)
        self.names = [self.process]
        self.given_up = ""
        self.about: dict[str, Any] = {"run": None, "module": module, "arguments": arguments or []}
        self.at_end: Callable[[], None] = lambda: None  # called when a signal asks it to end
        self._written, self._begun, self._ending = 0.0, False, False

    def begin(self) -> bool:
        """Take the lock and count the death of the one before; False if another one lives.

        What that had in its hands (`run`) stays in the note until somebody has taken it up.

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
        self.about |= {"state": "running", "pid": os.getpid(), "deaths": deaths, "run": run}
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
        """Bear these names, too; False, and none is borne any more, if another process has one of them."""
        for path in paths:
            if Process(path) not in self.names:
                if not lock(Process(path).file("lock")):
                    self.release()
                    return False
                self.names.append(Process(path))
        return True

    def run(self, work: Callable[..., dict[str, Any] | None], refuse: Callable[[str], None] | None) -> None:
        """Do the work and say what came of it; `refuse` tells those who wait for more than the note."""
        usual = on_stop(self.end, (signal.SIGTERM, signal.SIGHUP))
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
            self.about |= {"what": "", "done": 0, "total": 0} | result
            self.release()
            for number, handler in usual.items():
                signal.signal(number, handler)

    def serve(self, turn: Callable[[], bool], idle: float, poll: float) -> None:
        """Take one turn after another, until none has had anything to do for `idle` seconds, or the end."""
        last = time.monotonic()
        while not self.ending and time.monotonic() - last < idle:
            if turn():
                last = time.monotonic()
            else:
                time.sleep(poll)

    def say(self, **about: object) -> None:
        """Change the note; on a full disk the old one stays."""
        self.about |= about
        for name in self.names:
            with suppress(OSError):
                write_atomic(name.file("json"), json.dumps(self.about), flush=False)

    def tell(self, done: int, total: int, what: str) -> None:
        """Say how it goes, a few times a second at most.

        Raises:
            Ended: If it shall end.
        """
        if self.ending:
            raise Ended
        since = time.monotonic() - self._written
        if since > (TELL_SECONDS if what == self.about.get("what") else TELL_SECONDS / 2):
            self._written = time.monotonic()
            self.say(what=what, done=done, total=total)

    def progressed(self) -> None:
        """It has started, or something has come of it: what was before does not count any more."""
        self.about |= {"deaths": 0, "trouble": ""}

    @property
    def ending(self) -> bool:
        """Whether it was told to end, by a signal or a file, or has nothing left to work for."""
        gone = self._begun and not self.process.file("json").exists()  # with the folder it worked for
        return self._ending or gone or any(name.is_stopping for name in self.names)

    def end(self) -> None:
        """Let it end soon."""
        self._ending = True
        self.at_end()

    def release(self) -> None:
        """Say the last, give the locks back and leave nothing but the note behind."""
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
                name.file("lock").unlink(missing_ok=True)  # before it is given back: see `core.files.lock`
            unlock(name.file("lock"))


def died(deaths: int, last: str = "") -> str:
    """Why something is given up."""
    ending = f" It said last: {last}" if last else ""
    return (
        f"its process died {deaths} times (killed, out of memory, or it could not start): "
        f"free memory or mend what is wrong, then try again.{ending}"
    )


def last_line(log: Path, start: int = 0) -> str:
    """The last line of an output from this byte on; empty if there is none."""
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
