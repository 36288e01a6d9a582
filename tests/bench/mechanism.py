"""What the mechanism page's maps cost, in numpy and through a process: `python -m tests.bench.mechanism`.

Numpy: all maps of a batch as the page computes them at every move of a slider. Process: the same question put
to the one that answers for losses without a numpy form (`core.mechanism.ask`), which takes a built-in loss as
it takes any. Beside it what no single redraw shows: a process that has still to start, and its memory; and
a slider that is dragged.
"""

import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from core import mechanism
from core.losses import LOSSES, check_params
from core.mechanism import Batch, ask
from tests.bench import measured, sized, verdict
from tests.bench.losses import label_table

SIZES = (24, 128)
IMAGES, D = sized(1500, 200), 128
MOVES = sized(20, 1)  # of a slider, per loss and size
BAR_MS = 500.0  # of a redraw
DRAG, PAUSE_SECONDS = sized(15, 3), 0.1  # places of a slider that is dragged, and the time between two
PAGE_POLL = 0.01  # as a page looks for answers
COLD_SECONDS = 120.0


def batches() -> dict[int, Batch]:
    """A batch of each size, of random embeddings: what they say does not change the time."""
    dice = np.random.default_rng(0)
    labels = label_table(IMAGES, dice)
    z = dice.standard_normal((max(SIZES), D))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return {
        size: Batch(
            labels[:size], labels, z[:size], mechanism.centroids(z[:size].astype(np.float32), labels[:size])
        )
        for size in SIZES
    }


def moved(key: str, place: int) -> dict[str, Any]:
    """The parameters of a loss with its first number at a new place."""
    number = next(one for one in LOSSES[key].parameters if one.kind not in ("bool", "choice"))
    return {number.name: 0.3 + 0.001 * place}


def in_numpy(batch: Batch, key: str, place: int) -> None:
    found = mechanism.maps(key, batch, check_params(key, moved(key, place)))
    if not np.isfinite(found.values["force"]).any():
        raise RuntimeError(f"{key} has no force")


def wait(question: ask.Question) -> float:
    """Ask and look as a page does; milliseconds until the answer."""
    start = time.perf_counter()
    while (reply := ask.ask(question)).state == "waiting":
        time.sleep(PAGE_POLL)
        if time.perf_counter() - start > COLD_SECONDS:
            raise RuntimeError("no answer from the process")
    if reply.answer is None:
        raise RuntimeError(f"{question.loss}: {reply.error}")
    return 1000 * (time.perf_counter() - start)


def asked(batch: Batch, key: str, place: int) -> ask.Question:
    return ask.Question(key, check_params(key, moved(key, place)), batch)


def report(what: str, taken: list[float], bar: float | None = None) -> bool:
    """Print median and 95th percentile; whether the latter is above the bar."""
    median, high = np.percentile(taken, [50, 95])
    beside = "" if bar is None else f" (bar {bar:.0f} ms)"
    print(f"{what:<58} median {median:6.1f} ms, p95 {high:6.1f} ms{beside}", flush=True)
    measured(f"{what}: median", median, "ms")
    return not measured(f"{what}: p95", high, "ms", bar)


def memory() -> str:
    with suppress(OSError, IndexError):
        status = Path(f"/proc/{ask.process().pid}/status").read_text()
        return f"{int(status.split('VmHWM:')[1].split()[0]) / 1000:.0f} MB"
    return "unknown"


def main() -> int:
    """Print every figure; 1 if a redraw in numpy, which is what the page does, is above its bar."""
    missed, made = False, batches()
    for size, batch in made.items():
        every: list[float] = []
        slowest: dict[str, float] = {}
        for key in LOSSES:
            taken = []
            for place in range(MOVES + 1):
                start = time.perf_counter()
                in_numpy(batch, key, place)
                taken.append(1000 * (time.perf_counter() - start))
            every += taken[1:]
            slowest[key] = float(np.percentile(taken[1:], 95))
        worst = max(slowest, key=slowest.__getitem__)
        missed |= report(f"numpy, {size} images, all losses", every, BAR_MS)
        print(f"  the slowest is {worst}: p95 {slowest[worst]:.1f} ms")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["MACL_CACHE"] = cache
        try:
            first = wait(asked(made[SIZES[0]], "macl", -1))
            print(f"process, not yet started: {first / 1000:.1f} s to the first answer")
            for size, batch in made.items():
                every = []
                for key in LOSSES:
                    every += [wait(asked(batch, key, place)) for place in range(MOVES + 1)][1:]
                report(f"warm process, {size} images, all losses", every)
                for key in ("macl", "oml"):
                    for place in range(200, 200 + DRAG):
                        ask.ask(asked(batch, key, place))
                        time.sleep(PAUSE_SECONDS)
                    took = wait(asked(batch, key, 200 + DRAG))
                    print(f"  {key}, the last of {DRAG} places, {PAUSE_SECONDS} s apart: {took:.0f} ms")
            print(f"  memory of the process {memory()}")
        finally:
            if (pid := ask.process().pid) is not None:
                os.kill(pid, signal.SIGKILL)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return verdict(missed)


if __name__ == "__main__":
    sys.exit(main())
