"""Real trainings on small drawn images: what they leave, that they repeat, stop and resume exactly."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from core import metrics, runs, train
from core.batches import batches, learning_rate
from core.data import demo
from core.errors import MaclError
from core.runs import Run, RunConfig

KILLS = int(os.environ.get("MACL_TEST_KILLS", "4"))


def small(tiny: Path, **fields: Any) -> RunConfig:
    """Frozen features at 32 px, a few dozen steps: about a second."""
    given = {"image_size": 32, "batch_size": 16, "epochs": 4, "loss": "mulsupcon"} | fields
    return RunConfig.build("instant", dataset="folder", data_root=str(tiny), device="cpu", **given)


def full(tiny: Path, **fields: Any) -> RunConfig:
    """All of a ResNet-18 from scratch at 32 px, with augmentation."""
    given = {"image_size": 32, "batch_size": 16, "epochs": 3, "loss": "macl"} | fields
    return RunConfig.build("quick", dataset="folder", data_root=str(tiny), device="cpu", **given)


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
    assert a.scores()["metrics"] == b.scores()["metrics"]


def test_a_run_leaves_everything_a_page_reads(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(small(tiny), tmp_path)
    told: set[str] = set()
    assert train.run(run.path, lambda done, total, what: told.add(what)) == "finished"
    assert run.state == "finished"
    assert "training" in told
    history = run.history()
    assert history[-1]["step"] == 4 * (112 // 16)
    assert history[-1]["epoch"] == 4
    assert {"loss", "lr", "images_per_s", "seconds"} <= history[0].keys()
    assert sum("val_map_sim" in row for row in history) == 4
    assert history[-1]["loss"] < history[0]["loss"]
    z, y = run.embeddings()
    assert z.shape == (32, 128)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
    assert run.classes() == list(demo.CLASSES)
    splits = run.splits()
    assert (len(splits["train"]), len(splits["val"]), len(splits["test"])) == (112, 16, 32)
    scores = run.scores()
    assert scores["metrics"] == metrics.evaluate(z, y)
    assert scores["chance"]["map_easy"] < scores["metrics"]["map_easy"] < scores["oracle"]["map_easy"]
    assert "head" in next(iter(weights(run))) or any("encoder." in key for key in weights(run))
    assert "device: cpu" in run.log
    assert not (run.path / "resume.safetensors").exists()


def test_labels_of_the_embeddings_belong_to_the_named_images(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(small(tiny, epochs=1), tmp_path)
    train.run(run.path)
    _, y = run.embeddings()
    table = {
        line.split(",")[0].removesuffix(".png"): line.split(",")[1:]
        for line in (tiny / "labels.csv").read_text().splitlines()[1:]
    }
    for name, row in zip(run.splits()["test"], y, strict=True):
        assert list(map(int, table[Path(name).stem])) == row.tolist()


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tiny: Path, tmp_path: Path) -> None:
    a, b, c = (runs.create(full(tiny, seed=seed, epochs=1), tmp_path) for seed in (0, 0, 1))
    for run in (a, b, c):
        assert train.run(run.path) == "finished", run.error
    assert_same_outcome(a, b)
    assert curve(a) != curve(c)
    assert a.splits() != c.splits()


@pytest.mark.parametrize("make", [small, full])
def test_stopped_in_the_middle_of_an_epoch_and_resumed_is_as_if_never_stopped(
    make: Any, tiny: Path, tmp_path: Path
) -> None:
    whole, parts = (runs.create(make(tiny), tmp_path) for _ in range(2))
    assert train.run(whole.path) == "finished", whole.error
    for stop_at in (5, 12):

        def stop(done: int, total: int, what: str, at: int = stop_at) -> None:
            if what == "training" and done == at:
                (parts.path / "stop").touch()

        assert train.run(parts.path, stop) == "stopped"
        assert parts.state == "stopped"
        assert not (parts.path / "stop").exists()
    assert train.run(parts.path) == "finished", parts.error
    assert_same_outcome(whole, parts)
    assert "resumed after step 13" in parts.log


def test_killed_at_random_moments_and_resumed_is_as_if_never_killed(tiny: Path, tmp_path: Path) -> None:
    whole, killed = (runs.create(full(tiny, epochs=6), tmp_path) for _ in range(2))
    assert train.run(whole.path) == "finished", whole.error
    dice = random.Random(7)
    environment = {**os.environ, "MACL_CHECKPOINT_SECONDS": "0.2"}
    command = [sys.executable, "-m", "core.train", str(killed.path)]
    for _ in range(KILLS):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while killed.state != "running" and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(dice.uniform(0, 3))
        process.kill()
        process.wait()
        assert killed.state in ("interrupted", "finished")
        if killed.state == "finished":
            break
    if killed.state != "finished":
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert killed.state == "finished"
    assert_same_outcome(whole, killed)


def test_sigterm_stops_resumably(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(full(tiny, epochs=500), tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "core.train", str(run.path)], stderr=subprocess.PIPE, text=True
    )
    while not run.history():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said.strip().endswith("stopped")
    assert run.state == "stopped"
    assert (run.path / "resume.safetensors").exists()


def test_a_diverging_run_fails_with_step_and_cause_and_keeps_its_checkpoint(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
    run = runs.create(small(tiny, lr=1.0), tmp_path)
    real = train.Trainer._step

    def poisoned(self: train.Trainer, rows: np.ndarray) -> float:
        if self.step == 9:
            with torch.no_grad():
                next(self.encoder.parameters()).fill_(math.nan)
        return real(self, rows)

    monkeypatch.setattr(train.Trainer, "_step", poisoned)
    assert train.run(run.path) == "failed"
    assert run.state == "failed"
    assert "step 10 (epoch 2)" in run.error
    assert "learning rate 1.0" in run.error
    monkeypatch.setattr(train.Trainer, "_step", real)
    assert train.run(run.path) == "finished"
    assert "resumed after step 7" in run.log


def test_a_run_has_one_trainer(tiny: Path, tmp_path: Path) -> None:
    from core.files import lock, unlock

    run = runs.create(small(tiny), tmp_path)
    assert lock(run.path / "lock")
    try:
        with pytest.raises(MaclError, match="another process"):
            train.run(run.path)
    finally:
        unlock(run.path / "lock")


def test_missing_data_fails_with_a_way_out(tmp_path: Path) -> None:
    run = runs.create(RunConfig.build("instant", dataset="dlrsd", data_root=str(tmp_path / "none")), tmp_path)
    assert train.run(run.path) == "failed"
    assert "none" in run.error
    assert "Traceback" not in run.error


def test_every_loss_sees_the_same_batches_and_the_same_start(tiny: Path, tmp_path: Path) -> None:
    seen: dict[str, list[np.ndarray]] = {}
    starts = []
    for loss in ("macl", "mulsupcon"):
        run = runs.create(small(tiny, loss=loss, epochs=2), tmp_path)
        trainer = train.Trainer(run, train.Log(run, None))
        rows = seen.setdefault(loss, [])
        real = trainer._step

        def note(batch: np.ndarray, rows: list[np.ndarray] = rows, real: Any = real) -> float:
            rows.append(batch)
            return float(real(batch))

        trainer._step = note  # type: ignore[method-assign]
        finish = trainer._restore

        def start(trainer: Any = trainer, finish: Any = finish) -> None:
            finish()
            starts.append(next(trainer.encoder.parameters()).detach().clone())

        trainer._restore = start  # type: ignore[method-assign]
        trainer.train()
    assert len(seen["macl"]) == 14
    for a, b in zip(seen["macl"], seen["mulsupcon"], strict=True):
        np.testing.assert_array_equal(a, b)
    assert torch.equal(*starts)


def test_best_on_validation_is_kept_when_asked_for(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(small(tiny, keep="best", epochs=6), tmp_path)
    assert train.run(run.path) == "finished", run.error
    validated = [row["val_map_medium"] for row in run.history() if "val_map_medium" in row]
    assert run.scores()["epoch"] == validated.index(max(validated)) + 1


def test_batches_cover_the_split_without_repeats() -> None:
    rows = np.arange(100, 210)
    epoch = batches(rows, 32, seed=1, epoch=0)
    assert [len(batch) for batch in epoch] == [32, 32, 32]
    together = np.concatenate(epoch)
    assert len(set(together.tolist())) == 96
    assert set(together.tolist()) <= set(rows.tolist())
    again = batches(rows, 32, seed=1, epoch=0)
    other = batches(rows, 32, seed=1, epoch=1)
    np.testing.assert_array_equal(together, np.concatenate(again))
    assert not np.array_equal(together, np.concatenate(other))
    assert [len(batch) for batch in batches(rows[:5], 32, seed=1, epoch=0)] == [5]


def test_learning_rate_schedules() -> None:
    step = RunConfig.build("paper")
    assert [learning_rate(step, epoch) for epoch in (0, 14, 15, 30)] == pytest.approx(
        [0.001, 0.001, 0.0008, 0.00064]
    )
    cosine = RunConfig.build("paper", scheduler="cosine")
    assert learning_rate(cosine, 0) == 0.001
    assert learning_rate(cosine, 50) == pytest.approx(0.0005)
    assert learning_rate(RunConfig.build("paper", scheduler="constant"), 99) == 0.001


def test_one_line_of_json_per_row(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(small(tiny, epochs=1), tmp_path)
    train.run(run.path)
    for line in (run.path / "metrics.jsonl").read_text().splitlines():
        json.loads(line)
