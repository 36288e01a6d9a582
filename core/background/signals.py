"""Signals that ask a program to end: Ctrl-C, SIGTERM, and SIGHUP, sent when its terminal is closed."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def on_stop(stop: Callable[[], None], numbers: tuple[signal.Signals, ...] = STOP) -> dict[int, Any]:
    """Let these signals call `stop` instead of ending the process; returns their previous handlers.

    A second Ctrl-C or SIGTERM ends it at once. A second SIGHUP does not: the kernel and the shell each send
    one when a terminal is closed. SIGHUP stays ignored under nohup.
    """
    previous: dict[int, Any] = {}

    def handle(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGHUP:
            signal.signal(number, previous[number])
        stop()

    for number in numbers:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            previous[number] = signal.signal(number, handle)
    return previous
