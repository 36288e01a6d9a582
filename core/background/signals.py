"""What asks a program to end: Ctrl-C, SIGTERM, and SIGHUP, which comes when its terminal is closed."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def on_stop(stop: Callable[[], None], numbers: tuple[signal.Signals, ...] = STOP) -> dict[int, Any]:
    """Let these signals call `stop` instead of ending the process; returns the handlers they had.

    A second Ctrl-C or SIGTERM ends it at once, but no second SIGHUP: the kernel and the shell each send one
    when a terminal is closed. SIGHUP stays ignored under nohup.
    """
    usual: dict[int, Any] = {}

    def handle(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGHUP:
            signal.signal(number, usual[number])
        stop()

    for number in numbers:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            usual[number] = signal.signal(number, handle)
    return usual
