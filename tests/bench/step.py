"""Speed of a training step: what the image pipeline costs, and what bf16 with channels-last gains.

`python -m tests.bench.step` prints medians over interleaved steps and ends with code 1 if a bar is missed.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from core import device as devices
from core.data.augment import augment
from core.encoder.model import Encoder, ProjectionHead, build_backbone
from tests.bench import measured, sized, verdict

BATCH = sized(128, 8)
PIPELINE_BAR = 0.85  # images/s with the pipeline over images/s on tensors in memory
BF16_BAR = 2.0  # bf16 and channels-last over plain float32, where the processor has AMX


class Step:
    """One optimiser step of ResNet-18 with head; any smooth function of z serves as loss."""

    def __init__(self, device: torch.device, precision: str, layout: torch.memory_format) -> None:
        torch.manual_seed(0)
        backbone = build_backbone("resnet18")
        encoder = Encoder(backbone, ProjectionHead(backbone.features))
        self.encoder: nn.Module = encoder.to(device).to(memory_format=layout)
        self.optimizer = torch.optim.Adam(self.encoder.parameters(), lr=1e-3, weight_decay=5e-4, fused=True)
        self.device, self.precision, self.layout = device, precision, layout

    def __call__(self, images: Tensor) -> None:
        with devices.autocast(self.device, self.precision):
            z = self.encoder(images.contiguous(memory_format=self.layout))
        (z.float() @ z.float().T).logsumexp(1).mean().backward()
        nn.utils.clip_grad_norm_(self.encoder.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def medians(rounds: int, *steps: Callable[[], None]) -> list[float]:
    """Median seconds of each, run in turns so that a busy machine slows all of them alike."""
    seconds: list[list[float]] = [[] for _ in steps]
    for turn in range(rounds + 1):
        for step, times in zip(steps, seconds, strict=True):
            began = time.perf_counter()
            step()
            if turn:  # the first one warms up
                times.append(time.perf_counter() - began)
    return [statistics.median(times) for times in seconds]


def pipeline(device: torch.device, size: int = sized(96, 32), rounds: int = sized(12, 1)) -> float:
    """Speed of gather, augment and step over that of the step alone."""
    step = Step(device, "auto", devices.memory_format(device))
    generator, rng, side = torch.Generator().manual_seed(0), np.random.default_rng(0), size * 5 // 4
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, rng.integers(0, 256, (sized(1500, 16), side, side, 3), dtype=np.uint8))
        images = np.load(path, mmap_mode="r")

        def batch() -> Tensor:
            rows = rng.choice(len(images), BATCH, replace=False)
            return augment(torch.from_numpy(images[rows]).to(device), size, generator)

        memory = batch()
        whole, alone, prepared = medians(rounds, lambda: step(batch()), lambda: step(memory), lambda: batch())
    print(
        f"training at {size} px: {BATCH / whole:.0f} images/s, {BATCH / alone:.0f} on tensors in memory; "
        f"gather and augmentation {1e3 * prepared:.0f} ms of {1e3 * whole:.0f} ms"
    )
    return alone / whole


def bf16(device: torch.device, size: int, rounds: int = sized(5, 1)) -> float:
    """Speed of bf16 with channels-last over plain float32, training."""
    images = torch.rand(BATCH // 2, 3, size, size, device=device)
    fast = Step(device, "bf16", torch.channels_last)
    plain = Step(device, "float32", torch.contiguous_format)
    quick, slow = medians(rounds, lambda: fast(images), lambda: plain(images))
    n = len(images)
    print(f"{size} px: bf16 with channels-last {n / quick:.0f} images/s, plain float32 {n / slow:.0f}")
    return slow / quick


def main() -> int:
    """Print every figure beside its bar; 1 if one is missed."""
    device = devices.resolve("auto")
    if device.type == "cpu":
        devices.keep_memory()
    amx = device.type == "cpu" and devices.has_amx()
    print(f"{devices.describe(device)}; AMX: {'yes' if amx else 'no'}")
    missed = []
    ratio = pipeline(device)
    print(f"  pipeline over memory: {ratio:.2f} (bar {PIPELINE_BAR})")
    name = devices.describe(device)
    if not measured("pipeline over tensors in memory", ratio, "×", PIPELINE_BAR, least=True, device=name):
        missed.append("pipeline")
    for size in sized((64, 128), (32,)):
        gain = bf16(device, size)
        print(f"  gain at {size} px: {gain:.2f} × (bar {BF16_BAR}{'' if amx else ', holds with AMX only'})")
        bar = BF16_BAR if amx else None
        if not measured(f"bf16 over float32 at {size} px", gain, "×", bar, least=True, device=name):
            missed.append(f"bf16 at {size} px")
    if missed:
        print(f"missed: {', '.join(missed)}")
    return verdict(missed)


if __name__ == "__main__":
    sys.exit(main())
