"""20,000 patches as BigEarthNet v2, killed three times on the way: `python -m tests.bench.bigearthnet`.

The bars are 300 patches a second on two cores, red, green and blue, with the sample for the stretch and the
checksums, from the first start to the last end, and 1 GB of memory. What was killed three times must equal
what is made in one go.
"""

import json
import os
import resource
import signal
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

COUNT = sized(20_000, 120)
PRODUCTS = 100
LEAST, MOST = 300, 1.0  # patches a second, GB
KILLS = 3
# prints how much of the time of the processor it took, and where the array lies
PREPARE = """
import os, resource, signal, sys
from core import data
from core.data import unfinished
if int(sys.argv[3]):
    unfinished.SECONDS = 0
def progress(done, total, what):
    if what == "Preparing images" and done >= int(sys.argv[2]):
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(used.ru_utime + used.ru_stime, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
d = data.load("bigearthnet", sys.argv[1], 96, progress=progress)
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, d.images.filename)
"""


def made(root: Path) -> None:
    """The archive: each of fifty patches of noise many times, under its own name."""
    import pyarrow as pa
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    contents = []
    for i in range(50):
        bands = {}
        for band, side in data_fakes.SENTINEL.items():
            data_fakes.geotiff(
                root / "band.tif", rng.normal(900 + 20 * i, 200, (side, side)).astype(np.uint16)
            )
            bands[band] = (root / "band.tif").read_bytes()
        contents.append(bands)
    (root / "band.tif").unlink()
    rows = []
    for i in range(COUNT):
        product = f"S2A_MSIL2A_20170613T101031_N9999_R022_T33U{i % PRODUCTS:02d}"
        patch = f"{product}_{i // PRODUCTS:02d}_{i % PRODUCTS:02d}"
        folder = root / "BigEarthNet-S2" / product / patch
        folder.mkdir(parents=True)
        for band, content in contents[i % len(contents)].items():
            (folder / f"{patch}_{band}.tif").write_bytes(content)
        split = ("train", "train", "validation", "test")[i % 4]
        labels = [data_fakes.BIGEARTHNET_19[i % 19], data_fakes.BIGEARTHNET_19[(i + 7) % 19]]
        rows.append({"patch_id": patch, "labels": labels, "split": split, "country": "Austria"})
    parquet.write_table(pa.Table.from_pylist(rows), root / "metadata.parquet")


def prepared(root: Path, cache: Path, until: int) -> tuple[float, str]:
    """Seconds of the processor, and the array, if it was not killed at so many patches."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, str(root), str(until), str(int(COUNT < 1000))],
        env=os.environ | {"MACL_CACHE": str(cache)},
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == (-signal.SIGKILL if until <= COUNT else 0)
    seconds, _, path = done.stdout.strip().partition(" ")
    return float(seconds), path


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "BigEarthNet"
        root.mkdir()
        made(root)
        ways = {}
        for name, kills in (("killed", KILLS), ("one go", 0)):
            start, used = time.perf_counter(), 0.0
            stops = [COUNT * (k + 1) // (kills + 1) for k in range(kills)]
            for until in (*stops, 2 * COUNT):
                seconds, path = prepared(root, Path(scratch) / name, until)
                used += seconds
            ways[name] = time.perf_counter() - start, used, path
        images = [np.load(path, mmap_mode="r") for _, _, path in ways.values()]
        assert len(images[0]) == COUNT
        assert all((a == b).all() for a, b in zip(*images, strict=True)), "must make the same pixels"
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    rates = {name: COUNT / seconds for name, (seconds, _, _) in ways.items()}
    per_patch = {name: used / COUNT * 1e3 for name, (_, used, _) in ways.items()}
    for name, rate in rates.items():
        print(f"{COUNT:,} patches, {name:<7} {rate:7.0f} patches/s on {cores()} cores (bar {LEAST})")
        print(f"  processor             {per_patch[name]:7.2f} ms a patch")
    print(f"memory                  {memory:7.2f} GB (bar {MOST})")
    print(
        json.dumps({"patches": COUNT, "rate": rates, "ms": per_patch, "gb": memory, "load": os.getloadavg()})
    )
    fast = measured(
        "preparing BigEarthNet, killed three times", rates["killed"], "patches/s", LEAST, least=True
    )
    measured("preparing BigEarthNet in one go", rates["one go"], "patches/s")
    measured("preparing BigEarthNet, processor", per_patch["one go"], "ms/patch")
    small = measured("memory of preparing BigEarthNet", memory, "GB", MOST)
    return verdict(not (fast and small))


if __name__ == "__main__":
    sys.exit(main())
