"""Sweeps: what they run, that nothing runs twice, what they cost, and what is read from them."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from core import runs
from core.cli import app
from core.errors import MaclError
from core.experiments import duration, sweep
from core.experiments.axes import parse_axis, parse_one, parse_params, parse_seeds, shown_seeds
from core.experiments.studies import ALPHAS, BETAS, STUDIES
from core.experiments.surface import between, cells, matrix, nearest
from core.losses import LOSSES
from core.queue import launch
from core.runs import Run, RunConfig
from core.training import loop


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A run root whose workers are gone after the test."""
    yield tmp_path / "runs"
    for about in launch.workers(tmp_path / "runs").values():
        os.kill(int(str(about["pid"])), signal.SIGKILL)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)


def small(tiny: Path) -> dict[str, Any]:
    return {"dataset": "folder", "data_root": str(tiny), "image_size": 32, "batch_size": 16, "epochs": 1}


def test_a_grid_is_every_combination_and_the_defaults_for_the_rest() -> None:
    made = sweep.grid(
        "αβ", "instant", {"use_w": False}, {"alpha": (0.0, 1.0), "beta": (0.1, 0.2), "seed": (0, 1)}
    )
    assert [tuple(point.at.values()) for point in made.points] == list(
        itertools.product((0.0, 1.0), (0.1, 0.2), (0, 1))
    )
    for point in made.points:
        assert point.config.params["alpha"] == point.at["alpha"]
        assert point.config.params["use_w"] is False
        assert point.config.seed == point.at["seed"]
        assert point.config.epochs == 15
    assert made.shown == ["alpha", "beta"]


def test_a_list_runs_equal_configurations_once() -> None:
    made = sweep.listed("two", "instant", {}, [{"alpha": 1.5}, {"alpha": 2.0}, {"alpha": 1.5}])
    assert [point.at["alpha"] for point in made.points] == [1.5, 2.0]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"gamma": (1.0,)}, "gamma"),
        ({"alpha": (-1.0,)}, "alpha"),
        ({"lr": ()}, "lr"),
        ({"lr": (0.1,), "seed": tuple(range(6000))}, "6,000 runs"),
        ({"loss": ("macl", "oml"), "tau": (0.1,)}, "oml"),
    ],
)
def test_wrong_axes_are_named(axes: dict[str, Any], message: str) -> None:
    with pytest.raises(MaclError, match=message):
        sweep.grid("wrong", "instant", {}, axes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alpha=0,0.5,1", ("alpha", (0.0, 0.5, 1.0))),
        ("alpha=0:3:7", ("alpha", (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0))),
        ("seed=0-2", ("seed", (0, 1, 2))),
        ("seed=0-1,5", ("seed", (0, 1, 5))),
        ("epochs=5:15:3", ("epochs", (5, 10, 15))),
        ("use_w=true,off", ("use_w", (True, False))),
        ("denominator=paper,own", ("denominator", ("paper", "own"))),
        ("lr=1e-3,0.01", ("lr", (0.001, 0.01))),
        ("weights=none", ("weights", ("none",))),
        ("alpha=0.1234567891,1e-05", ("alpha", (0.1234567891, 1e-05))),
        ("weights=none,/a.pth,imagenet", ("weights", ("none", "/a.pth", "imagenet"))),
        ("clip=0:1:2", ("clip", (0.0, 1.0))),
    ],
)
def test_axes_as_they_are_typed(text: str, expected: tuple[str, tuple[Any, ...]]) -> None:
    name, values = parse_axis(text, "macl")
    assert (name, values) == expected
    assert [type(value) for value in values] == [type(value) for value in expected[1]]


@pytest.mark.parametrize(
    "text",
    [
        "alpha",
        "alpha=",
        "alpha=x",
        "gamma=1",
        "use_w=maybe",
        "alpha=0:1:1",
        "epochs=1:2:3",
        "params=1",
        "alpha=0..5:1:3",
        "alpha=0:1:" + "9" * 5000,
        "seed=0-99999999999",
        "seed=3-1",
        "seed=0-" + "9" * 5000,
    ],
)
def test_axes_that_are_wrong(text: str) -> None:
    with pytest.raises(MaclError):
        parse_axis(text, "macl")


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        *(("0", (0,)), ("0, 1,2", (0, 1, 2)), ("3-5", (3, 4, 5)), ("1 1 4–5", (1, 4, 5))),
        *(("0-2", (0, 1, 2)), ("0,3,7-8", (0, 3, 7, 8)), ("0;2", (0, 2)), ("0:4:3", (0, 2, 4))),
    ],
)
def test_seeds_as_people_write_them(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "a", "-1", "3-", "0-5000", "1.5", "1-x", "3-1", "9" * 5000, "0-" + "9" * 5000]
)
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(MaclError, match="seeds: need"):
        parse_seeds(text)


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9, unique=True))
def test_shown_seeds_are_read_back(seeds: list[int]) -> None:
    assert parse_seeds(shown_seeds(seeds)) == tuple(seeds)
    assert shown_seeds(range(3, 8)) == "3-7"


def test_seeds_that_are_too_many() -> None:
    assert len(parse_seeds("0-49", 50)) == 50
    with pytest.raises(MaclError, match="need 1 to 50 numbers"):
        parse_seeds("0-50", 50)


def test_settings_as_they_are_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_one("alpha=1.5", "macl") == ("alpha", 1.5)
    assert parse_one(" weights = r18, new.pth", "macl") == ("weights", str(tmp_path / "r18, new.pth"))
    assert parse_params("macl", ["use_w=off", "denominator=own"]) == {"use_w": False, "denominator": "own"}
    for wrong in ("alpha=1,2", "alpha", "params=1", "preset=quick", "epochs=many"):
        with pytest.raises(MaclError):
            parse_one(wrong, "macl")
    with pytest.raises(MaclError, match="--param: need NAME=VALUE with a parameter of supcon_all"):
        parse_params("supcon_all", ["epochs=3"])


def test_the_four_configurations_of_fig_9() -> None:
    expected = {
        "fig9a": {"use_w": False, "use_T": True},
        "fig9b": {"use_w": True, "use_T": True},
        "fig9c": {"use_w": True, "use_T": True, "beta": 0.0},
        "fig9d": {"use_w": True, "use_T": True, "alpha": 0.0},
    }
    for name, params in expected.items():
        made = STUDIES[name].build("instant", {"dataset": "demo"}, [0, 1])
        for point in made.points:
            assert params.items() <= point.config.params.items()
            assert point.config.loss == "macl"
        alphas = {point.config.params["alpha"] for point in made.points}
        betas = {point.config.params["beta"] for point in made.points}
        assert len(made.points) == 2 * len(alphas) * len(betas)
        assert alphas == (set(ALPHAS) if "alpha" not in params else {0.0})
        assert betas == (set(BETAS) if "beta" not in params else {0.0})


def test_fig_10_varies_the_temperature_of_every_softmax() -> None:
    made = STUDIES["fig10"].build("instant", {}, [0])
    assert {point.config.loss for point in made.points} == set(LOSSES) - {"oml"}
    assert len(made.points) == (len(LOSSES) - 1) * 3
    for point in made.points:
        if point.config.loss in ("macl", "wg_macl"):
            assert point.config.params["tau_scale"] == pytest.approx(float(point.at["tau"]) / 0.3, abs=1e-6)
        else:
            assert point.config.params["tau"] == point.at["tau"]
    assert made.axes["tau"] == (0.1, 0.2, 0.3)


def test_fig_11_table_7_and_the_open_points() -> None:
    rates = STUDIES["fig11"].build("instant", {}, [0])
    assert {(p.config.loss, p.config.lr) for p in rates.points} == set(
        itertools.product(("macl", "wg_macl"), (0.1, 0.01, 0.001))
    )
    pretrained = STUDIES["table7"].build("paper", {}, [0])
    assert {(p.config.loss, p.config.weights) for p in pretrained.points} == set(
        itertools.product(("macl", "wg_macl"), ("imagenet", "none"))
    )
    assert {(p.config.backbone, p.config.trainable) for p in pretrained.points} == {("resnet18", "all")}
    assert "ImageNet" in pretrained.note
    opened = STUDIES["open-points"].build("instant", {}, [0])
    usual = RunConfig.build("instant").params
    changes = [{k: v for k, v in point.config.params.items() if v != usual[k]} for point in opened.points]
    assert changes[0] == {}
    assert all(len(change) == 1 for change in changes[1:])
    assert {next(iter(change)) for change in changes[1:]} == {
        "use_w", "use_T", "tau_scale", "denominator", "frequency", "cooccurrence", "rarity", "normalize_w",
        "overlap_weight",
    }  # fmt: skip


def test_open_points_against_what_all_runs_share(root: Path, idle: None) -> None:
    study = STUDIES["open-points"]
    made = study.build("instant", {"denominator": "own", "use_w": False}, [0])
    assert len({point.config.identity for point in made.points}) == len(made.points)
    assert made.axes["change"][0] == "use_w=False, denominator=own"
    for point in made.points[1:]:
        name, _, value = str(point.at["change"]).partition("=")
        assert str(point.config.params[name]) == value
        assert made.points[0].config.params[name] != point.config.params[name]
    assert study.build("instant", {"epochs": 3}, [0]).axes["change"][0] == "as printed"
    point = made.points[0]
    sweep.start(replace(made, points=(point, replace(point, at={"change": "again", "seed": 0}))), root)
    assert len(runs.list_runs(root)) == 1


def test_starting_twice_adds_nothing_and_reads_back(tiny: Path, root: Path, idle: None) -> None:
    made = sweep.grid(
        "α β", "instant", small(tiny), {"alpha": (0.0, 1.0), "beta": (0.1, 0.5), "seed": (0, 1)}
    )
    started = sweep.start(made, root)
    assert len(launch.queue(root)) == 8
    again = sweep.read(started.id, root)
    assert again == started
    assert sweep.load(root) == [started]
    sweep.start(again, root)
    assert sweep.start(made, root).id == started.id  # the same from the start: it is written down already
    assert sweep.start(replace(made, title="other"), root).id != started.id  # another over the same runs
    assert len(launch.queue(root)) == len(runs.list_runs(root)) == 8
    assert {(run.path / "sweep").read_text() for run in runs.list_runs(root)} == {started.id}


def test_what_is_missing_after_a_crash_is_added_and_what_died_or_failed_goes_on(
    tiny: Path, root: Path, idle: None
) -> None:
    made = sweep.start(sweep.grid("α", "instant", small(tiny), {"alpha": (0.0, 1.0, 2.0, 3.0)}), root)
    lost, dead, failed, _ = [run for _, run in sweep.found(made, sweep.known(root))]
    assert lost
    assert dead
    assert failed
    shutil.rmtree(lost.path)
    dead.mark("started")
    dead.unmark("submitted")
    failed.unmark("submitted")
    failed.mark("error.txt", "why")
    failed.mark("deaths", "3 7")
    assert dead.state == "interrupted"
    seen = duration.preview(made, sweep.known(root))
    assert (seen.total, seen.there) == (4, 1)
    sweep.start(made, root)
    states = [run and run.state for _, run in sweep.found(made, sweep.known(root))]
    assert states == ["queued"] * 4
    assert failed.deaths == (0, 0)
    assert len(runs.list_runs(root)) == 4


def test_runs_on_other_images_do_not_mix(tiny: Path, root: Path, idle: None) -> None:
    made = sweep.start(
        sweep.grid("α", "instant", small(tiny), {"alpha": (0.0, 1.0, 2.0), "seed": (0, 1)}), root
    )
    for run in launch.queue(root):
        run.unmark("submitted")
        run.mark("scores.json", '{"chance": {"map_easy": 0.5, "map_hard": null}}')
        run.mark("splits.json", '{"test": ["a", "b"]}')
    assert all(run for _, run in sweep.found(made, sweep.known(root)))
    newer = runs.create(made.points[0].config, root)  # α = 0, seed 0
    newer.mark("scores.json", '{"chance": {"map_easy": 0.5, "map_hard": null}}')
    newer.mark("splits.json", '{"test": ["a", "b", "c"]}')
    pairs = sweep.found(made, sweep.known(root))
    there = [(point.at["alpha"], point.at["seed"]) for point, run in pairs if run]
    assert there == [(0.0, 0), (0.0, 1), (1.0, 1), (2.0, 1)]
    assert pairs[0][1] == newer
    assert duration.preview(made, sweep.known(root)).there == 4
    relabelled = runs.create(made.points[1].config, root)  # α = 0, seed 1
    relabelled.mark("scores.json", '{"chance": {"map_easy": 0.25, "map_hard": null}}')
    relabelled.mark("splits.json", '{"test": ["a", "b"]}')
    pairs = sweep.found(made, sweep.known(root))
    assert [(point.at["alpha"], point.at["seed"]) for point, run in pairs if run] == [(0.0, 0), (0.0, 1)]


def test_points_with_different_settings_stand_on_every_axis(root: Path, idle: None) -> None:
    places = [{"alpha": 1.0}, {"beta": 0.5}, {"loss": "oml"}]
    made = sweep.listed("list", "instant", {}, places)
    usual = RunConfig.build("instant").params
    assert [point.at for point in made.points] == [
        {"alpha": 1.0, "beta": usual["beta"], "loss": "macl"},
        {"alpha": usual["alpha"], "beta": 0.5, "loss": "macl"},
        {"alpha": sweep.ABSENT, "beta": sweep.ABSENT, "loss": "oml"},
    ]
    assert made.axes["alpha"] == (1.0, usual["alpha"], sweep.ABSENT)
    started = sweep.start(made, root)
    assert sweep.read(started.id, root) == started


def test_a_sweep_file_is_read_once_and_anew_when_it_changes(
    tiny: Path, root: Path, idle: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = sweep.start(sweep.grid("α", "instant", small(tiny), {"alpha": (0.0, 1.0)}), root)
    (first,) = sweep.load(root)
    assert sweep.load(root)[0] is first
    path = root / sweep.FOLDER / f"{started.id}.json"
    path.write_text(path.read_text().replace('"title": "\\u03b1"', '"title": "new"'))
    os.utime(path, ns=(1, 1))
    assert sweep.load(root)[0].title == "new"
    sweep.forget(first, root)
    assert sweep.load(root) == []
    assert len(runs.list_runs(root)) == 2


def test_a_run_of_another_device_or_place_counts(tiny: Path) -> None:
    base = RunConfig.build("instant", dataset="dlrsd", data_root="/a")
    assert base.identity == base.model_copy(update={"data_root": "/b", "device": "cpu"}).identity
    assert base.identity != base.model_copy(update={"seed": 1}).identity
    own = RunConfig.build("instant", dataset="folder", data_root="/a")
    assert own.identity != own.model_copy(update={"data_root": "/b"}).identity


def test_a_preview_counts_what_is_there_and_measures_where_it_can(finished_runs: Path, tiny: Path) -> None:
    among = sweep.known(finished_runs)
    fields = {**small(tiny), "epochs": 2}
    made = sweep.grid("α", "instant", fields, {"alpha": (1.5, 2.0), "seed": (0, 1)})
    seen = duration.preview(made, among)
    assert (seen.total, seen.there, seen.measured) == (4, 1, True)
    spent = sorted(run.scores()["training_s"] for run, _ in among)
    assert 3 * (spent[0] + duration.OVERHEAD) <= seen.seconds <= 3 * (spent[-1] + duration.OVERHEAD) + 1e-9
    other = duration.preview(sweep.grid("α", "quick", {"dataset": "demo"}, {"alpha": (1.0,)}), among)
    assert (other.there, other.measured) == (0, False)
    twice = sweep.grid("α", "instant", {**fields, "epochs": 4}, {"alpha": (2.0,)})
    one = sweep.grid("α", "instant", fields, {"alpha": (2.0,)})
    pure = [duration.preview(s, among).seconds - duration.OVERHEAD for s in (one, twice)]
    assert pure[1] == pytest.approx(2 * pure[0])


def test_estimated_starts_follow_the_queue(
    finished_runs: Path, tiny: Path, tmp_path: Path, idle: None
) -> None:
    root = tmp_path / "runs"
    shutil.copytree(finished_runs, root)
    made = sweep.start(sweep.grid("α", "instant", small(tiny), {"alpha": (0.0, 1.0, 2.0)}), root)
    order = duration.waits(root, sweep.known(root))
    assert [run for run, _ in order] == launch.queue(root)
    each = duration.seconds_of(made.points[0].config, sweep.known(root))[0]
    assert [start for _, start in order] == pytest.approx([0, each, 2 * each])


def test_the_surface_is_the_runs_scores(tiny: Path, root: Path, idle: None) -> None:
    made = sweep.start(
        sweep.grid("αβ", "instant", small(tiny), {"alpha": (0.0, 2.0), "beta": (0.1, 1.0), "seed": (0, 1)}),
        root,
    )
    for run in launch.queue(root)[:-1]:
        assert loop.run(run.path) == "finished", run.error
    pairs = sweep.found(made, sweep.known(root))
    scores = {run.id: run.scores()["metrics"] for _, run in pairs if run and run.state == "finished"}
    found = cells(pairs, scores, "map_sim")
    means, spreads = matrix(found, "alpha", "beta", (0.0, 2.0), (0.1, 1.0))
    for row, beta in enumerate((0.1, 1.0)):
        for column, alpha in enumerate((0.0, 2.0)):
            own = [
                100 * run.scores()["metrics"]["map_sim"]
                for run in runs.list_runs(root)
                if run.state == "finished"
                and (run.config.params["alpha"], run.config.params["beta"]) == (alpha, beta)
            ]
            assert means[row, column] == pytest.approx(np.mean(own), abs=1e-12)
            if len(own) == 2:
                assert spreads[row, column] == pytest.approx(np.std(own, ddof=1), abs=1e-12)
            else:
                assert np.isnan(spreads[row, column])


@given(
    st.lists(st.floats(0, 100), min_size=12, max_size=12),
    st.floats(-1, 4),
    st.floats(-1, 3),
)
def test_interpolation_stays_between_its_neighbours(values: list[float], x: float, y: float) -> None:
    xs, ys, table = (0.0, 0.5, 1.5, 3.0), (0.0, 1.0, 1.1), np.array(values).reshape(3, 4)
    columns = [i for i in range(3) if xs[i] <= min(max(x, 0), 3) <= xs[i + 1]]
    rows = [i for i in range(2) if ys[i] <= min(max(y, 0), 1.1) <= ys[i + 1]]
    around = [table[r : r + 2, c : c + 2] for r in rows for c in columns]
    found = between(xs, ys, table, x, y)
    assert min(a.min() for a in around) <= found <= max(a.max() for a in around)


def test_interpolation_at_and_between_trained_points() -> None:
    xs, ys = (0.0, 1.0, 3.0), (0.0, 2.0)
    table = np.array([[1.0, 2.0, 3.0], [5.0, 6.0, np.nan]])
    for (row, y), (column, x) in itertools.product(enumerate(ys), enumerate(xs)):
        assert between(xs, ys, table, x, y) == pytest.approx(table[row, column], nan_ok=True)
    assert between(xs, ys, table, 0.5, 1.0) == pytest.approx(3.5)
    assert between(xs, ys, table, 2.0, 0.0) == pytest.approx(2.5)  # its missing neighbours do not count
    assert np.isnan(between(xs, ys, table, 2.0, 0.1))
    assert between((1.0,), ys, table[:, :1], 9.0, 1.0) == pytest.approx(3.0)
    assert nearest(xs, ys, 1.9, 1.2) == (1, 1)
    assert nearest(xs, ys, 2.1, 0.2) == (2, 0)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_the_command_previews_queues_waits_and_continues(tiny: Path, root: Path) -> None:
    common = [
        "--dataset", "folder", "--data-root", str(tiny), "--run-root", str(root),
        "--set", "image_size=32", "--set", "batch_size=16", "--set", "epochs=1",
    ]  # fmt: skip
    done = invoke("sweep", "alpha=0,2", "--seeds", "0-1", *common, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "4 runs, 0 of them there" in done.output
    assert "guess" in done.output
    assert not root.exists() or not runs.list_runs(root)
    done = invoke("sweep", "alpha=0,2", "--seeds", "0-1", *common, "--wait")
    assert done.exit_code == 0, (done.output, done.exception)
    name = done.output.split()[-1]
    made = runs.list_runs(root)
    assert [run.state for run in made] == ["finished"] * 4
    again = invoke("sweep", "--resume", name, "--run-root", str(root), "--wait")
    assert again.exit_code == 0, again.output
    assert "4 of them there" in again.output
    assert runs.list_runs(root) == made
    assert isinstance(invoke("sweep", "gamma=1", "--run-root", str(root)).exception, MaclError)
    assert isinstance(invoke("sweep", "--run-root", str(root)).exception, MaclError)
    assert isinstance(invoke("sweep", "--study", "fig99", "--run-root", str(root)).exception, MaclError)


def test_a_list_of_points_from_the_command_line(root: Path, idle: None) -> None:
    points = ["--point", "alpha=1 beta=0", "--point", "alpha=2,beta=0.5"]
    done = invoke("sweep", *points, "--seeds", "0-1", "--run-root", str(root))
    assert done.exit_code == 0, done.output
    waiting = [
        (run.config.params["alpha"], run.config.params["beta"], run.config.seed) for run in launch.queue(root)
    ]
    assert sorted(waiting) == [(1.0, 0.0, 0), (1.0, 0.0, 1), (2.0, 0.5, 0), (2.0, 0.5, 1)]
    (made,) = sweep.load(root)
    assert made.shown == ["alpha", "beta"]


def test_seeds_from_the_command_line(root: Path, idle: None) -> None:
    def seeds(*arguments: str) -> list[tuple[float, int]]:
        before = set(runs.list_runs(root))
        done = invoke("sweep", *arguments, "--run-root", str(root))
        assert done.exit_code == 0, done.output
        configs = [run.config for run in runs.list_runs(root) if run not in before]
        return sorted((float(config.params["alpha"]), config.seed) for config in configs)

    grid = [(0.0, 0), (0.0, 1), (0.0, 2), (1.0, 0), (1.0, 1), (1.0, 2)]
    assert seeds("alpha=0,1", "seed=0-2") == grid
    points = ["--point", "alpha=1 seed=3", "--point", "alpha=2"]
    assert seeds(*points) == [(1.0, 3), (2.0, 0)]
    for arguments in (
        ["alpha=0,1", "seed=0-2", "--seeds", "0-1"],
        [*points, "--seeds", "0-1"],
        ["alpha=0,1", "alpha=2"],
        ["--point", "alpha=1 alpha=2"],
        ["alpha=0,1", "--set", "alpha=2"],
        ["alpha=0,1", "--set", "seed=3"],
    ):
        wrong = invoke("sweep", *arguments, "--run-root", str(root)).exception
        assert isinstance(wrong, MaclError), arguments
        assert "\n" not in str(wrong)


def test_what_a_study_or_a_name_settles_is_not_ignored_in_silence(root: Path, idle: None) -> None:
    for arguments in (
        ["--study", "fig9c", "--loss", "wg_macl"],
        ["alpha=0:3:7", "--study", "fig9c"],
        ["--resume", "some", "--seeds", "0-4"],
    ):
        assert isinstance(invoke("sweep", *arguments, "--run-root", str(root)).exception, MaclError), (
            arguments
        )
    assert runs.list_runs(root) == []


def test_weights_of_a_sweep_are_found_from_the_folder_of_the_worker(
    root: Path, idle: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--preset", "quick", "--set", "weights=r18.pth", "--run-root", str(root)]
    done = invoke("sweep", "lr=0.1,0.01", *options)
    assert done.exit_code == 0, done.output
    assert {run.config.weights for run in runs.list_runs(root)} == {str(tmp_path / "r18.pth")}


def test_a_run_that_was_created_and_never_queued_is_queued(root: Path, idle: None) -> None:
    config = sweep.grid("one", "instant", {"loss": "macl"}, {"alpha": [1.0]})
    lost = runs.create(config.points[0].config, root)
    sweep.start(config, root)
    assert [run.id for run in launch.queue(root)] == [lost.id]


def test_waiting_for_runs_that_fail_says_why(tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: object) -> None:
        for run in launch.queue(root):
            if run.config.params["alpha"]:
                run.unmark("submitted")
                run.mark("error.txt", "no reason at all")
            else:
                loop.run(run.path)

    monkeypatch.setattr(launch, "ensure_worker", work)
    common = [f"--set={name}={value}" for name, value in small(tiny).items() if name[:4] != "data"]
    given = ["alpha=0,1,2", "--dataset", "folder", "--data-root", str(tiny), *common]
    for _ in range(2):  # the same command tries again
        done = invoke("sweep", *given, "--wait", "--run-root", str(root))
        assert done.exit_code == 1
        assert "2 of 3 runs failed: no reason at all" in done.output
        assert done.output.split()[-1].startswith("20")
    assert "3 runs, 1 of them there" in done.output
    assert len(runs.list_runs(root)) == 3


def test_waiting_ends_though_the_worker_of_the_device_dies(tiny: Path, root: Path) -> None:
    settings = {**small(tiny), "epochs": 100}
    given = [f"--set={name}={value}" for name, value in settings.items() if name[:4] != "data"]
    given += ["--dataset", "folder", "--data-root", str(tiny), "--run-root", str(root), "--device", "cpu"]
    command = [sys.executable, "-c", "from core.cli import main; main()", "sweep", "alpha=0,1", *given]
    waiting = subprocess.Popen([*command, "--wait"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while not (busy := [run for run in runs.list_runs(root) if run.state == "running" and run.history()]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for about in launch.workers(root).values():
            os.kill(int(str(about["pid"])), signal.SIGKILL)
        said, _ = waiting.communicate(timeout=120)
    finally:
        waiting.kill()
        waiting.wait()
    assert waiting.returncode == 0, said
    assert [run.state for run in runs.list_runs(root)] == ["finished"] * 2
    assert busy[0].log.count("started") == 2


def test_waiting_ends_though_nobody_knows_of_an_interrupted_run(
    tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was in the hands of `macl train`, or the note of its worker is damaged."""
    seen: list[str] = []

    def work(_: float) -> None:
        (run,) = runs.list_runs(root)
        seen.append(run.state)
        if len(seen) == 1:
            run.unmark("submitted")
            run.mark("started")
        elif run.state == "queued":
            loop.run(run.path)
        assert len(seen) < 9

    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    monkeypatch.setattr("core.cli.sweep.time.sleep", work)
    given = [f"--set={name}={value}" for name, value in small(tiny).items() if name[:4] != "data"]
    given += ["--dataset", "folder", "--data-root", str(tiny), "--run-root", str(root)]
    done = invoke("sweep", "alpha=1", *given, "--wait")
    assert done.exit_code == 0, (done.output, done.exception)
    assert seen == ["queued", "interrupted", "queued"]


def test_a_damaged_finished_run_is_left_out_of_the_table_by_name(
    tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object) -> None:
        for run in launch.queue(root):
            loop.run(run.path)
            if run.config.params["alpha"] == 1:
                (run.path / "scores.json").write_bytes(bytes(80))

    monkeypatch.setattr(launch, "ensure_worker", work)
    given = [f"--set={name}={value}" for name, value in small(tiny).items() if name[:4] != "data"]
    given += ["--dataset", "folder", "--data-root", str(tiny), "--run-root", str(root)]
    done = invoke("sweep", "alpha=0,1", *given, "--wait")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "left out: " in done.output
    assert "scores.json is damaged" in done.output


def test_nothing_of_sweeps_and_lab_imports_torch() -> None:
    code = (
        "import sys\n"
        "from core.experiments import axes, duration, lab, studies, surface, sweep\n"
        "import core.cli.sweep\n"
        "print([m for m in ('torch', 'timm', 'streamlit', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pause_and_unpause_from_the_command_line(root: Path, idle: None) -> None:
    assert invoke("pause", "--run-root", str(root)).exit_code == 0
    assert launch.paused(root)
    assert invoke("unpause", "--run-root", str(root)).exit_code == 0
    assert not launch.paused(root)


@pytest.mark.timeout(300)
def test_a_killed_worker_costs_a_sweep_nothing(tiny: Path, root: Path) -> None:
    """Every point is trained once, whatever dies on the way; what died is taken up, not repeated."""
    made = sweep.grid("α", "instant", {**small(tiny), "epochs": 30}, {"alpha": (0.0, 1.0), "seed": (0, 1, 2)})
    made = sweep.start(made, root)
    for kills in range(2):
        deadline = time.monotonic() + 120
        while sum(run.state == "finished" for run in runs.list_runs(root)) < 2 * kills + 1:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for about in launch.workers(root).values():
            os.kill(int(str(about["pid"])), signal.SIGKILL)
        while launch.workers(root):
            time.sleep(0.02)
        launch.ensure_worker(root=root)  # as every page does
    deadline = time.monotonic() + 120
    while not all(run.state == "finished" for run in runs.list_runs(root)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pairs = sweep.found(made, sweep.known(root))
    assert len({run.id for _, run in pairs if run}) == len(runs.list_runs(root)) == 6
    for run in runs.list_runs(root):
        steps = [row["step"] for row in run.history()]
        assert steps == sorted(set(steps))  # goes on where it was
        assert steps[-1] == 210
        assert run.log.count(" finished\n") <= 1
    assert isinstance(pairs[0][1], Run)
