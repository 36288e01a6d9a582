"""Real trainings on small drawn images: what they leave, that they repeat, stop and resume exactly."""

import errno
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save

from assets.demo import draw as demo
from core import device as devices
from core import metrics, runs
from core.encoder.model import at_once
from core.encoder.tensors import read_tensors
from core.errors import MaclError
from core.experiments import record
from core.files import PROJECT, lock, unlock, write_atomic
from core.losses.file import describe, load
from core.losses.own import keep
from core.runs import Run, RunConfig
from core.training import loop
from core.training.batches import batches, learning_rate
from core.training.learner import Learner
from core.training.log import Log
from tests.own_losses import own
from tests.small_runs import assert_same_outcome, curve, weights

KILLS = int(os.environ.get("MACL_TEST_KILLS", "4"))


def small(tiny: Path, **fields: Any) -> RunConfig:
    """Frozen features at 32 px, a few dozen steps: about a second."""
    given = {"image_size": 32, "batch_size": 16, "epochs": 4, "loss": "mulsupcon"} | fields
    return RunConfig.build("instant", dataset="folder", data_root=str(tiny), device="cpu", **given)


def full(tiny: Path, **fields: Any) -> RunConfig:
    """All of a ResNet-18 from scratch at 32 px, with augmentation."""
    given = {"image_size": 32, "batch_size": 16, "epochs": 3, "loss": "macl"} | fields
    return RunConfig.build("quick", dataset="folder", data_root=str(tiny), device="cpu", **given)


def test_a_run_leaves_everything_a_page_reads(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(small(tiny), tmp_path)
    told: set[str] = set()
    assert loop.run(run.path, lambda done, total, what: told.add(what)) == "finished"
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
    assert not (run.path / "best.safetensors").exists()


def test_labels_of_the_embeddings_belong_to_the_named_images(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(small(tiny, epochs=1), tmp_path)
    loop.run(run.path)
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
        assert loop.run(run.path) == "finished", run.error
    assert_same_outcome(a, b)
    assert curve(a) != curve(c)
    assert a.splits() != c.splits()


def prototypes(tiny: Path) -> RunConfig:
    return small(tiny, loss="lmsc", scheduler="cosine", keep="best", optimizer="adamw")


def own_loss(tiny: Path) -> RunConfig:
    """A person's own, which has a parameter and keeps a mean from step to step."""
    text = own(
        "self.mean.mul_(0.9).add_(z.detach().mean(0), alpha=0.1)\n"
        "        return ((z - self.mean) @ self.p).mean() + (z @ z.T * (1 - y @ y.T)).mean()",
        init="dim",
        body="self.p = nn.Parameter(torch.randn(dim))\n"
        "        self.register_buffer('mean', torch.zeros(dim))",
    )
    spec = describe(load(text, "mine"), "mine", text)
    return small(tiny, loss=keep(spec, text, offer=True).key)


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on most machines: what several threads add up has to be the same bits too."""
    before = torch.get_num_threads()
    monkeypatch.setattr(loop, "THREADS", 2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("make", [small, full, prototypes, own_loss])
def test_stopped_in_the_middle_of_an_epoch_and_resumed_is_as_if_never_stopped(
    make: Any, tiny: Path, tmp_path: Path
) -> None:
    whole, parts = (runs.create(make(tiny), tmp_path) for _ in range(2))
    assert loop.run(whole.path) == "finished", whole.error
    for stop_at in (5, 12):

        def stop(done: int, total: int, what: str, at: int = stop_at) -> None:
            if what == "training" and done == at:
                (parts.path / "stop").touch()

        assert loop.run(parts.path, stop) == "stopped"
        assert parts.state == "stopped"
        assert not (parts.path / "stop").exists()
    assert loop.run(parts.path) == "finished", parts.error
    assert_same_outcome(whole, parts)
    assert "resumed after step 13" in parts.log


def test_killed_at_random_moments_and_resumed_is_as_if_never_killed(tiny: Path, tmp_path: Path) -> None:
    whole, killed = (runs.create(full(tiny, epochs=6), tmp_path) for _ in range(2))
    assert loop.run(whole.path) == "finished", whole.error
    dice = random.Random(7)
    environment = {**os.environ, "MACL_CHECKPOINT_SECONDS": "0.2"}
    command = [sys.executable, "-m", "core.training", str(killed.path)]
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_resumably(number: signal.Signals, tiny: Path, tmp_path: Path) -> None:
    run = runs.create(full(tiny, epochs=500), tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "core.training", str(run.path)], stderr=subprocess.PIPE, text=True
    )
    while not run.history():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said.strip().endswith("stopped")
    assert run.state == "stopped"
    assert (run.path / "resume.safetensors").exists()


def test_a_diverging_run_fails_with_step_and_cause_and_keeps_its_checkpoint(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    run = runs.create(small(tiny, lr=1.0), tmp_path)
    real = Learner.step

    def poisoned(self: Learner, rows: np.ndarray, number: int) -> None:
        if number == 10:
            with torch.no_grad():
                next(self.encoder.parameters()).fill_(math.nan)
        real(self, rows, number)

    monkeypatch.setattr(Learner, "step", poisoned)
    assert loop.run(run.path) == "failed"
    assert run.state == "failed"
    assert "step 10 (epoch 2)" in run.error
    assert "learning rate 1.0" in run.error
    assert run.error.endswith("The last checkpoint is kept.")
    monkeypatch.setattr(Learner, "step", real)
    assert loop.run(run.path) == "finished"
    assert "resumed after step 7" in run.log


def test_a_run_has_one_trainer(tiny: Path, tmp_path: Path) -> None:
    from core.files import lock, unlock

    run = runs.create(small(tiny), tmp_path)
    assert lock(run.path / "lock")
    try:
        with pytest.raises(MaclError, match="another process"):
            loop.run(run.path)
    finally:
        unlock(run.path / "lock")


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "core.training", str(tmp_path / "nothing")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no run folder")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_stopped_while_images_are_prepared(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))  # where nothing has prepared them yet
    run = runs.create(small(tiny, image_size=40), tmp_path)
    stopped(run, "Preparing images", 0)
    assert run.state == "stopped"
    assert run.history() == []
    assert not run.progress()
    assert loop.run(run.path) == "finished", run.error


def test_missing_data_fails_with_a_way_out(tmp_path: Path) -> None:
    run = runs.create(RunConfig.build("instant", dataset="dlrsd", data_root=str(tmp_path / "none")), tmp_path)
    assert loop.run(run.path) == "failed"
    assert "none" in run.error
    assert "Traceback" not in run.error


def test_every_loss_sees_the_same_batches_and_the_same_start(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[np.ndarray]] = {}
    starts: list[torch.Tensor] = []
    real = Learner.step

    def note(self: Learner, rows: np.ndarray, number: int) -> None:
        if number == 1:
            starts.append(next(self.encoder.parameters()).detach().clone())
        seen.setdefault(self.config.loss, []).append(rows)
        real(self, rows, number)

    monkeypatch.setattr(Learner, "step", note)
    for loss in ("macl", "mulsupcon"):
        run = runs.create(small(tiny, loss=loss, epochs=2), tmp_path)
        assert loop.run(run.path) == "finished", run.error
    assert len(seen["macl"]) == 14
    for a, b in zip(seen["macl"], seen["mulsupcon"], strict=True):
        np.testing.assert_array_equal(a, b)
    assert torch.equal(*starts)


def test_best_on_validation_is_kept_when_asked_for(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(small(tiny, keep="best", epochs=6), tmp_path)
    assert loop.run(run.path) == "finished", run.error
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
    loop.run(run.path)
    for line in (run.path / "metrics.jsonl").read_text().splitlines():
        json.loads(line)


def stopped(run: Run, what: str, at: int = 8) -> None:
    """Train until `what` has come to `at`, and stop there."""

    def stop(done: int, total: int, now: str) -> None:
        if now == what and done >= at:
            (run.path / "stop").touch()

    assert loop.run(run.path, stop) == "stopped", run.error


def test_stopped_while_the_test_split_is_embedded_loses_nothing(tiny: Path, tmp_path: Path) -> None:
    whole, parts = (runs.create(prototypes(tiny), tmp_path) for _ in range(2))
    assert loop.run(whole.path) == "finished"
    stopped(parts, "test embeddings")
    assert loop.run(parts.path) == "finished", parts.error
    assert "resumed after step 28" in parts.log
    assert_same_outcome(whole, parts)


def test_a_damaged_checkpoint_is_named_and_can_be_given_up(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(small(tiny), tmp_path)
    stopped(run, "training")
    checkpoint = run.path / "resume.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert loop.run(run.path) == "failed"
    assert str(checkpoint) in run.error
    assert "delete it" in run.error
    assert "Traceback" not in run.log
    checkpoint.unlink()
    assert loop.run(run.path) == "finished"
    assert [row["step"] for row in run.history()] == [1, 7, 10, 14, 20, 21, 28]


def test_a_run_is_not_resumed_on_other_images(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(tiny, folder)
    run = runs.create(small(folder), tmp_path)
    stopped(run, "training")
    table = folder / "labels.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:100]))
    before = run.splits()
    assert loop.run(run.path) == "failed"
    assert "changed" in run.error
    assert run.splits() == before
    table.write_text("\n".join(lines))
    assert loop.run(run.path) == "finished"


def test_a_full_disk_fails_in_one_sentence(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.create(small(tiny), tmp_path)
    run.mark("submitted")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for module in ("training.loop", "training.checkpoint", "runs.folder"):
        monkeypatch.setattr(f"core.{module}.write_atomic", full)
    assert loop.run(run.path, submitted_only=True) == "failed"
    assert run.state == "failed"  # not queued: a worker would take it again and again
    assert "disk full?" in run.error
    monkeypatch.setattr("core.runs.folder.write_atomic", write_atomic)
    assert loop.run(run.path) == "failed"
    assert run.error.endswith("is full: make room, then resume the run")
    monkeypatch.undo()
    assert loop.run(run.path) == "finished"


def test_a_run_whose_folder_goes_away_ends_quietly(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(small(tiny), tmp_path)

    def remove(done: int, total: int, what: str) -> None:
        if what == "training" and done == 5:
            shutil.rmtree(run.path)

    assert loop.run(run.path, remove) == "failed"
    assert not run.path.exists()


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_gradient_that_is_not_finite_stops_the_run_at_its_step(
    clip: float, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.create(small(tiny, clip=clip), tmp_path)
    real = Learner.step

    def poisoned(self: Learner, rows: np.ndarray, number: int) -> None:
        if number == 4:
            next(self.encoder.parameters()).register_hook(lambda gradient: gradient * math.nan)
        real(self, rows, number)

    monkeypatch.setattr(Learner, "step", poisoned)
    assert loop.run(run.path) == "failed"
    assert "step 4 (epoch 1): the gradient is not finite" in run.error


@pytest.mark.parametrize("loss", ["macl", "oml", "lmsc"])
def test_a_device_that_is_not_waited_for_gives_the_same(
    loss: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses that are read with the next line of the curve; stopped between two lines as well."""
    waited, ahead = (runs.create(small(tiny, loss=loss), tmp_path) for _ in range(2))
    assert loop.run(waited.path) == "finished", waited.error
    monkeypatch.setattr(devices, "runs_ahead", lambda device: True)
    stopped(ahead, "training", 13)
    assert loop.run(ahead.path) == "finished", ahead.error
    assert_same_outcome(waited, ahead)


@pytest.mark.parametrize(("at", "epoch"), [(4, 1), (9, 2)])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_value_that_is_read_late_names_its_own_step(
    what: str, at: int, epoch: int, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "runs_ahead", lambda device: True)
    run = runs.create(small(tiny), tmp_path)
    real = Learner.step

    def spoilt(self: Learner, rows: np.ndarray, number: int) -> None:
        real(self, rows, number)
        if number == at:
            self.unread[-1][1][0 if what == "loss" else 1] = math.nan

    monkeypatch.setattr(Learner, "step", spoilt)
    with pytest.raises(MaclError, match=rf"step {at} \(epoch {epoch}\): the {what} is not finite"):
        loop.train(run, Log(run, None))


def test_threads_of_a_resumed_run_are_not_those_of_the_next(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(small(tiny), tmp_path)
    stopped(run, "training")
    tensors, meta = read_tensors(run.path / "resume.safetensors")
    meta["meta"] = json.dumps(json.loads(meta["meta"]) | {"threads": loop.THREADS + 1})
    (run.path / "resume.safetensors").write_bytes(save(tensors, meta))
    assert loop.run(run.path) == "finished", run.error
    assert f"{loop.THREADS + 1} threads" in run.scores()["device"]
    following = runs.create(small(tiny, epochs=1), tmp_path)
    assert loop.run(following.path) == "finished"
    assert torch.get_num_threads() == loop.THREADS


@pytest.mark.parametrize("loss", ["macl", "lmsc", "oml"])
def test_ten_images_one_batch_and_a_label_only_tests_hold(loss: str, tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ten images"
    folder.mkdir()
    for index in range(10):
        shutil.copy(tiny / f"scene{index:03d}.png", folder)
    config = small(folder, loss=loss, keep="best", batch_size=8192)
    write_table(folder, range(10), [])
    run = runs.create(config, tmp_path)
    stopped(run, "training", 2)
    held = [int(name[5:8]) for name in run.splits()["test"]]
    write_table(folder, range(10), held)
    again = runs.create(config, tmp_path)
    assert loop.run(again.path) == "finished", again.error
    assert again.splits() == run.splits()
    z, y = again.embeddings()
    assert np.isfinite(z).all()
    assert y[:, 2].tolist() == [1, 1]
    assert again.scores()["epoch"] == 4
    assert "keeping the last epoch" in again.log
    assert len(again.history()) == 4  # one batch of seven images for each epoch


def write_table(folder: Path, images: range, rare: list[int]) -> None:
    """Labels a and b by turns, and "rare" for some."""
    lines = [f"scene{i:03d}.png,{i % 2},{1 - i % 2},{int(i in rare)}" for i in images]
    (folder / "labels.csv").write_text("\n".join(["image,a,b,rare", *lines]))


def test_frames_show_the_way_and_change_nothing(tiny: Path, tmp_path: Path) -> None:
    plain = runs.create(small(tiny, epochs=5, embed_every=0), tmp_path)
    framed = runs.create(small(tiny, epochs=5, embed_every=2), tmp_path)
    assert loop.run(plain.path) == loop.run(framed.path) == "finished"
    assert_same_outcome(plain, framed)
    assert plain.frames() == []
    assert framed.frames() == [0, 2, 4, 5]
    z, _ = framed.embeddings()
    np.testing.assert_allclose(framed.frame(5), z, atol=1e-3)
    assert framed.frame(0).dtype == np.float32
    moved = [float(np.linalg.norm(framed.frame(epoch) - z, axis=1).mean()) for epoch in (0, 2, 4)]
    assert moved[0] > moved[1] > moved[2] > 0.01
    with pytest.raises(MaclError, match="cannot be read"):
        framed.frame(3)


def test_a_resumed_run_has_the_frames_of_one_that_was_not_stopped(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = runs.create(small(tiny, embed_every=1), tmp_path)
    assert loop.run(whole.path) == "finished"
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    parts = runs.create(small(tiny, embed_every=1), tmp_path)

    def stop(done: int, total: int, what: str) -> None:
        if what == "training" and done == 10:  # in the second epoch of seven steps
            parts.mark("stop")

    assert loop.run(parts.path, stop) == "stopped"
    assert parts.frames() == [0, 1]
    shutil.copy(whole.path / "frames" / "00000.safetensors", parts.path / "frames" / "00003.safetensors")
    assert loop.run(parts.path) == "finished"
    assert_same_outcome(whole, parts)
    assert whole.frames() == parts.frames() == [0, 1, 2, 3, 4]
    for epoch in whole.frames():
        np.testing.assert_array_equal(whole.frame(epoch), parts.frame(epoch))


def test_two_recorded_runs_show_how_a_space_forms() -> None:
    """Their last frame is where the recorded embeddings are, up to half precision."""
    recorded = PROJECT / "assets" / "recorded"
    for name in record.WITH_FRAMES:
        run = Run(recorded / name)
        assert run.frames() == [0, 3, 6, 9, 12, 15]
        z, _ = run.embeddings()
        assert np.abs(run.frame(15) - z).max() < 2e-3
        assert np.abs(run.frame(0) - z).max() > 0.1


@pytest.mark.parametrize(("size", "many"), [(32, 256), (96, 256), (256, 36), (1024, 2)])
def test_large_images_are_embedded_in_fewer_at_once(size: int, many: int) -> None:
    """Memory grows with the square of the side; a batch that can be trained can be embedded too."""
    assert at_once(size) == many


def test_the_time_left_counts_from_where_a_resumed_run_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    log = Log(run, None)
    clock = iter([100.0, 110.0, 120.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    found = []
    for done in (90, 95, 100):
        log.show(done, 120, "training")
        found.append(run.progress()["eta_s"])
    assert found == [None, 50.0, 40.0]


def test_a_finished_run_is_not_trained_again_over_itself(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(small(tiny, epochs=1), tmp_path)
    assert loop.run(run.path) == "finished"
    before = {path.name: path.stat().st_mtime_ns for path in run.path.iterdir() if path.name != "lock"}
    assert loop.run(run.path) == "finished"
    assert {p.name: p.stat().st_mtime_ns for p in run.path.iterdir() if p.name != "lock"} == before
    assert lock(run.path / "lock")
    unlock(run.path / "lock")


def test_weights_ruined_by_the_last_step_of_an_epoch_are_a_divergence(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of a step is that before its update; a batch of the whole split leaves no step to notice."""
    run = runs.create(small(tiny, epochs=2, batch_size=112), tmp_path)
    real = Learner.step

    def ruins(self: Learner, rows: np.ndarray, number: int) -> None:
        real(self, rows, number)
        with torch.no_grad():
            next(self.encoder.parameters()).fill_(math.nan)

    monkeypatch.setattr(Learner, "step", ruins)
    assert loop.run(run.path) == "failed"
    assert "step 1 (epoch 1): the embeddings are not finite" in run.error
    assert "checkpoint" not in run.error  # there is none
    assert not (run.path / "embeddings.safetensors").exists()


def test_a_resumed_run_does_without_the_weights_it_began_with(tiny: Path, tmp_path: Path) -> None:
    source = runs.create(full(tiny, epochs=1), tmp_path)
    assert loop.run(source.path) == "finished"
    start = tmp_path / "start.safetensors"
    tensors = load_file(source.path / "model.safetensors")
    prefix = "encoder.backbone.network."
    save_file({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}, start)
    run = runs.create(full(tiny, weights=str(start)), tmp_path)
    stopped(run, "training", 5)
    start.unlink()
    assert loop.run(run.path) == "finished", run.error


def test_what_a_killed_process_left_half_written_goes_with_the_next_start(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(small(tiny, epochs=1), tmp_path)
    half = run.path / ".resume.safetensors.0a1b2c3d"
    half.write_bytes(b"half")
    assert loop.run(run.path) == "finished"
    assert not half.exists()


def test_a_cpu_without_memory_is_one_sentence(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(self: Learner, rows: np.ndarray, number: int) -> None:
        torch.empty(1 << 60, dtype=torch.uint8)

    monkeypatch.setattr(Learner, "step", too_much)
    run = runs.create(small(tiny), tmp_path)
    assert loop.run(run.path) == "failed"
    assert run.error == "there is not enough memory: lower the batch size or the image size"
