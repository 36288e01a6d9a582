"""A metric that older runs do not have: "not computed" on every page and command, no error."""

import csv
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from app import cache
from app.compare import comparison
from app.compare.figures import FIGURES
from app.figures import scores
from app.home import bars
from app.kit import words
from app.sensitivity import result
from core import report, runs
from core.cli import app as command
from core.cli.sweep import _table
from core.experiments import sweep
from core.metrics import METRICS
from core.metrics.significance import sentence
from core.queue import launch
from core.report import NOT_COMPUTED
from core.runs import Run
from tests.components import open_page
from tests.small_runs import of_quick_start, scored_before

LACKING = ("map_sim", "map_medium", "wap")


@pytest.fixture
def root(tmp_path: Path, finished_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MulSupCon as it is; MACL scored by an earlier version."""
    root = tmp_path / "runs"
    shutil.copytree(finished_runs, root)
    scored_before(older(root), *LACKING)
    monkeypatch.setenv("MACL_RUN_ROOT", str(root))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    return root


def older(root: Path) -> Run:
    return next(run for run in runs.list_runs(root) if run.config.loss == "macl")


def opened(name: str, **query: Any) -> AppTest:
    page = open_page(name, **query)
    assert not page.exception
    assert not page.error
    return page


def texts(page: AppTest) -> str:
    kinds = ("markdown", "html", "metric", "caption", "info", "warning", "button")
    return "\n".join(str(node.proto) for kind in kinds for node in page.get(kind))


@pytest.mark.parametrize("figure", FIGURES)
def test_compare(root: Path, figure: str) -> None:
    for more in ({}, {"baseline": "MulSupCon", "metric": METRICS["map_medium"]}, {"group": "method"}):
        shown = texts(opened("compare", figure=figure, **more))
        assert shown.count(f'class=\\"note\\">{NOT_COMPUTED}<') >= len(LACKING)
        assert f"macl evaluate RUN --write adds it to {older(root).id}" in shown.replace("\\", "")


def test_when_all_lack_it_the_figure_says_so(root: Path) -> None:
    for run in runs.list_runs(root):
        if run.config.loss != "macl":
            scored_before(run, *LACKING)
    blocks = report.blocks(report.summary(cache.results()[0]))
    for draw in (scores.dots, scores.time):
        drawn = {}
        for key in ("map_medium", "map_easy"):
            figure = draw(blocks, key, ["tiny"], comparison.label, comparison.color)
            drawn[key] = [note.text for note in figure.layout.annotations].count(NOT_COMPUTED)
        assert drawn == {"map_medium": 1, "map_easy": 0}
    figure = scores.all_metrics(blocks, ["tiny"], comparison.label, comparison.color)
    assert [note.text for note in figure.layout.annotations].count(NOT_COMPUTED) == len(LACKING)


@pytest.mark.parametrize("name", ["retrieval", "embeddings", "mechanism", "home", "train"])
def test_other_pages(root: Path, name: str) -> None:
    shown = texts(opened(name, runs=[run.id for run in runs.list_runs(root)], by="map_medium", order="worst"))
    if name in ("embeddings", "home"):
        assert NOT_COMPUTED in shown


def test_quick_start(root: Path, finished_runs: Path) -> None:
    made = of_quick_start(root, finished_runs)
    for run in made:
        scored_before(run, "map_medium")
    page = opened("home", quick=[run.id for run in made])
    assert [metric.value for metric in page.metric][2] == "–"
    assert sum(caption.value == NOT_COMPUTED for caption in page.caption) == len(made)


def test_bars() -> None:
    whole = {part: dict.fromkeys(METRICS, 0.5) for part in ("metrics", "chance", "oracle")}
    lacking = {key: value for key, value in whole["metrics"].items() if key != "wap"}
    config = runs.RunConfig.build("instant", dataset="dlrsd", loss="macl")
    rows = report.summary([report.Result("a", config, whole | {"metrics": lacking})])
    assert f'<td class="value">{NOT_COMPUTED}</td>' in bars.bars(rows, "wap")
    assert words.score(lacking, "wap") == NOT_COMPUTED
    assert words.score(whole["metrics"], "wap") == "50.0 %"
    assert words.score({"wap": None}, "wap") == "–"


def test_the_lab(root: Path) -> None:
    run = older(root)
    assert result._known([(run, run)], "map_medium") == ([], [])
    assert result._known([(run, run)], "map_easy")[1] == [0]


def test_a_sweep(root: Path, tiny: Path) -> None:
    fields = {"dataset": "folder", "data_root": str(tiny), "image_size": 32, "batch_size": 16, "epochs": 2}
    source = older(root)
    started = sweep.start(
        sweep.grid("old", "instant", {"loss": "macl", **fields}, {"rarity": ["mean", "min"], "seed": [7]}),
        root,
    )
    for run in launch.queue(root):
        for file in source.path.iterdir():
            if file.is_file() and file.name != "config.json":
                shutil.copy(file, run.path)
    page = opened("sensitivity", s_view="Sweeps", sweep=started.id)
    assert any("was not computed when these runs were scored" in info.value for info in page.info)
    table = _table(started, root, "map_medium")
    assert set(table.columns[-1].cells) == {NOT_COMPUTED}


def test_commands(root: Path, tmp_path: Path) -> None:
    files = {kind: tmp_path / f"table.{kind}" for kind in ("csv", "latex", "markdown")}
    options = [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    done = CliRunner().invoke(
        command,
        ["table", "--baseline", "mulsupcon", "--metric", "wap", *options, "--run-root", str(root)],
    )
    assert done.exit_code == 0, done.output
    (line,) = (line for line in done.stdout.splitlines() if re.search(r"instant .* MACL ", line))
    assert line.count(NOT_COMPUTED) == len(LACKING)
    assert f"macl evaluate RUN --write adds it to {older(root).id}" in done.output
    (macl,) = (
        row for row in csv.DictReader(files["csv"].read_text().splitlines()) if row["method"] == "MACL"
    )
    assert {key for key in METRICS if macl[key] == ""} == set(LACKING)
    for kind in ("latex", "markdown"):
        (line,) = (line for line in files[kind].read_text().splitlines() if re.match(r"(\| )?MACL ", line))
        assert line.count(NOT_COMPUTED) == len(LACKING)

    added = CliRunner().invoke(command, ["evaluate", older(root).id, "--write", "--run-root", str(root)])
    assert added.exit_code == 0, added.output
    done = CliRunner().invoke(command, ["table", "--run-root", str(root)])
    assert NOT_COMPUTED not in done.output


def test_an_open_page_shows_what_was_added(root: Path) -> None:
    run = older(root)
    assert "wap" not in cache.scores(run)["metrics"]
    assert any("wap" not in found.scores["metrics"] for found in cache.results()[0])
    done = CliRunner().invoke(command, ["evaluate", run.id, "--write", "--run-root", str(root)])
    assert done.exit_code == 0, done.output
    assert cache.scores(run)["metrics"]["wap"] == run.scores()["metrics"]["wap"]
    assert all("wap" in found.scores["metrics"] for found in cache.results()[0])


def test_of_some_seeds_only() -> None:
    """A mean over the seeds that have the metric, said so; and no word of images that cannot query."""
    results = []
    for loss in ("mulsupcon", "macl"):
        for seed in range(3):
            values = dict(zip(METRICS, np.linspace(0.2, 0.8, len(METRICS)).tolist(), strict=True))
            parts = {part: dict(values) for part in ("metrics", "chance", "oracle")}
            if loss == "macl" and seed < 2:
                for part in parts.values():
                    del part["wap"]
            config = runs.RunConfig.build("instant", dataset="dlrsd", loss=loss, seed=seed)
            results.append(report.Result(f"{loss}{seed}", config, parts | {"images": 9, "train_images": 30}))
    (block,) = report.blocks(report.summary(results))
    rows = report.pin(block, next(row for row in block if row.loss == "mulsupcon"))
    macl = next(row for row in rows if row.loss == "macl")
    assert report.cell(macl, "wap").text == "80.00 (n = 1)"
    assert macl.against["wap"].missing == (0, 1)
    assert macl.against["wap"].seeds == (2,)
    words = sentence("MACL", "MulSupCon", macl.against["wap"])
    assert "macl evaluate RUN --write adds the metric" in words
    assert "counts as a query" not in words
    assert report.missing(rows) == (
        "Not computed when these runs were scored: wAP@100. macl evaluate RUN --write adds it to macl0, "
        "macl1."
    )
    assert report.missing(rows, ["ndcg"]) == ""
