"""A metric that has no value, since no image of a small test split can query, on every page and command."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from app import cache
from app.compare.figures import FIGURES
from app.figures import curves
from app.kit import words
from app.sensitivity import result
from app.train import live
from core import runs
from core.cli import app as command
from core.cli.sweep import _table
from core.experiments import lab, sweep
from core.losses import Value
from core.metrics import METRICS
from core.queue import launch
from core.runs import Run, RunConfig
from tests.components import open_page
from tests.small_runs import of_quick_start

EMPTY: dict[str, None] = dict.fromkeys(METRICS)


@pytest.fixture
def root(tmp_path: Path, finished_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runs of MulSupCon and MACL, and of both a second seed on which no metric has a value."""
    root = tmp_path / "runs"
    shutil.copytree(finished_runs, root)
    for run in runs.list_runs(finished_runs):
        copy = root / f"{run.id}-none"
        shutil.copytree(run.path, copy)
        (copy / "config.json").write_text(run.config.model_copy(update={"seed": 1}).model_dump_json())
        without(Run(copy))
    monkeypatch.setenv("MACL_RUN_ROOT", str(root))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    return root


def without(run: Run) -> None:
    """Take every value away from its scores and from the validation of its curve."""
    scores = run.scores() | {"metrics": EMPTY, "chance": EMPTY, "training_s": None}
    (run.path / "scores.json").write_text(json.dumps(scores))
    lines = [
        json.dumps({key: None if key.startswith("val_") else value for key, value in row.items()})
        for row in run.history()
    ]
    (run.path / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def opened(name: str, **query: Any) -> AppTest:
    page = open_page(name, **query)
    assert not page.error
    said = [
        str(node.proto)
        for kind in ("markdown", "html", "metric", "caption", "info", "warning", "button")
        for node in page.get(kind)
    ]
    assert not any("nan" in word.lower().split() for text in said for word in text.split('"'))
    return page


@pytest.mark.parametrize("seeds", [[], ["1"]])
@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.usefixtures("root")
def test_compare(figure: str, seeds: list[str]) -> None:
    for more in ({}, {"baseline": "MulSupCon"}, {"order": "best first", "group": "method"}):
        opened("compare", figure=figure, seeds=seeds, **more)


@pytest.mark.parametrize("y", [f"val_{key}" for key in ("map_medium", "wap")])
def test_train(root: Path, y: str) -> None:
    opened("train", runs=[run.id for run in runs.list_runs(root)], y=curves.Y_AXES[y])


@pytest.mark.parametrize("name", ["retrieval", "embeddings", "mechanism", "home"])
def test_other_pages(root: Path, name: str) -> None:
    opened(name, runs=[run.id for run in runs.list_runs(root)], by="map_hard", order="worst")


def test_quick_start(root: Path, finished_runs: Path) -> None:
    made = of_quick_start(root, finished_runs)
    for run in made:
        without(run)
    page = opened("home", quick=[run.id for run in made])
    assert [metric.value for metric in page.metric][:4] == ["–"] * 4


def test_lab(root: Path, tiny: Path, finished_runs: Path) -> None:
    """The settings on the left are trained; of the three seeds one has no value, then none has one."""
    config = RunConfig.build("instant", dataset="folder", data_root=str(tiny), image_size=128)
    source = next(run for run in runs.list_runs(finished_runs) if run.config.loss == "macl")
    made = []
    for seed in range(result.SEEDS):
        run = lab.of(config.model_copy(update={"seed": seed}), root)
        shutil.copytree(source.path, run.path)
        made.append(run)

    def shown() -> list[tuple[str, str]]:
        pairs = [(run, run) for run in made]
        values, changes = result._known(pairs, "map_hard")
        return [(result._spread(values, True), result._spread(changes, False))]

    value = 100 * source.scores()["metrics"]["map_hard"]
    assert shown() == [(f"3 seeds {value:.1f} ± 0.0", "3 seeds +0.0 ± 0.0")]
    for run, wanted in zip(
        made[::-1],
        (
            (f"2 seeds of 3 {value:.1f} ± 0.0", "2 seeds of 3 +0.0 ± 0.0"),
            (f"1 seed of 3 {value:.1f}", "1 seed of 3 +0.0"),
            ("no image can query", "no image can query"),
        ),
        strict=True,
    ):
        without(run)
        cache._scores.cache_clear()
        assert shown() == [wanted]


@pytest.mark.parametrize(
    "axes",
    [
        {"alpha": [0.0, 1.0, 2.0, 3.0], "beta": [0.5, 1.0]},
        {"alpha": [0.0, 1.0, 2.0, 3.0]},
        {"rarity": ["mean", "min"]},
    ],
)
def test_a_sweep(root: Path, tiny: Path, axes: dict[str, list[Value]]) -> None:
    fields = {"dataset": "folder", "data_root": str(tiny), "image_size": 32, "batch_size": 16, "epochs": 2}
    started = sweep.start(
        sweep.grid("none", "instant", {"loss": "macl", **fields}, {**axes, "seed": [7]}), root
    )
    source = next(run for run in runs.list_runs(root) if run.id.endswith("-none"))
    for run in launch.queue(root):
        for file in source.path.iterdir():
            if file.is_file() and file.name != "config.json":
                shutil.copy(file, run.path)
    page = opened("sensitivity", s_view="Sweeps", sweep=started.id)
    assert any("has no value here" in info.value for info in page.info)
    table = _table(started, root, "map_hard")
    assert set(table.columns[-1].cells) == {"–"}
    assert table.row_count == len(started.points)


@pytest.mark.parametrize("arguments", [["table", "--baseline", "mulsupcon"], ["runs"], ["evaluate"]])
def test_commands(root: Path, arguments: list[str], tmp_path: Path) -> None:
    if arguments == ["table", "--baseline", "mulsupcon"]:
        arguments += ["--csv", str(tmp_path / "a.csv"), "--latex", str(tmp_path / "a.tex")]
        arguments += ["--markdown", str(tmp_path / "a.md")]
    if arguments == ["evaluate"]:
        arguments = ["evaluate", next(run.id for run in runs.list_runs(root) if run.id.endswith("-none"))]
    said = CliRunner().invoke(command, [*arguments, "--run-root", str(root)])
    assert said.exit_code == 0, said.output
    assert "nan" not in said.output.split()


def test_the_words() -> None:
    assert words.percent(None) == words.percent(float("nan")) == "–"
    assert words.percent(0.1234) == "12.3 %"
    assert live.QUALITY in curves.Y_AXES
