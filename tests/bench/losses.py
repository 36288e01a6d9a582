"""Time and memory of the losses against their bars: `python -m tests.bench.losses`, one process, medians.

Time: forward and backward at B = 128, D = 128, L = 17 on one thread, the losses taken in turns, as a ratio
to pytorch-metric-learning's SupConLoss on the same embeddings. Memory: the peak of one pass at B = 4096.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor
from torch.nn.functional import normalize

from core.losses import LOSSES, make_loss
from tests.bench import measured, sized, verdict

B, D, L = 128, 128, 17
TIME_BARS = {"oml": 15.0, "macl own": 4.0}  # every other loss: 1
NESTED_BAR = 3.0  # times MulSupCon
MEMORY_BATCH, MEMORY_BAR = sized(4096, 256), 8.0  # in matrices of B×B float32
VARIANTS = {key: (key, {}) for key in LOSSES} | {"macl own": ("macl", {"denominator": "own"})}


def label_table(images: int, rng: np.random.Generator) -> np.ndarray:
    """Labels like DLRSD's: 200 label sets of 1 to 7 labels, some far more frequent than others."""
    frequency = 1 / np.arange(1, L + 1) ** 0.6
    sets = np.zeros((200, L), np.uint8)
    for row in sets:
        row[rng.choice(L, size=rng.integers(1, 8), replace=False, p=frequency / frequency.sum())] = 1
    weight = 1 / np.arange(1, 201) ** 0.8
    return sets[rng.choice(200, size=images, p=weight / weight.sum())]


def step(loss: Callable[[Tensor, Tensor], Tensor], z: Tensor, y: Tensor) -> float:
    """Milliseconds of one forward and backward pass."""
    z = z.clone().requires_grad_()
    start = time.perf_counter()
    loss(z, y).backward()
    return 1e3 * (time.perf_counter() - start)


def times(rounds: int, labels: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    y = torch.tensor(labels[rng.choice(len(labels), B, replace=False)])
    z = normalize(torch.randn(B, D), dim=1)
    single = torch.tensor(np.unique(y.numpy(), axis=0, return_inverse=True)[1])
    subjects: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Tensor]] = {
        name: (make_loss(key, labels, D, **options), y) for name, (key, options) in VARIANTS.items()
    }
    subjects["SupConLoss"] = (SupConLoss(temperature=0.3), single)
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, (loss, target) in subjects.items():
            taken[name].append(step(loss, z, target))
    return {name: statistics.median(values[len(values) // 10 :]) for name, values in taken.items()}


def resident(key: str) -> int:
    """Bytes of this process: VmRSS now, or VmHWM, the highest since it was reset."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split(f"{key}:")[1].split()[0])


def peak(name: str, labels: np.ndarray, rng: np.random.Generator) -> float:
    """Peak of one forward and backward pass, in matrices of B×B float32."""
    key, options = VARIANTS[name]
    loss = make_loss(key, labels, D, **options)
    y = torch.tensor(labels[rng.integers(len(labels), size=MEMORY_BATCH)])
    z = normalize(torch.randn(MEMORY_BATCH, D), dim=1)
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest value so far
    before = resident("VmRSS")
    step(loss, z, y)
    return (resident("VmHWM") - before) / (4 * MEMORY_BATCH**2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=sized(200, 2))
    parser.add_argument("--no-memory", action="store_true", help="measure time only")
    parser.add_argument("--smoke", action="store_true", help="only go through it, small; no bar is judged")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    labels = label_table(1475, rng)

    missed = []
    taken = times(args.rounds, labels, rng)
    unit = taken["SupConLoss"]
    print(f"B={B} D={D} L={L}, 1 thread, median of {args.rounds}; SupConLoss {unit:.2f} ms")
    print(
        f"{'loss':14} {'ms':>7} {'ratio':>6} {'bar':>4}"
        + ("" if args.no_memory else f" {'peak':>6} {'bar':>4}")
    )
    for name in VARIANTS:
        bar = NESTED_BAR * taken["mulsupcon"] / unit if name == "macl_nested" else TIME_BARS.get(name, 1.0)
        line = f"{name:14} {taken[name]:7.2f} {taken[name] / unit:6.2f} {bar:4.0f}"
        if not measured(f"{name}: time of a step", taken[name] / unit, "× SupConLoss", bar, seed=0):
            missed.append(f"{name}: time")
        if not args.no_memory and name != "oml":  # made for B ≤ 1024
            used = peak(name, labels, rng)
            line += f" {used:6.1f} {MEMORY_BAR:4.0f}"
            if not measured(f"{name}: peak of a step", used, "B×B float32", MEMORY_BAR, seed=0):
                missed.append(f"{name}: memory")
        print(line)
    print(f"peak: matrices of {MEMORY_BATCH}×{MEMORY_BATCH} float32")
    print("all within their bars" if not missed else f"over the bar: {', '.join(missed)}")
    return verdict(missed)


if __name__ == "__main__":
    raise SystemExit(main())
