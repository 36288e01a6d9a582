"""Whether a person's own loss can be trained with: asked of a process of its own, or before the first step.

Imports no torch: the process that asks may be the command line or a page.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from core.errors import MaclError
from core.files import PROJECT
from core.losses.findings import REPORT, REQUEST, Report, Request
from core.losses.parameters import Value
from core.losses.source import name_of, read

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

__all__ = ["Report", "before_run", "check_file", "examine", "limited"]

SECONDS = 20.0  # for all of the loss's own code
ENDLESS = "look for a loop without an end, or over single pairs"
START_SECONDS = 180.0  # for Python and torch to load on a busy machine


def examine(
    text: str,
    name: str,
    *,
    labels: "NDArray[Any] | None" = None,
    dim: int = 64,
    params: Mapping[str, object] | None = None,
) -> Report:
    """The check in this process, which runs the text: see `core.losses.trials.examine`."""
    from core.losses import trials  # torch loads here

    return trials.examine(text, name, labels=labels, dim=dim, params=params)


def before_run(
    loss: "torch.nn.Module",
    labels: "NDArray[Any] | torch.Tensor",
    dim: int,
    batch_size: int,
    device: "torch.device | str" = "cpu",
) -> list[str]:
    """The essential trials of a loss before its first step: see `core.losses.trials.before_run`."""
    from core.losses import trials

    return trials.before_run(loss, labels, dim, batch_size, device)


def check_file(path: Path, params: Mapping[str, Value] | None = None, *, seconds: float = SECONDS) -> Report:
    """The check of a file in a process of its own, which ends with all its children when this returns.

    Args:
        path: A Python file.
        params: Parameters other than the defaults.
        seconds: Limit on all of the loss's own code; loading torch does not count.
    """
    try:
        name = name_of(path)
        request = REQUEST.dump_json(Request(read(path), name, dict(params or {}), seconds))
    except MaclError as error:
        return Report(errors=[str(error)])
    with TemporaryDirectory(prefix="macl-check-") as place:
        folder = Path(place)
        (folder / "request").write_bytes(request)
        process = subprocess.Popen(
            [sys.executable, "-m", "core.losses.trials", place],
            cwd=PROJECT, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            why = _wait(process, folder, seconds)
        finally:
            with suppress(ProcessLookupError, PermissionError):  # it has ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if why:
            return Report(errors=[f"{name}.py: {why}"])
        return REPORT.validate_json((folder / "report").read_bytes())


def _wait(process: "subprocess.Popen[bytes]", folder: Path, seconds: float) -> str:
    """Why the process has no report; empty as soon as it has one."""
    report, stage = folder / "report", folder / "stage"  # the stage is written when torch has been loaded
    deadline, began = time.monotonic() + START_SECONDS, False
    while True:
        code = process.poll()  # before the look for the report, which may be its last deed
        if report.exists():
            return ""
        if not began and (began := stage.exists()):
            deadline = time.monotonic() + seconds
        at = f" {stage.read_text()}" if began else ""
        if code is not None and code < 0:
            memory = " (out of memory?)" if code == -signal.SIGKILL else ""
            return f"Python was killed by {signal.Signals(-code).name}{memory}{at}: run the file by itself"
        if code is not None and not began:
            return f"the check could not start (exit code {code}): try again"
        if code is not None:
            return f"it ends Python with exit code {code}{at}: take that out"
        if time.monotonic() > deadline:
            if not began:
                return f"the check did not start within {START_SECONDS:g} s: try again on a quieter machine"
            return f"not done within {seconds:g} s{at}: {ENDLESS}"
        time.sleep(0.02)


class _TooLong(BaseException):
    """Not an Exception, so that `except Exception` in a person's loop does not swallow it."""


@contextmanager
def limited(seconds: float = SECONDS, what: str = "the loss") -> Iterator[None]:
    """End what happens inside after so many seconds, by SIGALRM; without effect outside the main thread.

    Raises:
        MaclError: If it took longer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise _TooLong

    began, handler = time.monotonic(), signal.signal(signal.SIGALRM, ring)
    # again each second: a bare `except:` may have swallowed it
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    try:
        yield
    except _TooLong:
        raise MaclError(f"{what}: not done within {seconds:g} s: {ENDLESS}") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 0.001), interval)
