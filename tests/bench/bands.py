"""Preparing 5,000 TIFFs of 256 pixels with four bands of 16 bits: `python -m tests.bench.bands`.

The bars are 150 images a second on two cores, with the sample for the stretch and the checksums, and 1 GB of
memory; in a process of its own, which begins with nothing prepared.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from core.background.cores import cores
from core.files import PROJECT
from tests import data_fakes
from tests.bench import measured, sized, verdict
from tests.core.data.test_data_raster import written

COUNT = sized(5000, 60)
LEAST, MOST = 150, 1.0  # images a second, GB
PREPARE = "import sys; from core import data; print(len(data.load('folder', sys.argv[1], 128)))"


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "set"
        folder.mkdir()
        rng = np.random.default_rng(0)
        names = [f"im{i:04d}.tif" for i in range(COUNT)]
        noise = rng.normal(1500, 300, (4, 256, 256)).clip(0, 10_000).astype(np.uint16)
        packed = {"interleave": "pixel", "compress": "deflate", "zlevel": 1}
        contents = [written(noise + np.uint16(i * 10), **packed) for i in range(50)]
        for i, name in enumerate(names):
            (folder / name).write_bytes(contents[i % len(contents)])
        data_fakes.table(folder / "labels.csv", ["image", "a", "b"], names, data_fakes.labels(COUNT, 2))
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", PREPARE, str(folder)],
            env=os.environ | {"MACL_CACHE": f"{scratch}/cache"},
            cwd=PROJECT,
            check=True,
            capture_output=True,
            text=True,
        )
        rate = COUNT / (time.perf_counter() - start)
        assert done.stdout == f"{COUNT}\n"
    child = resource.getrusage(resource.RUSAGE_CHILDREN)
    memory, used = child.ru_maxrss * 1024 / 1e9, (child.ru_utime + child.ru_stime) / COUNT * 1e3
    print(f"{COUNT:,} four-band TIFFs  {rate:7.0f} images/s on {cores()} cores (bar {LEAST})")
    print(f"processor              {used:7.2f} ms an image")
    print(f"memory                 {memory:7.2f} GB (bar {MOST})")
    fast = measured("preparing four-band TIFFs", rate, "images/s", LEAST, least=True)
    measured("preparing four-band TIFFs, processor", used, "ms/image")
    small = measured("memory of preparing four-band TIFFs", memory, "GB", MOST)
    return verdict(not (fast and small))


if __name__ == "__main__":
    sys.exit(main())
