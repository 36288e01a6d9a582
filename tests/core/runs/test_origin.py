"""A run is resumed on what it began with, and on nothing else; what has changed is named in one sentence."""

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save, save_file

from core import cli, runs
from core.encoder.model import build_backbone
from core.encoder.tensors import read_tensors
from core.experiments import benchmark
from core.experiments.benchmark.train import Interrupted
from core.experiments.benchmark.train import train as train_benchmark
from core.queue import launch
from core.runs import Run, RunConfig, origin
from core.training import loop
from tests.core.cli.test_cli import macl
from tests.small_runs import assert_same_outcome, config, wait

AT = 8  # steps after which the runs here are stopped; 28 are all


def stop_at(run: Run, what: str = "training", at: int = AT) -> None:
    def stop(done: int, total: int, now: str) -> None:
        if now == what and done >= at:
            (run.path / "stop").touch()

    assert loop.run(run.path, stop) == "stopped", run.error


def edit(run: Run, **fields: Any) -> None:
    """Change config.json as a person does."""
    path = run.path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def rows_of(images: Path) -> list[list[str]]:
    return list(csv.reader((images / "labels.csv").read_text().splitlines()))


def write_rows(images: Path, rows: list[list[str]]) -> None:
    (images / "labels.csv").write_text("\n".join(map(",".join, rows)) + "\n")


@pytest.fixture(scope="module")
def begun(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, a run on them that was stopped (`run`), and the same run in one go (`whole`)."""
    place = tmp_path_factory.mktemp("begun")
    shutil.copytree(tiny, place / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", str(tmp_path_factory.getbasetemp() / "home" / "cache"))
        for name in ("run", "whole"):
            made = runs.create(config(place / "images", epochs=4, device="cpu", loss="lproto"), place)
            made.path.rename(place / name)
        stop_at(Run(place / "run"))
        assert loop.run(place / "whole") == "finished"
    return place


@pytest.fixture
def images(begun: Path, tmp_path: Path) -> Path:
    """The images in another place."""
    shutil.copytree(begun / "images", tmp_path / "images")
    return tmp_path / "images"


@pytest.fixture
def run(begun: Path, images: Path, tmp_path: Path) -> Run:
    """The stopped run, copied, with its images: config.json names their new place."""
    shutil.copytree(begun / "run", tmp_path / "runs" / "run")
    copied = Run(tmp_path / "runs" / "run")
    edit(copied, data_root=str(images))
    return copied


def shuffle_columns(images: Path) -> None:
    head, *rows = rows_of(images)
    write_rows(images, [head, *([row[0], *row[:0:-1]] for row in rows)])


def shuffle_columns_with_names(images: Path) -> None:
    write_rows(images, [[row[0], *row[:0:-1]] for row in rows_of(images)])


def one_label(images: Path) -> None:
    rows = rows_of(images)
    rows[1][1:] = ["1"] * len(rows[1][1:])
    write_rows(images, rows)


def other_pixels(images: Path) -> None:
    for path in images.glob("*.png"):
        with Image.open(path) as image:
            turned = image.transpose(Image.Transpose.ROTATE_90)
        turned.save(path)


def other_name(images: Path) -> None:
    (images / "scene000.png").rename(images / "scene500.png")
    rows = rows_of(images)
    rows[1][0] = "scene500.png"
    write_rows(images, rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (shuffle_columns, "the labels of folder have changed"),
        (shuffle_columns_with_names, "the names of the labels of folder, or their order, have changed"),
        (one_label, "the labels of folder have changed"),
        (other_pixels, "the pixels of the images of folder have changed"),
        (other_name, "the images of folder have changed since this run began (added, removed or renamed)"),
    ],
)
def test_other_images_or_labels_are_refused_by_name(
    change: Callable[[Path], None], words: str, run: Run, images: Path
) -> None:
    kept = ("config.json", "resume.safetensors", "metrics.jsonl", "splits.json", "classes.json", "data.json")
    before = [(run.path / name).read_bytes() for name in kept]
    change(images)
    assert loop.run(run.path) == "failed"
    assert run.error.startswith(words)
    assert run.error.endswith("put them back as before, or start a new run")
    assert "\n" not in run.error
    assert "Traceback" not in run.log
    assert [(run.path / name).read_bytes() for name in kept] == before


def test_put_back_the_run_goes_on_as_if_nothing_had_been(begun: Path, run: Run, images: Path) -> None:
    table = (images / "labels.csv").read_bytes()
    shuffle_columns(images)
    assert loop.run(run.path) == "failed"
    (images / "labels.csv").write_bytes(table)
    assert loop.run(run.path) == "finished", run.error
    assert_same_outcome(Run(begun / "whole"), run)
    assert (run.path / "data.json").read_bytes() == (begun / "whole" / "data.json").read_bytes()


@pytest.mark.parametrize(
    ("fields", "now", "before"),
    [
        ({"lr": 0.01}, "lr 0.01", "lr 0.001"),
        ({"batch_size": 32}, "batch_size 32", "batch_size 16"),
        ({"epochs": 9}, "epochs 9", "epochs 4"),
        ({"dim": 64}, "dim 64", "dim 128"),
        ({"hidden": 64}, "hidden 64", "hidden 512"),
        ({"seed": 5}, "seed 5", "seed 0"),
        ({"image_size": 64}, "image_size 64", "image_size 32"),
        ({"keep": "best"}, "keep best", "keep last"),
        ({"precision": "float32"}, "precision float32", "precision auto"),
        ({"loss": "macl", "params": {}}, "loss macl", "loss lproto"),
        ({"params": {"tau": 0.5}}, "tau 0.5", "tau 0.3"),
        ({"dataset": "demo"}, "dataset demo", "dataset folder"),
        ({"lr": 0.01, "epochs": 9}, "epochs 9, lr 0.01", "epochs 4, lr 0.001"),
    ],
)
def test_an_edited_configuration_is_refused_by_name(
    fields: dict[str, Any], now: str, before: str, run: Run
) -> None:
    edit(run, **fields)
    curve = (run.path / "metrics.jsonl").read_bytes()
    assert loop.run(run.path) == "failed"
    it = "them" if "," in now else "it"
    assert run.error == (
        f"config.json says {now}, but this run began with {before}: put {it} back, or start a new run"
    )
    assert (run.path / "metrics.jsonl").read_bytes() == curve


def zipped(images: Path) -> str:
    return shutil.make_archive(str(images.parent / "packed"), "zip", images)


def test_what_changes_no_training_is_no_change(begun: Path, run: Run, images: Path) -> None:
    """Another place, packed; another name of the preset; what is saved on the way; a name for people."""
    edit(run, data_root=zipped(images), preset="quick", embed_every=1, skip_broken=True, device="auto")
    shutil.rmtree(images)
    run.rename("mine")
    assert loop.run(run.path) == "finished", run.error
    assert f"resumed after step {AT + 1}" in run.log
    assert_same_outcome(Run(begun / "whole"), run)


def test_a_damaged_or_edited_list_of_the_split_is_written_anew(begun: Path, run: Run) -> None:
    (run.path / "splits.json").write_bytes(bytes(80))
    (run.path / "classes.json").write_text("{}")
    assert loop.run(run.path) == "finished", run.error
    for name in ("splits.json", "classes.json"):
        assert (run.path / name).read_bytes() == (begun / "whole" / name).read_bytes()


def test_another_split_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of the program, say, cuts it otherwise."""
    real = loop.recent.dataset

    def other(*given: Any) -> Any:
        data = real(*given)
        data.splits["train"][0], data.splits["test"][0] = data.splits["test"][0], data.splits["train"][0]
        return data

    monkeypatch.setattr(loop.recent, "dataset", other)
    assert loop.run(run.path) == "failed"
    assert run.error.startswith("the split of folder into training, validation and test has changed")


def of_an_earlier_version(run: Run) -> None:
    """Take out of its checkpoint what earlier versions did not write, and data.json."""
    path = run.path / "resume.safetensors"
    tensors, about = read_tensors(path)
    meta = json.loads(about["meta"])
    del meta["config"], meta["data"]
    path.write_bytes(save(tensors, {"meta": json.dumps(meta)}))
    (run.path / "data.json").unlink()


def test_a_run_of_an_earlier_version_goes_on_as_before(begun: Path, run: Run, images: Path) -> None:
    of_an_earlier_version(run)
    table = (images / "labels.csv").read_bytes()
    other_name(images)
    assert loop.run(run.path) == "failed"
    assert "have changed since this run began" in run.error
    (images / "scene500.png").rename(images / "scene000.png")
    (images / "labels.csv").write_bytes(table)
    assert loop.run(run.path) == "finished", run.error
    assert_same_outcome(Run(begun / "whole"), run)


@pytest.mark.parametrize("fields", [{"dim": 64}, {"loss": "macl", "params": {}}])
def test_a_checkpoint_of_an_earlier_version_that_does_not_fit_says_so(
    fields: dict[str, Any], run: Run
) -> None:
    of_an_earlier_version(run)
    edit(run, **fields)
    assert loop.run(run.path) == "failed"
    assert run.error.startswith("config.json does not fit the checkpoint of this run (")
    assert run.error.endswith("put it back as it was, or start a new run")
    assert "\n" not in run.error


def test_a_run_without_a_checkpoint_begins_anew_with_what_is_there_now(tiny: Path, tmp_path: Path) -> None:
    made = runs.create(config(tiny, epochs=1, device="cpu", embed_every=1), tmp_path)
    (made.path / "metrics.jsonl").write_text('{"step": 1, "loss": 9.0}\n')  # and then it was killed
    made.mark("started")
    edit(made, lr=0.01)
    fresh = runs.create(config(tiny, epochs=1, device="cpu", embed_every=1, lr=0.01), tmp_path)
    assert loop.run(made.path) == loop.run(fresh.path) == "finished"
    assert_same_outcome(fresh, made)


def weights_file(path: Path, seed: int) -> str:
    torch.manual_seed(seed)
    save_file(build_backbone("resnet18", "none").network.state_dict(), path)
    return str(path)


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_weights_that_were_replaced_are_refused_where_they_count(
    trainable: str, tiny: Path, tmp_path: Path
) -> None:
    place = tmp_path / "w.safetensors"
    fields = {"backbone": "resnet18", "weights": weights_file(place, 1), "device": "cpu", "epochs": 3}
    run = runs.create(config(tiny, trainable=trainable, **fields), tmp_path)
    stop_at(run)
    moved = place.rename(tmp_path / "moved.safetensors")
    weights_file(place, 2)
    if trainable == "all":  # the checkpoint holds what has become of them
        place.unlink()
    else:
        assert loop.run(run.path) == "failed"
        assert run.error.startswith(
            f"the weights in {place} have changed since this run began: put them back"
        )
    edit(run, weights="imagenet")
    assert loop.run(run.path) == "failed"
    assert run.error.startswith(f"config.json says weights imagenet, but this run began with {place}")
    edit(run, weights=str(place if trainable == "all" else moved))
    assert loop.run(run.path) == "finished", run.error


def test_data_json_says_what_a_run_was_trained_on(begun: Path) -> None:
    whole, part = (json.loads((begun / name / "data.json").read_text()) for name in ("whole", "run"))
    assert whole == part
    keys = {"images", "names", "classes", "labels", "splits", "size", "stretch", "weights", "configuration"}
    assert whole.keys() == keys
    assert all(isinstance(value, str) and value for value in whole.values())


# -- everybody who resumes says the same --------------------------------------------------------------------


def test_macl_resume_says_it_in_one_line(run: Run) -> None:
    edit(run, lr=0.01)
    done = macl("resume", str(run.path))
    assert done.returncode == 1
    said = "config.json says lr 0.01, but this run began with lr 0.001: put it back, or start a new run"
    assert f"error: {said}" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr


def test_macl_resume_with_a_wrong_place_keeps_the_right_one(
    begun: Path, run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copytree(images, tmp_path / "other")
    shuffle_columns(other)
    for wrong, said in ((other, "the labels of folder have changed"), (tmp_path / "none", "does not exist")):
        assert cli.app(["resume", str(run.path), "--data-root", str(wrong)], standalone_mode=False) == 1
        assert said in run.error
        assert run.config.data_root == str(images)
    right = images.rename(tmp_path / "right")
    cli.app(["resume", str(run.path), "--data-root", str(right)], standalone_mode=False)
    assert run.config.data_root == str(right)
    assert_same_outcome(Run(begun / "whole"), run)


def test_the_worker_says_it_and_goes_on(run: Run, tiny: Path) -> None:
    edit(run, dim=64)
    root = run.path.parent
    try:
        assert launch.resume(run) == run
        other = launch.submit(config(tiny, device="cpu"), root)
        wait(lambda: other.state == "finished")
        assert run.state == "failed"
        assert run.error.startswith("config.json says dim 64, but this run began with dim 128")
    finally:
        for about in launch.workers(root).values():
            os.kill(int(str(about["pid"])), signal.SIGKILL)


def test_a_benchmark_says_it_and_goes_on(images: Path, tmp_path: Path) -> None:
    methods = (benchmark.Method("mulsupcon"), benchmark.Method("macl"))
    fields = {"epochs": 2, "image_size": 32, "batch_size": 16}
    plan = benchmark.Plan("instant", {"folder": str(images)}, methods=methods, seeds=(0,), fields=fields)

    def stop(done: int, total: int, what: str) -> None:
        if what == "training" and done == AT:
            for run in runs.list_runs(tmp_path / "b"):
                (run.path / "stop").touch()

    with pytest.raises(Interrupted):
        train_benchmark(plan, tmp_path / "b", stop, lambda _: None)
    shuffle_columns(images)
    outcome = train_benchmark(plan, tmp_path / "b", None, lambda _: None)
    assert len(outcome.runs) == 1
    (failure,) = outcome.failures
    assert "the labels of folder have changed since this run began" in failure


def test_digests_tell_contents_apart(tiny: Path) -> None:
    """Names that run into each other, and labels that only change their places."""
    base = RunConfig.build("instant", dataset="folder", data_root=str(tiny), image_size=32)
    data = loop.recent.dataset(base)
    first = origin.digests(base, data, "w")
    joined = replace(data, classes=("a, b", *data.classes[1:]))
    split = replace(data, classes=("a", *data.classes[1:]))
    assert len({origin.digests(base, one, "w")["classes"] for one in (data, joined, split)}) == 3
    moved = replace(data, labels=np.roll(data.labels, 1, axis=0))
    other = origin.digests(base, moved, "w")
    assert {key for key in first if first[key] != other[key]} == {"labels"}
    assert origin.digests(base.model_copy(update={"data_root": "elsewhere"}), data, "w") == first
