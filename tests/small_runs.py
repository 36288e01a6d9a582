"""Runs of a second, waiting for what other processes do with them, and comparing what came of them."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from core import metrics
from core.runs import Run, RunConfig, create, without_nan


def config(tiny: Path, preset: str = "instant", **fields: Any) -> RunConfig:
    """Two epochs on the folder of drawn scenes."""
    given = {"image_size": 32, "batch_size": 16, "epochs": 2, "loss": "mulsupcon"} | fields
    return RunConfig.build(preset, dataset="folder", data_root=str(tiny), **given)


def by_hand(run: Run, noise: float, seed: int = 0) -> None:
    """Put embeddings that follow from labels and seed alone in the place of trained ones, and their scores.

    What a training ranks differs from processor to processor, and no test of what becomes of a ranking may
    rest on it. The weights stay as they were trained, so that an image that is embedded anew lies elsewhere.
    """
    _, y = run.embeddings()
    dice = np.random.default_rng(seed)
    towards = y @ dice.standard_normal((y.shape[1], run.config.dim))  # (n, D)
    away = noise * dice.standard_normal(towards.shape)
    epochs = run.frames()
    for epoch in epochs:
        z = _unit(epoch / epochs[-1] * towards + away).astype(np.float16)
        save_file({"z": z}, run.path / "frames" / f"{epoch:05d}.safetensors")
    z = _unit(towards + away)
    save_file({"z": z, "y": y}, run.path / "embeddings.safetensors")
    scores = run.scores() | {"metrics": without_nan(metrics.evaluate(z, y))}
    run.mark("scores.json", json.dumps(scores))


def scored_before(run: Run, *keys: str) -> None:
    """Take metrics out of its scores, as if it had been scored by a version that did not have them yet."""
    scores = run.scores()
    for part in ("metrics", "chance", "oracle"):
        for key in keys:
            del scores[part][key]
    run.mark("scores.json", json.dumps(scores))


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def of_quick_start(root: Path, finished_runs: Path) -> list[Run]:
    """Finished runs that pass for those of the quick start, in its order."""
    from app.home import quick_start

    made = []
    for config in quick_start.configs():
        run = create(config, root)
        (source,) = finished_runs.glob(f"*-{config.loss}-*")
        for file in source.iterdir():
            if file.is_file() and file.name != "config.json":
                shutil.copy(file, run.path)
        made.append(run)
    return made


def wait(for_what: Callable[[], bool], seconds: float = 120) -> None:
    """Until it is true; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not for_what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def curve(run: Run) -> list[tuple[float, ...]]:
    """The curve without the two columns that depend on the clock."""
    return [
        tuple(value for key, value in row.items() if key not in ("images_per_s", "seconds"))
        for row in run.history()
    ]


def weights(run: Run) -> dict[str, np.ndarray]:
    return load_file(run.path / "model.safetensors")


def assert_same_outcome(a: Run, b: Run) -> None:
    assert curve(a) == curve(b)
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)
    for key in ("metrics", "epoch"):
        assert a.scores()[key] == b.scores()[key]
