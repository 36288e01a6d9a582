"""A run is given more epochs, finished or not, and comes to what a run that was started with them gives."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import cli, runs
from core.errors import MaclError
from core.runs import Run, RunConfig
from core.training import loop
from tests.small_runs import assert_same_outcome, config, weights

RESULTS = ("scores.json", "embeddings.safetensors", "model.safetensors")


def made(tiny: Path, root: Path, *, done: bool = True, **fields: Any) -> Run:
    run = runs.create(config(tiny, **{"epochs": 3, "device": "cpu"} | fields), root)
    if done:
        assert loop.run(run.path) == "finished", run.error
    return run


def results(run: Run) -> list[bytes]:
    return [(run.path / name).read_bytes() for name in RESULTS]


def interrupt(run: Run, at: int) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if what == "training" and done >= at:
            (run.path / "stop").touch()

    assert loop.run(run.path, stop) == "stopped", run.error


@pytest.mark.parametrize(
    "fields",
    [
        {"step_epochs": 2},
        {"scheduler": "constant", "loss": "lmsc", "optimizer": "adamw", "keep": "best"},
        {"loss": "lproto", "keep": "best", "patience": 4, "step_epochs": 1, "step_factor": 0.1},
        {"preset": "quick", "backbone": "test_resnet", "loss": "macl", "step_epochs": 2, "embed_every": 1},
    ],
    ids=str,
)
def test_a_finished_run_with_more_epochs_is_one_that_was_started_with_them(
    fields: dict[str, Any], tiny: Path, tmp_path: Path
) -> None:
    whole = made(tiny, tmp_path, epochs=6, **fields)
    run = made(tiny, tmp_path, **fields)
    runs.extend(run, 6)
    assert loop.run(run.path) == "finished", run.error
    assert_same_outcome(whole, run)
    np.testing.assert_array_equal(whole.embeddings()[0], run.embeddings()[0])
    assert whole.scores()["epochs"] == run.scores()["epochs"]
    assert whole.frames() == run.frames()
    assert run.config == whole.config
    assert (run.path / "data.json").read_bytes() == (whole.path / "data.json").read_bytes()
    assert [(row["from"], row["to"]) for row in runs.changes(run)] == [(3, 6)]
    assert "trains on to 6 epochs; it began with 3" in run.log
    assert not runs.changes(whole)


def test_stopped_and_given_more_epochs_twice(tiny: Path, tmp_path: Path) -> None:
    whole = made(tiny, tmp_path, epochs=6)
    run = made(tiny, tmp_path, done=False)
    interrupt(run, 9)
    runs.extend(run, 4)
    runs.extend(run, 5)
    assert run.state == "stopped"
    interrupt(run, 23)
    runs.extend(run, 6)
    assert loop.run(run.path) == "finished", run.error
    assert_same_outcome(whole, run)
    assert [(row["from"], row["to"]) for row in runs.changes(run)] == [(3, 4), (4, 5), (5, 6)]


def test_old_results_stay_until_the_new_ones_are_there(tiny: Path, tmp_path: Path) -> None:
    whole = made(tiny, tmp_path, epochs=6, keep="best")
    run = made(tiny, tmp_path, keep="best")
    before = results(run)
    runs.extend(run, 6)
    assert (run.state, run.finished, runs.results_of(run)) == ("interrupted", False, 3)
    interrupt(run, 30)
    assert run.state == "stopped"
    assert results(run) == before
    assert loop.run(run.path) == "finished", run.error
    assert runs.results_of(run) is None
    assert results(run) != before
    assert_same_outcome(whole, run)


@pytest.mark.parametrize("further", [False, True])
def test_the_way_back_to_the_results_that_it_has(further: bool, tiny: Path, tmp_path: Path) -> None:
    run = made(tiny, tmp_path, embed_every=1)
    before, curve = results(run), run.history()
    runs.extend(run, 6)
    if further:
        interrupt(run, 30)
    else:
        run.mark("error.txt", "its images are gone")
    runs.take_back(run)
    assert run.state == "finished"
    assert run.config.epochs == 3
    assert results(run) == before
    assert run.history() == curve
    assert run.frames() == [0, 1, 2, 3]
    with pytest.raises(MaclError, match="does not train on"):
        runs.take_back(run)
    if further:
        with pytest.raises(MaclError, match="no checkpoint to go on from"):
            runs.extend(run, 6)
    else:
        runs.extend(run, 4)
        assert loop.run(run.path) == "finished"
        assert_same_outcome(made(tiny, tmp_path, epochs=4), run)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_stopped_or_killed_while_the_new_results_are_made(
    keep: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling(monkeypatch, 9)  # the best epoch is the last
    run = made(tiny, tmp_path, keep=keep)
    before = results(run)
    runs.extend(run, 6)

    def stop(done: int, total: int, what: str) -> None:
        if what == "test embeddings":
            run.mark("stop")

    assert loop.run(run.path, stop) == "stopped"
    assert results(run) == before
    real = loop.write_atomic

    def dies(path: Path, content: bytes | str) -> None:
        if path.name == "embeddings.safetensors":
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(loop, "write_atomic", dies)
    with pytest.raises(KeyboardInterrupt):
        loop.run(run.path)
    monkeypatch.setattr(loop, "write_atomic", real)
    assert run.state == "interrupted"
    with pytest.raises(MaclError, match="has its new weights already: resume it"):
        runs.take_back(run)
    assert loop.run(run.path) == "finished", run.error
    assert_same_outcome(made(tiny, tmp_path, keep=keep, epochs=6), run)


def test_killed_while_it_trains_on_nothing_is_lost(tiny: Path, tmp_path: Path) -> None:
    run = made(tiny, tmp_path, preset="quick", loss="macl")
    before = results(run)
    runs.extend(run, 500)
    command = [sys.executable, "-m", "core.training", str(run.path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not any(row["step"] > 25 for row in run.history()):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run.state == "interrupted"
    assert results(run) == before
    runs.take_back(run)
    assert run.state == "finished"
    assert [row["epoch"] for row in run.history()][-1] == 3


@pytest.mark.parametrize("name", ["config.json", runs.more.NOTE])
def test_killed_in_the_middle_of_the_change_it_goes_on_or_back(
    name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tiny, tmp_path)
    before, real = results(run), Run.mark

    def dies(self: Run, marker: str, text: str = "") -> None:
        if marker == name:
            raise KeyboardInterrupt
        real(self, marker, text)

    monkeypatch.setattr(Run, "mark", dies)
    with pytest.raises(KeyboardInterrupt):
        runs.extend(run, 6)
    monkeypatch.undo()
    assert run.config.epochs == 3
    assert results(run) == before
    assert loop.run(run.path) == "finished", run.error
    assert run.scores()["epochs"] == 3
    runs.extend(run, 4)
    assert loop.run(run.path) == "finished", run.error
    assert_same_outcome(made(tiny, tmp_path, epochs=4), run)


def test_what_cannot_be_trained_on_says_why_in_one_sentence(tiny: Path, tmp_path: Path) -> None:
    def refused(run: Run, epochs: int, words: str) -> None:
        before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
        with pytest.raises(MaclError, match=words) as caught:
            runs.extend(run, epochs)
        assert "\n" not in str(caught.value)
        assert {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == before

    run = made(tiny, tmp_path, epochs=1)
    refused(run, 1, "need more than the 1 epochs that .* has, got 1")
    refused(run, 10_001, "epochs: need at most 10000, got 10001")
    (run.path / "resume.safetensors").unlink()  # as earlier versions did
    refused(run, 2, "has no checkpoint to go on from .*: start a new run with 2 epochs")
    refused(made(tiny, tmp_path, epochs=1, scheduler="cosine"), 2, "has a cosine schedule")
    run.mark("recorded")
    refused(run, 2, "came with the product")


def test_a_run_that_is_trained_now_is_not_changed(tiny: Path, tmp_path: Path) -> None:
    from core.files import lock, unlock

    run = made(tiny, tmp_path, done=False)
    assert lock(run.path / "lock")
    try:
        with pytest.raises(MaclError, match="is running: stop it first"):
            runs.extend(run, 6)
    finally:
        unlock(run.path / "lock")
    assert run.config.epochs == 3


def test_an_edited_number_of_epochs_is_still_refused(tiny: Path, tmp_path: Path) -> None:
    """Even after a change that was asked for: it must be the one that was noted."""
    run = made(tiny, tmp_path)
    runs.extend(run, 6)
    fields = json.loads((run.path / "config.json").read_text())
    run.mark("config.json", json.dumps(fields | {"epochs": 8}))
    assert loop.run(run.path) == "failed"
    assert "config.json says epochs 8, but this run began with epochs 3" in run.error


# -- early stopping -----------------------------------------------------------------------------------------


def falling(monkeypatch: pytest.MonkeyPatch, best: int) -> None:
    """Let validation be best after this epoch, whatever a training ranks."""
    real = loop.validate

    def validate(training: loop.Training, epoch: int) -> dict[str, float | None]:
        evaluate = loop.metrics.evaluate
        with pytest.MonkeyPatch.context() as patch:
            value = 1 - abs(epoch - best) / 1000
            patch.setattr(loop.metrics, "evaluate", lambda *_: evaluate(*_) | {"map_medium": value})
            return real(training, epoch)

    monkeypatch.setattr(loop, "validate", validate)


@pytest.mark.parametrize("stops", [(), (10,), (16, 26)])
def test_patience_ends_a_run_where_nothing_gets_better(
    stops: tuple[int, ...], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling(monkeypatch, 2)
    best = made(tiny, tmp_path, epochs=2)
    run = made(tiny, tmp_path, done=False, epochs=30, keep="best", patience=3)
    for at in stops:
        interrupt(run, at)
    assert loop.run(run.path) == "finished", run.error
    assert run.history()[-1]["epoch"] == 5
    assert (run.scores()["epoch"], run.scores()["epochs"]) == (2, 5)
    assert "stopped early after epoch 5 of 30: none was better on validation for 3 epochs" in run.log
    for key, value in weights(best).items():
        np.testing.assert_array_equal(value, weights(run)[key])
    with pytest.raises(MaclError, match=r"stopped early after epoch 5, .* with a patience of more than 3"):
        runs.extend(run, 60)


def test_stopped_while_an_early_end_is_scored_it_ends_there_all_the_same(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling(monkeypatch, 1)
    run = made(tiny, tmp_path, done=False, epochs=30, keep="best", patience=2)

    def stop(done: int, total: int, what: str) -> None:
        if what == "test embeddings":
            run.mark("stop")

    assert loop.run(run.path, stop) == "stopped"
    assert loop.run(run.path) == "finished", run.error
    assert run.history()[-1]["epoch"] == 3


def test_patience_needs_a_best_epoch() -> None:
    with pytest.raises(MaclError, match=r"patience: need 0 when keep is last .* set keep to best") as caught:
        RunConfig.build("instant", patience=3)
    assert "\n" not in str(caught.value)
    assert RunConfig.build("instant").patience == 0


# -- the command line ---------------------------------------------------------------------------------------


def resume(run: Run, *options: str) -> int:
    return int(cli.app(["resume", str(run.path), *options], standalone_mode=False) or 0)


def test_macl_resume_epochs(tiny: Path, tmp_path: Path) -> None:
    run = made(tiny, tmp_path)
    for options, words in (((), "nothing is left to resume"), (("--epochs", "2"), "need more than the 3")):
        with pytest.raises(MaclError, match=words):
            resume(run, *options)
    assert resume(run, "--epochs", "6") == 0
    assert_same_outcome(made(tiny, tmp_path, epochs=6), run)


def test_macl_resume_that_fails_at_once_leaves_a_finished_run(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.symlink_to(tiny)
    run = made(folder, tmp_path)
    before = results(run)
    folder.unlink()
    assert resume(run, "--epochs", "6") == 1
    assert run.state == "finished"
    assert run.config.epochs == 3
    assert results(run) == before


def test_macl_resume_leads_back(tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = made(tiny, tmp_path)
    before = results(run)
    runs.extend(run, 6)
    interrupt(run, 30)
    assert resume(run, "--epochs", "3") == 0
    assert capfd.readouterr().out.splitlines()[-1] == str(run.path)
    assert run.state == "finished"
    assert results(run) == before


def test_macl_train_takes_patience(tiny: Path, tmp_path: Path) -> None:
    words = ["train", "--preset", "instant", "--dataset", "folder", "--data-root", str(tiny)]
    words += ["--epochs", "1", "--image-size", "32", "--run-root", str(tmp_path), "--patience", "3"]
    with pytest.raises(MaclError, match="patience: need 0 when keep is last"):
        cli.app(words, standalone_mode=False)
    cli.app([*words, "--keep", "best"], standalone_mode=False)
    (run,) = runs.list_runs(tmp_path)
    assert run.config.patience == 3
