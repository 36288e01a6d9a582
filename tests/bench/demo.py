"""The demo set from its files to prepared images, and opened again: `python -m tests.bench.demo`.

The bars are for two cores: 2 s with an empty cache, 0.3 s afterwards.
"""

import os
import sys
import tempfile
import time

from core.data import load
from tests.bench import measured, sized, verdict

FIRST_BAR, AGAIN_BAR = 2.0, 0.3  # seconds
ROUNDS = sized(3, 1)


def main() -> int:
    """Print the best of some rounds beside its bar; 1 if one is missed."""
    first, again = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as cache:
            os.environ["MACL_CACHE"] = cache
            first.append(opening())
            again.append(opening())
    kept = []
    for what, seconds, bar in (("first", min(first), FIRST_BAR), ("again", min(again), AGAIN_BAR)):
        print(f"demo set, {what}: {seconds:.2f} s (bar {bar:.1f} s), load {os.getloadavg()[0]:.1f}")
        kept.append(measured(f"demo set opened, {what}", seconds, "s", bar))
    return verdict(not all(kept))


def opening() -> float:
    start = time.perf_counter()
    load("demo")
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
