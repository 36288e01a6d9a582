"""Time and memory of the metrics and of search against their bars: `python -m tests.bench.metrics`.

`evaluate` (all 7 metrics) of 4,940 images against torchmetrics' retrieval mAP and nDCG on the same input.
torchmetrics goes through its queries one by one, so its time is timed on every tenth query and multiplied;
the two times printed for half and all of those queries show that it grows in proportion (`--full` times all
4,940). The two take turns, and the median ratio counts, because other work on the machine disturbs both.
`per_label` against `evaluate`: the median ratio. Galleries of validation size, chance and search: the best
time. `--large` adds the peak of 20,000 × 20,000.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torchmetrics.retrieval import RetrievalMAP, RetrievalNormalizedDCG

from core.metrics import chance, evaluate, per_label
from core.retrieval.search import rank
from tests.bench import measured, sized, verdict

D = 128
IMAGES = sized(4940, 150)
RATIO_BAR, PEAK_BAR, LARGE_BAR = 10.0, 2.0, 4.0  # times as fast, GiB, GiB
LABEL_BAR = 3.0  # times as long as all 7 metrics: a full order instead of a coarse one, and 17 labels
SMALL_BAR, RANK_BAR = 10.0, 0.1  # milliseconds for 214 images, and for one query among 2,000


def batch(images: int, labels: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Random embeddings, and labels of 200 label sets (or all there are) with unequal frequency."""
    sets = (rng.random((200, labels)) < 3.0 / labels).astype(np.uint8)
    weight = 1 / np.arange(1, 201) ** 0.8
    y = sets[rng.choice(200, size=images, p=weight / weight.sum())]
    return rng.standard_normal((images, D)).astype(np.float32), y


def seconds(work: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def peak(work: Callable[[], object]) -> float:
    """Highest memory of this process while at work, in GiB."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest value so far
    work()
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**20


def torchmetrics_seconds(z: np.ndarray, y: np.ndarray, queries: np.ndarray) -> float:
    """mAP (≥ 1 shared label) and nDCG@100 (number of shared labels), the query itself left out."""
    unit, labels = torch.nn.functional.normalize(torch.tensor(z), dim=1), torch.tensor(y).float()
    others = torch.tensor(queries)[:, None] != torch.arange(len(z))
    query = torch.arange(len(queries)).repeat_interleave(len(z) - 1)
    score = (unit[queries] @ unit.T + 2)[others]
    target = (labels[queries] @ labels.T)[others].long()
    start = time.perf_counter()
    RetrievalMAP(empty_target_action="skip")(score, target > 0, indexes=query)
    RetrievalNormalizedDCG(empty_target_action="skip", top_k=100)(score, target, indexes=query)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="torchmetrics on all 4,940 queries")
    parser.add_argument("--large", action="store_true", help="also the peak of 20,000 × 20,000")
    parser.add_argument("--smoke", action="store_true", help="only go through it, small; no bar is judged")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    missed = []

    def report(name: str, unit: str, value: float, bar: float, least: bool = False) -> None:
        line = f"{name}, {unit}"
        print(f"{line:58} {value:9.3f}   bar {bar:.3g}")
        if not measured(name, value, unit, bar, least=least, seed=0):
            missed.append(line)

    inputs = {labels: batch(IMAGES, labels, rng) for labels in (17, 6)}
    for labels, (z, y) in inputs.items():
        used = peak(lambda z=z, y=y: evaluate(z, y))
        report(f"evaluate, {IMAGES:,} images, {labels} labels: peak", "GiB", used, PEAK_BAR)
    step, rounds = (1, 1) if args.full else (10, sized(5, 1))
    for labels, (z, y) in inputs.items():
        asked, every = np.arange(0, IMAGES, step), IMAGES / len(np.arange(0, IMAGES, step))
        torchmetrics_seconds(z, y, asked[:20])  # its first call also loads code
        halves = [2 * every * torchmetrics_seconds(z, y, asked[::2]) for _ in range(rounds)]
        pairs = [
            (seconds(lambda z=z, y=y: evaluate(z, y), 1), every * torchmetrics_seconds(z, y, asked))
            for _ in range(rounds)
        ]
        ours, theirs = np.median(pairs, axis=0)
        half = float(np.median(halves))
        print(
            f"{labels} labels: {ours:.2f} s, torchmetrics {theirs:.1f} s; judged by half as many queries "
            f"{half:.1f} s"
        )
        ratio = float(np.median([b / a for a, b in pairs]))
        report(f"evaluate with {labels} labels, as fast as torchmetrics", "×", ratio, RATIO_BAR, least=True)
    z, y = inputs[17]
    pairs = [
        (seconds(lambda: evaluate(z, y), 1), seconds(lambda: per_label(z, y), 1)) for _ in range(sized(5, 1))
    ]
    ratio = float(np.median([b / a for a, b in pairs]))
    report(f"per_label, {IMAGES:,} images, 17 labels", "× evaluate", ratio, LABEL_BAR)
    for images in (214, 411):
        z, y = batch(images, 17, rng)
        taken = 1e3 * seconds(lambda z=z, y=y: evaluate(z, y), sized(50, 2))
        bar = SMALL_BAR * (images / 214) ** 2
        report(f"evaluate, {images} images, 17 labels", "ms", taken, bar)
    z, y = batch(1000, 17, rng)
    taken = seconds(lambda: chance(y), sized(5, 1))
    report("chance, 1,000 images", "s", taken, 1.0)
    z, y = batch(2000, 17, rng)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    taken = 1e3 * seconds(lambda: rank(z[7], z, 6, exclude=7), sized(500, 5))
    report("rank, one query among 2,000", "ms", taken, RANK_BAR)
    if args.large:
        z, y = batch(20_000, 17, rng)
        used = peak(lambda: evaluate(z, y))
        report("evaluate, 20,000 images: peak", "GiB", used, LARGE_BAR)
        sets = (rng.random((20_000, 60)) < 0.3).astype(np.uint8)
        used = peak(lambda: evaluate(z, sets))
        report("the same, all label sets different: peak", "GiB", used, LARGE_BAR)
    print("all within their bars" if not missed else f"over the bar: {'; '.join(missed)}")
    return verdict(missed)


if __name__ == "__main__":
    raise SystemExit(main())
