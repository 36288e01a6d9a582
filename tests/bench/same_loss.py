"""Two initialisations of one loss must come out "not different": real trainings, the test over seeds.

`python -m tests.bench.same_loss [--dataset dlrsd --data-root DLRSD.zip] [--loss mulsupcon]`: instant runs on
the splits of 10 seeds with 4 initialisations each; a trial draws two different initialisations per split. The
bar: not different in at least 90 % of 50 trials, for every metric.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np

import core  # noqa: F401  before torch: it tells OpenMP not to spin
from core import runs
from core.metrics import METRICS
from core.metrics.significance import LEVEL, corrected_t
from core.runs import RunConfig
from core.training import loop
from tests.bench import measured, sized, verdict

SEEDS, STARTS, TRIALS, BAR = *sized((10, 4, 50), (3, 2, 2)), 0.9
CHOSEN = sized((3, 5, 10), (3,))  # seeds of a trial


def scores(config: RunConfig, start: int, folder: Path) -> tuple[list[float], float]:
    """The 7 metrics in percent of one training from another initialisation, and n_test / n_train."""
    real = loop.torch.manual_seed
    run = runs.create(config, folder)
    with patch.object(loop.torch, "manual_seed", lambda seed: real(seed + 7919 * start)):
        if loop.run(run.path) != "finished":
            sys.exit(f"{run.id}: {run.error}")
    splits = run.splits()
    metrics = run.scores()["metrics"]
    return [100 * metrics[key] for key in METRICS], len(splits["test"]) / len(splits["train"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--data-root")
    parser.add_argument("--loss", default="mulsupcon")
    parser.add_argument("--smoke", action="store_true", help="only go through it, small; no bar is judged")
    given = parser.parse_args()
    values = np.empty((SEEDS, STARTS, len(METRICS)))
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(SEEDS):
            config = RunConfig.build(
                "instant",
                dataset=given.dataset,
                data_root=given.data_root,
                loss=given.loss,
                seed=seed,
                device="cpu",
                embed_every=0,
                epochs=sized(15, 1),
            )
            for start in range(STARTS):
                values[seed, start], ratio = scores(config, start, Path(folder))
    print(f"{given.loss} on {given.dataset}, instant, cpu: {SEEDS} splits × {STARTS} initialisations")
    inside = values.std(axis=1, ddof=1).mean(0)
    for key, spread in zip(METRICS, inside, strict=True):
        print(f"  {METRICS[key]}: std over initialisations of one split {spread:.2f} points")
    rng = np.random.default_rng(0)
    worst = 1.0
    for n in CHOSEN:
        alike = np.zeros(len(METRICS))
        plain = np.zeros(len(METRICS))
        for _ in range(TRIALS):
            chosen = rng.permutation(SEEDS)[:n]
            pairs = np.array([rng.permutation(STARTS)[:2] for _ in chosen])
            differences = values[chosen, pairs[:, 0]] - values[chosen, pairs[:, 1]]  # (n, 7)
            alike += [corrected_t(column, ratio).p >= LEVEL for column in differences.T]
            plain += [corrected_t(column, 0.0).p >= LEVEL for column in differences.T]
        worst = min(worst, float(alike.min()) / TRIALS)
        print(
            f"  {n} seeds: not different in {alike.min():.0f} to {alike.max():.0f} of {TRIALS} trials "
            f"(bar {BAR * TRIALS:.0f}); with the uncorrected test {plain.min():.0f} to {plain.max():.0f}"
        )
    what = f"{given.loss} against itself on {given.dataset}: not told apart"
    return verdict(
        not measured(what, worst, "of all trials", BAR, least=True, device="cpu", preset="instant")
    )


if __name__ == "__main__":
    sys.exit(main())
