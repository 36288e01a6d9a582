"""A run scored again: what it lacks is added and nothing else changes; and its whole data set searched."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from core import data
from core.cli import app as command
from core.encoder import trained
from core.errors import MaclError
from core.files import lock, unlock
from core.metrics import METRICS
from core.runs import Run
from tests.small_runs import scored_before

PARTS = ("metrics", "chance", "oracle")


@pytest.fixture
def run(trained_runs: Path, tmp_path: Path) -> Run:
    """MulSupCon as it was trained."""
    (source,) = trained_runs.glob("*-mulsupcon-*")
    shutil.copytree(source, tmp_path / "runs" / source.name)
    return Run(tmp_path / "runs" / source.name)


def evaluate(run: Run, *options: str) -> str:
    done = CliRunner().invoke(command, ["evaluate", run.id, "--run-root", str(run.path.parent), *options])
    if done.exception:
        raise done.exception
    return done.output


def test_missing_metrics_are_added_and_no_value_changes(run: Run) -> None:
    before = run.scores()
    scored_before(run, "ndcg", "map_hard")
    scores = run.scores()
    scores["metrics"]["map_easy"] += 4e-7  # rounded by whoever wrote it
    scores["metrics"]["own"] = 0.25  # of a later version
    run.mark("scores.json", json.dumps(scores))
    assert "added map_hard, ndcg" in evaluate(run, "--write")
    after = run.scores()
    assert after["metrics"].pop("own") == 0.25
    assert after["metrics"]["map_easy"] == scores["metrics"]["map_easy"]
    after["metrics"]["map_easy"] = before["metrics"]["map_easy"]
    assert after == before
    assert all(list(after[part]) == list(METRICS) for part in PARTS)
    written = (run.path / "scores.json").read_bytes()
    assert "nothing was missing" in evaluate(run, "--write")
    assert (run.path / "scores.json").read_bytes() == written


def test_scores_that_are_not_those_of_the_embeddings_are_left_as_they_are(run: Run) -> None:
    scored_before(run, "ndcg")
    for part, key, value in (("metrics", "map_easy", 0.5), ("metrics", "wap", None), ("chance", "wap", 0.9)):
        scores = run.scores()
        wrong = scores | {part: scores[part] | {key: value}}
        run.mark("scores.json", json.dumps(wrong))
        with pytest.raises(MaclError, match=f"{key} in {part}"):
            evaluate(run, "--write")
        assert run.scores() == wrong
        run.mark("scores.json", json.dumps(scores))


def test_scores_are_never_half_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    scored_before(run, "ndcg")
    before = (run.path / "scores.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        evaluate(run, "--write")
    assert (run.path / "scores.json").read_bytes() == before
    assert not list(run.path.glob(".scores.json.*"))


def test_what_is_not_written_to(run: Run) -> None:
    scored_before(run, "ndcg")
    before = (run.path / "scores.json").read_bytes()
    assert lock(run.path / "lock")
    try:
        with pytest.raises(MaclError, match="is being trained again"):
            evaluate(run, "--write")
    finally:
        unlock(run.path / "lock")
    for options in (["--gallery", "all"], ["--protocol", "imbriaco"]):
        with pytest.raises(MaclError, match="exclude each other"):
            evaluate(run, "--write", *options)
    run.mark("recorded")
    with pytest.raises(MaclError, match="came with the product"):
        evaluate(run, "--write")
    run.unmark("recorded")
    assert (run.path / "scores.json").read_bytes() == before
    run.unmark("scores.json")
    with pytest.raises(MaclError, match="only a finished run has scores"):
        evaluate(run, "--write")


def test_the_whole_data_set_is_searched(run: Run) -> None:
    """mAP Easy by loops: every test image asks all other images, those of training and validation too."""
    before = (run.path / "scores.json").read_bytes()
    scores = json.loads(evaluate(run, "--gallery", "all", "--json").partition("{")[2].join(["{", ""]))
    config, splits = run.config, run.splits()
    whole = data.load(config.dataset, config.data_root, image_size=config.image_size, seed=config.seed)
    z, y = trained.read(run).embed(whole.images).astype(np.float64), whole.labels > 0
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    precisions = []
    for name in splits["test"]:
        query = whole.names.index(name)
        others = [row for row in range(len(z)) if row != query]
        order = sorted(others, key=lambda row: -(z[row] @ z[query]))
        fits = [(y[row] & y[query]).sum() / (y[row] | y[query]).sum() >= 0.4 for row in order]
        if any(fits):
            at = [sum(fits[: rank + 1]) / (rank + 1) for rank, fit in enumerate(fits) if fit]
            precisions.append(np.mean(at))
    assert scores["metrics"]["map_easy"] == pytest.approx(np.mean(precisions), abs=1e-4)
    assert (scores["queries"], scores["images"]) == (len(splits["test"]), 160)
    assert all(list(scores[part]) == list(METRICS) for part in PARTS)
    assert scores["metrics"] != run.scores()["metrics"]
    assert (run.path / "scores.json").read_bytes() == before

    shown = evaluate(run, "--gallery", "all")
    assert f"{len(splits['test'])} test images search all 160 images" in shown
    assert "Not the paper's protocol" in shown
    assert (run.path / "scores.json").read_bytes() == before


def test_other_images_than_those_of_the_run_are_not_searched(run: Run, tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny, other)
    run.mark("config.json", run.config.model_copy(update={"data_root": str(other)}).model_dump_json())
    lines = (other / "labels.csv").read_text().splitlines()
    name = run.splits()["test"][0]
    place = next(i for i, line in enumerate(lines) if line.startswith(f"{name},"))
    changed = lines[place][:-1] + ("0" if lines[place].endswith("1") else "1")
    for table in (
        [*lines[:place], changed, *lines[place + 1 :]],  # another label
        [*lines[:place], *lines[place + 1 :]],  # an image less
    ):
        (other / "labels.csv").write_text("\n".join(table) + "\n")
        with pytest.raises(MaclError, match="does not hold the images and labels"):
            evaluate(run, "--gallery", "all")
    run.unmark("model.safetensors")
    with pytest.raises(MaclError, match="has no weights"):
        evaluate(run, "--gallery", "all")
