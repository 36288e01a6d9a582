"""Memory of a batch that is embedded in parts: `python -m tests.bench.cached`.

One step of ResNet-18 on the demo set, each in a process of its own: a small batch at once, four times as many
images at once, and the same in parts as large as the small batch. Counted is what the step takes beyond what
the process has before it: main memory on a CPU, tensors on a GPU.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from core import device as devices
from core import runs
from core.runs import RunConfig
from core.training import loop
from core.training.log import Log
from tests.bench import SMOKE, measured, sized, verdict

SMALL, SIZE = sized((128, 96), (4, 32))
TIMES = 4
BAR = 1.3  # × the memory of the small batch
STATUS = Path("/proc/self/status")


def memory(name: str) -> float:
    """Megabytes of this process: "VmRSS" now, "VmHWM" at most since `/proc/self/clear_refs` was written."""
    found = re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text())
    return int(found[1]) / 1024 if found else 0.0


def step(batch: int, micro: int) -> float:
    """Megabytes that one step takes at most, after one that has made what stays."""
    config = RunConfig.build(
        "quick", image_size=SIZE, batch_size=batch, micro_batch=micro, precision="float32", loss="mulsupcon"
    )
    with tempfile.TemporaryDirectory() as folder:
        run = runs.create(config, Path(folder))
        training = loop.prepare(run, Log(run, None))
    learner, rows = training.learner, training.data.splits["train"][:batch]
    learner.begin_epoch(config.lr)
    if learner.device.type == "cuda":
        learner.step(rows, 1)
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        learner.step(rows, 2)
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = memory("VmRSS")
    learner.step(rows, 1)
    return memory("VmHWM") - before


def main() -> int:
    """Print the figures beside the bar; 1 if it is missed."""
    if len(sys.argv) > 2 and sys.argv[1] == "--step":
        print(step(int(sys.argv[2]), int(sys.argv[3])))
        return 0
    device = devices.describe(devices.resolve("auto"), "float32")
    print(f"{device}; ResNet-18 at {SIZE} px")
    if not STATUS.exists() and not torch.cuda.is_available():
        print("this system does not say how much memory a process takes: nothing to measure")
        return 0
    found = {}
    for name, batch, micro in (
        ("small", SMALL, 0), ("large", TIMES * SMALL, 0), ("parts", TIMES * SMALL, SMALL)
    ):  # fmt: skip
        command = [sys.executable, "-m", "tests.bench.cached", "--step", str(batch), str(micro)]
        command += ["--smoke"] * SMOKE
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return 1
        found[name] = float(done.stdout.split()[-1])
        how = f"in parts of {micro}" if micro else "at once"
        print(f"  a step of {batch} images {how}: {found[name]:.0f} MB")
    share = found["parts"] / found["small"]
    whole = found["large"] / found["small"]
    print(f"  {TIMES} × the batch: {share:.2f} × the memory in parts (bar {BAR}), {whole:.2f} × at once")
    about = {"device": device, "preset": "quick"}
    measured(f"memory of {TIMES} × the batch at once", whole, "×", **about)
    kept = measured(f"memory of {TIMES} × the batch in parts", share, "×", BAR, **about)
    return verdict(not kept)


if __name__ == "__main__":
    sys.exit(main())
