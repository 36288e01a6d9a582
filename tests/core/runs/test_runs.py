"""The run folder: configuration, states and what is read from it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import save

from core import runs
from core.errors import MaclError
from core.files import lock, unlock
from core.runs import PRESETS, Run, RunConfig


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runs.create(RunConfig.build("instant", dataset="demo", loss="macl", seed=3), tmp_path)


def test_presets_are_those_of_the_paper_and_the_readme() -> None:
    paper = RunConfig.build("paper")
    assert (paper.image_size, paper.epochs, paper.batch_size, paper.weights) == (256, 100, 128, "imagenet")
    assert (paper.lr, paper.weight_decay, paper.clip) == (0.001, 0.0005, 1.0)
    assert (paper.scheduler, paper.step_epochs, paper.step_factor, paper.optimizer) == (
        "step",
        15,
        0.8,
        "adam",
    )
    assert (paper.backbone, paper.hidden, paper.dim, paper.augment) == ("resnet18", 512, 128, True)
    assert RunConfig.build("instant").trainable == "head"
    assert RunConfig.build("quick").image_size == 96
    assert set(PRESETS) == {"instant", "quick", "paper"}


def test_configuration_survives_json_and_is_complete(run: Run) -> None:
    saved = json.loads((run.path / "config.json").read_text())
    assert saved["params"]["alpha"] == 1.5
    assert saved["params"]["denominator"] == "paper"
    assert run.config == RunConfig.build("instant", dataset="demo", loss="macl", seed=3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"loss": "nothing"}, ["loss", "macl"]),
        ({"dataset": "nothing"}, ["dataset", "dlrsd"]),
        ({"params": {"alhpa": 1.0}}, ["params", "alhpa"]),
        ({"params": {"alpha": -1.0}}, ["params", "alpha"]),
        ({"epochs": 0}, ["epochs"]),
        ({"device": "gpu"}, ["device", "cuda"]),
        ({"nothing": 1}, ["nothing"]),
        ({"augment": True}, ["augment", "head"]),
        ({"weights": "none"}, ["weights", "head"]),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], words: list[str]) -> None:
    with pytest.raises(MaclError) as caught:
        RunConfig.build("instant", **fields)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_configurations_do_not_change() -> None:
    with pytest.raises(ValidationError):
        RunConfig.build("instant").seed = 1  # type: ignore[misc]


def test_states_follow_from_the_folder(run: Run) -> None:
    assert run.state == "queued"
    run.mark("started")
    assert run.state == "interrupted"
    run.mark("stopped")
    assert run.state == "stopped"
    run.mark("error.txt", "why")
    assert (run.state, run.error) == ("failed", "why")
    run.mark("submitted")
    assert run.state == "queued"
    assert lock(run.path / "lock")
    assert run.state == "running"
    unlock(run.path / "lock")
    run.mark("scores.json", '{"metrics": {}}')
    assert run.state == "finished"


def test_a_line_that_is_still_being_written_is_left_out(run: Run) -> None:
    assert run.history() == []
    path = run.path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.5, "val_wap": null}\n{"step": 2, "lo')
    (row,) = run.history()
    assert row["loss"] == 2.5
    assert math.isnan(row["val_wap"])


def test_list_newest_first_and_pass_over_what_is_no_run(tmp_path: Path) -> None:
    config = RunConfig.build("instant")
    made = [runs.create(config.model_copy(update={"seed": seed}), tmp_path) for seed in range(30, 0, -1)]
    (tmp_path / "something").mkdir()
    (tmp_path / "a-file").touch()
    # made faster than one in a millisecond, and named in the other order
    assert [run.id for run in runs.list_runs(tmp_path)] == [run.id for run in reversed(made)]
    assert runs.list_runs(tmp_path / "missing") == []


def test_find_by_folder_name_and_unique_ending(run: Run, tmp_path: Path) -> None:
    assert runs.find(str(run.path), tmp_path) == run
    assert runs.find(run.id, tmp_path) == run
    assert runs.find(run.id[-4:], tmp_path) == run
    with pytest.raises(MaclError, match="no run named"):
        runs.find("nothing", tmp_path)


def test_names_trash_and_restore(run: Run, tmp_path: Path) -> None:
    run.rename("  my \n run ")
    assert run.title == "my run"
    runs.delete(run)
    assert runs.list_runs(tmp_path) == []
    (gone,) = runs.trashed(tmp_path)
    assert runs.restore(gone) == run
    assert run.title == "my run"
    assert lock(run.path / "lock")
    try:
        with pytest.raises(MaclError, match="stop it first"):
            runs.delete(run)
    finally:
        unlock(run.path / "lock")


def test_an_emptied_trash_is_gone_for_good(run: Run, tmp_path: Path) -> None:
    runs.empty_trash(tmp_path)  # there is none: no error
    runs.delete(run)
    runs.empty_trash(tmp_path)
    assert runs.trashed(tmp_path) == []
    assert runs.list_runs(tmp_path) == []


def test_embeddings_of_an_unfinished_run_are_an_explained_error(run: Run) -> None:
    with pytest.raises(MaclError, match="queued"):
        run.embeddings()


def test_a_broken_configuration_names_the_file(run: Run) -> None:
    (run.path / "config.json").write_text('{"loss": "nothing"}')
    with pytest.raises(MaclError, match=r"config\.json.*loss"):
        _ = run.config
    with pytest.raises(MaclError, match="no run folder"):
        _ = Run(run.path / "missing").config


def test_a_configuration_that_cannot_be_read_says_why(run: Run) -> None:
    (run.path / "config.json").unlink()
    (run.path / "config.json").mkdir()
    with pytest.raises(MaclError, match=r"config\.json cannot be read \(Is a directory\)"):
        _ = run.config


def test_damaged_files_are_named(run: Run) -> None:
    assert run.scores() == run.progress() == run.splits() == {}
    for content in ('{"metrics": {"map', "[1]"):
        run.mark("scores.json", content)
        with pytest.raises(MaclError, match=r"scores\.json is damaged"):
            run.scores()
    run.mark("progress.json")  # a machine that went down may leave it empty
    assert run.progress() == {}
    for whole in (b"half", save({"z": np.zeros((2, 2))})):
        (run.path / "embeddings.safetensors").write_bytes(whole)
        with pytest.raises(MaclError, match=r"embeddings\.safetensors is damaged"):
            run.embeddings()


def test_a_run_that_somebody_just_took_is_not_deleted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lock(run.path / "lock")
    monkeypatch.setattr(Run, "state", "queued")  # what was read just before
    try:
        with pytest.raises(MaclError, match="stop it first"):
            runs.delete(run)
    finally:
        unlock(run.path / "lock")
    assert run.path.exists()


def test_a_run_found_by_a_relative_path_knows_its_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.path)
    assert runs.find(".", run.path) == run
