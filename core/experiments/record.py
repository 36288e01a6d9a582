"""Record the runs on the demo set that come with the product, for the first start (`make demo`).

A recorded run is a run folder without weights and log, marked `recorded`; the app shows it beside others.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from core import runs
from core.files import PROJECT
from core.runs import RunConfig
from core.training import loop

LOSSES = ("supcon_any", "lmsc", "mulsupcon", "macl", "macl_nested")
SEEDS = (0, 1, 2)
WITH_FRAMES = ("recorded-mulsupcon-s0", "recorded-macl-s0")  # 0.6 MB each, to show how a space forms
FILES = (
    "config.json",
    "metrics.jsonl",
    "data.json",
    "splits.json",
    "classes.json",
    "embeddings.safetensors",
    "scores.json",
)


def record(folder: Path) -> None:
    """Train every loss with every seed (instant preset, CPU) and replace the content of `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        finished = []
        for loss in LOSSES:
            for seed in SEEDS:
                config = RunConfig.build("instant", dataset="demo", loss=loss, seed=seed, device="cpu")
                run = runs.create(config, Path(scratch))
                if loop.run(run.path) != "finished":
                    sys.exit(f"{run.id}: {run.error}")
                name = f"recorded-{loss}-s{seed}"
                finished.append((name, run))
                print(f"{name}: mAP Easy {100 * run.scores()['metrics']['map_easy']:.2f}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        for name, run in finished:
            (folder / name).mkdir(parents=True)
            for file in FILES:
                shutil.copy(run.path / file, folder / name / file)
            if name in WITH_FRAMES:
                shutil.copytree(run.path / "frames", folder / name / "frames")
            (folder / name / "recorded").touch()


if __name__ == "__main__":
    record(PROJECT / "assets" / "recorded")
