"""Preparing the real DLRSD from its zip against a plain Pillow loop: `python -m tests.bench.prepare`.

The bar is 1.7 times on two cores, at P = 160 pixels. Both read the archive under MACL_TEST_ARCHIVES, in this
process, in turn; the best of several rounds counts.
"""

import os
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from core import data
from core.background.cores import cores
from tests import data_fakes
from tests.bench import SMOKE, measured, sized, verdict

BAR = 1.7  # times
IMAGE_SIZE = 128  # pixels; prepared at 160
ROUNDS = sized(3, 1)


def plain(archive: Path, size: int) -> np.ndarray:
    """One image after the other, read whole first: the faster of the usual ways to write this loop."""
    import io

    with zipfile.ZipFile(archive) as opened:
        images = [name for name in opened.namelist() if name.endswith((".jpg", ".tif"))]
        names = sorted(images, key=lambda name: Path(name).stem)
        images = np.empty((len(names), size, size, 3), np.uint8)
        for row, name in enumerate(names):
            image = Image.open(io.BytesIO(opened.read(name))).convert("RGB")
            images[row] = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
    return images


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if SMOKE else Path(os.environ.get("MACL_TEST_ARCHIVES", "no folder"))
        if SMOKE:
            data_fakes.dlrsd(folder, count=1700)  # of fewer no test split would be left
            shutil.make_archive(str(folder / "DLRSD"), "zip", folder, "DLRSD")
        if not (folder / "DLRSD.zip").is_file():
            print("set MACL_TEST_ARCHIVES to the folder that holds DLRSD.zip")
            return 1
        return compared(folder / "DLRSD.zip")


def compared(archive: Path) -> int:
    loop, ours, again = [], [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        images = plain(archive, 160)
        loop.append(time.perf_counter() - start)
        with tempfile.TemporaryDirectory() as cache:
            os.environ["MACL_CACHE"] = cache
            start = time.perf_counter()
            dataset = data.load("dlrsd", archive, IMAGE_SIZE)
            ours.append(time.perf_counter() - start)
            assert (dataset.images == images).all(), "the two must make the same pixels"
            start = time.perf_counter()
            data.load("dlrsd", archive, IMAGE_SIZE)
            again.append(time.perf_counter() - start)
    times = min(loop) / min(ours)
    print(f"plain Pillow loop        {min(loop):6.2f} s")
    print(f"macl data prepare dlrsd  {min(ours):6.2f} s  on {cores()} cores")
    print(f"second start             {min(again):6.2f} s")
    print(f"ratio                    {times:6.2f} (bar {BAR})")
    measured("macl data prepare dlrsd", min(ours), "s")
    measured("second start", min(again), "s")
    return verdict(not measured("preparing over a plain Pillow loop", times, "×", BAR, least=True))


if __name__ == "__main__":
    sys.exit(main())
