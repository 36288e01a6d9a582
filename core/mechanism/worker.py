"""The process that answers `core.mechanism.ask`: it runs the losses themselves, and ends when idle.

The code of a loss may be a person's own: an error in it is an answer, and so is that it takes too long.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from core.background.cache import bound, write
from core.background.process import MOST_DEATHS, Running, died
from core.background.requests import answered, count_death, waiting
from core.errors import MaclError
from core.mechanism import ask
from core.mechanism.maps import Answer

IDLE_SECONDS = 600.0
POLL_SECONDS = 0.02
LIMIT_SECONDS = float(os.environ.get("MACL_MECHANISM_LIMIT_SECONDS", "20"))  # for one question
GRACE_SECONDS = 5.0  # after which code that lets no other thread run is ended without a word
LONGEST = 300  # characters of an error


def main(running: Running) -> None:
    """Answer questions until nobody asks, or until one is about other losses than those it has loaded."""
    take_up(running)
    import torch

    from core.mechanism import autograd

    torch.set_num_threads(1)
    code = ask.code()

    def turn() -> bool:
        asked = ask.newest()
        if asked is None:
            return False
        path, content = asked
        if content.get("code") != code:  # they have been changed, or are those of another checkout
            running.end()  # the page asks again, and that starts a new one
            return False
        running.say(run=path.name)
        with limit(path.stem):
            settle(path.stem, content, autograd.answer)
        answered(path)
        running.say(run=None)
        return True

    running.progressed()
    running.say(run=None, ready=True)
    running.serve(turn, IDLE_SECONDS, POLL_SECONDS)


def refuse(why: str) -> None:
    """Answer all waiting questions with this error: what kills a process before it begins kills the next."""
    for path, _, _ in waiting(ask.home() / "questions"):
        fail(path.stem, why)


def take_up(running: Running) -> None:
    """Give up a question over which several processes have died."""
    if name := running.about["run"]:
        path = ask.home() / "questions" / name
        if path.exists() and (deaths := count_death(path.with_suffix(".deaths"))) >= MOST_DEATHS:
            fail(path.stem, died(deaths))


def settle(key: str, content: Mapping[str, Any], answer: Callable[..., Answer]) -> None:
    """Write the answer to a question, or why there is none; the page puts a batch that has gone again."""
    path, place = ask.answer_path(key), ask.batch_path(str(content.get("batch")))
    try:
        batch = load_file(place)
    except (OSError, SafetensorError):
        place.unlink(missing_ok=True)
        return
    for name in ask.PLACES:  # those of the page, whoever started this process
        os.environ.pop(name, None)
    os.environ.update(content.get("places", {}))
    try:
        found = answer(content["loss"], content["params"], batch)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # whatever a person's code does
        why = str(error) if isinstance(error, MaclError) else f"{type(error).__name__}: {error}"
        write(path.with_suffix(".txt"), " ".join(why.split())[:LONGEST])
        return
    arrays = {name: np.ascontiguousarray(array) for name, array in found.arrays.items()}
    write(path, save(arrays, {"how": found.how}))
    bound(path.parent, path)


@contextmanager
def limit(key: str, seconds: float = LIMIT_SECONDS) -> Iterator[None]:
    """End the process if this takes longer, with an answer that says so.

    Code that lets no other thread run is killed without a word a little later, and given up like any other
    over which processes die.
    """

    def end() -> None:
        fail(key, f"it takes longer than {seconds:g} s: make it faster, or look for a loop without an end")
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_SECONDS)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.setitimer(signal.ITIMER_REAL, 0)


def fail(key: str, why: str) -> None:
    """Answer a question with an error."""
    with suppress(MaclError):
        write(ask.answer_path(key).with_suffix(".txt"), why)
    answered(ask.home() / "questions" / f"{key}.json")
