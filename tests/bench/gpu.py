"""How near a training step comes to what the GPU needs for it: `python -m tests.bench.gpu`.

Real steps of a training on the demo set, ResNet-18, batch 128. The limit is the time that the GPU computes;
at 96 px the program cannot even ask for a step in that time, so only 256 px (preset paper) has a bar.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from core import device as devices
from core import runs
from core.runs import RunConfig
from core.training import loop
from core.training.batches import batches
from core.training.log import Log
from tests.bench import SMOKE, measured, sized, verdict

STEPS, PROFILED = sized((40, 10), (1, 1))
SIZES = sized((96, 256), (32,))
HAS_GPU = torch.cuda.is_available()  # a walk through it does without
SHARE_BAR = 0.75  # of a step at 256 px that the GPU computes


def of_steps(training: loop.Training) -> tuple[float, float]:
    """Seconds of a step, and seconds of it that the GPU computes."""
    learner, config = training.learner, training.config
    order = batches(training.data.splits["train"], config.batch_size, config.seed, 0)
    learner.begin_epoch(config.lr)

    def steps(count: int) -> None:
        for turn in range(count):
            learner.step(order[turn % len(order)], turn + 1)
        learner.read().clear()

    steps(sized(5, 1))  # warms up
    seconds = timed(lambda: steps(STEPS)) / STEPS
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if HAS_GPU else [])]
    with profile(activities=kinds) as seen:
        steps(PROFILED)
        wait_for_gpu()
    busy = 0.0
    for event in seen.key_averages():
        named = event.key.startswith("Optimizer.step")  # what the optimiser's kernels are called together
        if event.device_type.name == "CUDA" and not named:
            busy += event.self_device_time_total / 1e6 / PROFILED
    return seconds, busy


def timed(work: Callable[[], None]) -> float:
    """Seconds until the GPU has done it too."""
    wait_for_gpu()
    began = time.perf_counter()
    work()
    wait_for_gpu()
    return time.perf_counter() - began


def wait_for_gpu() -> None:
    if HAS_GPU:
        torch.cuda.synchronize()


def main() -> int:
    """Print the figures beside the bar; 1 if it is missed."""
    if not HAS_GPU and not SMOKE:
        print("there is no CUDA device: nothing to measure")
        return 0
    device = "cuda" if HAS_GPU else "cpu"
    print(devices.describe(torch.device(device)))
    shares, small = [], sized({}, {"batch_size": 8})
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            for loss in ("mulsupcon", "macl"):
                config = RunConfig.build("quick", loss=loss, image_size=size, device=device, **small)
                run = runs.create(config, Path(folder))
                seconds, busy = of_steps(loop.prepare(run, Log(run, None)))
                share = busy / seconds
                print(
                    f"{size} px, {loss}: {1e3 * seconds:.1f} ms a step, "
                    f"{config.batch_size / seconds:.0f} images/s; the GPU computes "
                    f"{1e3 * busy:.1f} ms of it, {share:.2f}"
                )
                if size == SIZES[-1]:
                    shares.append(share)
    print(f"smallest share at {SIZES[-1]} px: {min(shares):.2f} (bar {SHARE_BAR})")
    share = measured(
        f"share of a step in which the GPU computes, {SIZES[-1]} px", min(shares), "", SHARE_BAR, least=True,
        device=devices.describe(torch.device(device)), preset="quick",
    )  # fmt: skip
    return verdict(not share)


if __name__ == "__main__":
    sys.exit(main())
