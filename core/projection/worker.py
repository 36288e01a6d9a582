"""The process that computes layouts; `core.projection.store` starts it.

It imports umap once, works on the latest request, and ends when nobody has asked for some minutes.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from core.background.process import MOST_DEATHS, Ended, Running, died
from core.background.requests import count_death
from core.errors import MaclError
from core.projection import store
from core.projection.plane import carry

IDLE_SECONDS = float(os.environ.get("MACL_PROJECT_IDLE_SECONDS", "300"))

Tell = Callable[[int, int, str], None]


def main(running: Running) -> None:
    """Compute layouts until nobody asks for more."""
    os.nice(5)  # pages and training runs come first
    if name := running.about["run"]:
        take_up(name)
    running.progressed()

    def turn() -> bool:
        request = next(store.waiting(), None)
        if request is None:
            return False
        running.say(run=request[0], what="", done=0, total=0)
        work(*request, running.tell)
        running.say(run=None)
        return True

    running.say(run=None)
    running.serve(turn, IDLE_SECONDS, 0.1)


def refuse(why: str) -> None:
    """Fail all waiting requests."""
    for name, _ in store.waiting():
        store.finish(name, state="failed", error=why)


def take_up(name: str) -> None:
    """Go on with a request over which a process died, or give it up: a layout may need too much memory."""
    steps = dict(store.waiting()).get(name)
    if steps is None:
        return
    deaths = count_death(store.deaths(name), sum(store.read(step["key"]) is not None for step in steps))
    if deaths >= MOST_DEATHS:
        store.finish(name, state="failed", error=died(deaths))


def work(name: str, steps: list[dict[str, Any]], tell: Tell) -> None:
    """Compute the first missing layout of a request; the last one ends the request."""
    try:
        missing = [number for number, step in enumerate(steps) if store.read(step["key"]) is None]
        if missing:
            what = f"UMAP {missing[0] + 1} of {len(steps)}" if len(steps) > 1 else "UMAP"
            tell(0, 0, what)
            compute(steps[missing[0]], lambda done, total: tell(done, total, what))
    except Ended:
        raise
    except Exception as error:
        message = str(error) if isinstance(error, MaclError) else f"{type(error).__name__}: {error}"
        store.finish(name, state="failed", error=message)
        return
    if len(missing) <= 1:
        store.finish(name, state="done")


def compute(step: dict[str, Any], tell: Callable[[int, int], None]) -> None:
    """Compute one layout and put it into the cache."""
    from core.projection.fit import fit

    z = np.asarray(store.input_array(step["z"]), dtype=np.float32)
    initial = None
    if step["start"] is not None and step["origin"] is not None:
        other = store.read(step["start"])
        if other is None:
            raise MaclError("the layout to start from is gone: ask again")
        initial = carry(other, store.input_array(step["origin"]), z)
    store.keep(step["key"], fit(z, store.Umap(**step["umap"]), initial, tell))
