"""Drawing the whole demo set: `python -m tests.bench.demo`. The bar is 12 s on two cores."""

import os
import sys
import time

from core.data import demo
from tests.bench import measured, sized, verdict

BAR = 12.0  # seconds
ROUNDS = sized(2, 1)
ALONE = sized(200, 3)  # images for the time of one image in this process


def main() -> int:
    took = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        demo.render(demo.COUNT, workers=2)
        took.append(time.perf_counter() - start)
    for index in range(ALONE):  # fills the bank of textures
        demo.draw(demo.COUNT + index)
    start = time.process_time()
    for index in range(ALONE):
        demo.draw(index)
    each = (time.process_time() - start) / ALONE
    load = os.getloadavg()[0]
    print(
        f"{demo.COUNT} images: {min(took):.1f} s (bar {BAR:.0f} s), {each * 1e3:.1f} ms each, load {load:.1f}"
    )
    return verdict(not measured(f"drawing {demo.COUNT} images", min(took), "s", BAR))


if __name__ == "__main__":
    sys.exit(main())
