"""The process that computes layouts: `python -m core.projection.worker`.

It imports umap once, works on what was asked for last, and ends when nobody has asked for some minutes.
"""

import os
import time
from typing import Any

import numpy as np

from core.data.job import tell_status
from core.data.prepared import make_folder
from core.errors import MaclError
from core.files import lock
from core.projection import store
from core.projection.plane import carry

IDLE_SECONDS = float(os.environ.get("MACL_PROJECT_IDLE_SECONDS", "300"))
MOST_ATTEMPTS = 2  # a layout that has killed the process twice would do so again


def main() -> None:
    """Compute layouts until nobody asks for more."""
    path = store.worker_path()
    make_folder(path.parent)
    if not lock(path.with_suffix(".lock")):
        return
    tell_status(path, state="running", started=time.time())
    os.nice(5)  # pages and trainings come first
    idle = time.monotonic()
    while time.monotonic() - idle < IDLE_SECONDS and path.exists():
        found = next(store.waiting(), None)
        if found is None:
            time.sleep(0.1)
            continue
        work(*found)
        idle = time.monotonic()
    if path.exists():
        tell_status(path, state="done")


def work(name: str, steps: list[dict[str, Any]]) -> None:
    """Compute the first layout of a request that is not there; the last one ends the request."""
    missing = [number for number, step in enumerate(steps) if store.read(step["key"]) is None]
    if not missing:
        finish(name, state="done")
        return
    number, tried = missing[0], store.attempts(name)
    if tried >= MOST_ATTEMPTS:
        finish(name, state="failed", error="its process was killed: is there enough memory?")
        return
    what = f"UMAP {number + 1} of {len(steps)}" if len(steps) > 1 else "UMAP"
    store.tell(name, state="running", what=what, done=0, total=0, attempts=tried + 1)
    told = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > 0.25:
            told = time.monotonic()
            store.tell(name, state="running", what=what, done=done, total=total, attempts=tried + 1)

    try:
        compute(steps[number], tell)
    except Exception as error:
        about = str(error) if isinstance(error, MaclError) else f"{type(error).__name__}: {error}"
        finish(name, state="failed", error=about)
        return
    store.tell(name, state="running", what=what, done=1, total=1, attempts=0)
    if len(missing) == 1:
        finish(name, state="done")


def compute(step: dict[str, Any], tell: Any) -> None:
    """Compute and keep one layout."""
    from core.projection.fit import fit

    z = np.asarray(store.input_array(step["z"]), dtype=np.float32)
    begin = None
    if step["start"] is not None and step["origin"] is not None:
        before = store.read(step["start"])
        if before is None:
            raise MaclError("the layout to start from is gone: ask again")
        begin = carry(before, store.input_array(step["origin"]), z)
    store.write(step["key"], fit(z, store.Umap(**step["umap"]), begin, tell))


def finish(name: str, **about: object) -> None:
    """Say how a request ended and take it away."""
    store.tell(name, **about)
    store.drop(name)


if __name__ == "__main__":
    main()
