"""The compare page on real small runs: the table, its files, filters, permalink and empty states."""

import io
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import cache, compare_table
from app.figures import scores
from core import report, runs
from core.metrics import METRICS

MAIN = str(Path(__file__).resolve().parent.parent / "app" / "main.py")


class Cells(HTMLParser):
    """The text of every table cell, by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
            self.open = True

    def handle_endtag(self, tag: str) -> None:
        self.open = self.open and tag not in ("th", "td")

    def handle_data(self, data: str) -> None:
        if self.open:
            self.rows[-1][-1] += data


def cells(html: str) -> list[list[str]]:
    """Rows of cell texts, without the marks for screen readers."""
    parser = Cells()
    parser.feed(re.sub(r'<span class="unseen">.*?</span>', "", html))
    return parser.rows


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("MACL_RUN_ROOT", str(folder))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    return folder


@pytest.fixture
def two(root: Path, finished_runs: Path) -> Path:
    shutil.copytree(finished_runs, root, dirs_exist_ok=True)
    return root


@pytest.fixture
def another(two: Path) -> Callable[..., None]:
    """Copies the MACL run with another configuration, as if it had been trained so."""

    def copy(name: str, **fields: Any) -> None:
        run = next(run for run in runs.list_runs(two) if run.config.loss == "macl")
        shutil.copytree(run.path, two / name)
        config = run.config.model_copy(update=fields)
        (two / name / "config.json").write_text(config.model_dump_json())

    return copy


def compare(**query: Any) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    page.switch_page("../pages/compare.py").run()
    assert not page.exception
    return page


def table(page: AppTest) -> list[list[str]]:
    """Rows of all tables on the page."""
    bodies = [html.proto.body for html in page.get("html") if "<table" in html.proto.body]
    assert len(bodies) == 1
    return cells(bodies[0])


@pytest.mark.usefixtures("root")
def test_without_runs_it_leads_to_the_train_page() -> None:
    page = compare()
    assert "No finished run yet" in page.info[0].value
    assert [link.proto.page for link in page.get("page_link")] == ["train"]
    assert not page.get("plotly_chart")


@pytest.mark.usefixtures("two")
def test_the_table_is_what_the_runs_scored() -> None:
    page = compare()
    head, *rows = table(page)
    assert head == ["Method", "Seeds", *(title.replace(" ", "\xa0") for title in METRICS.values())]
    assert [row[0] for row in rows] == ["chance", "MulSupCon", "MACL", "oracle"]
    for run in cache.finished_runs():
        (row,) = (row for row in rows if row[0].lower() == run.config.loss)
        assert row[1:] == ["1", *(f"{100 * run.scores()['metrics'][key]:.2f}" for key in METRICS)]
    assert not page.warning
    (chart,) = page.get("plotly_chart")
    assert "mAP Easy@0.4" in chart.proto.alt


@pytest.mark.usefixtures("two")
def test_csv_and_latex_say_the_same_numbers() -> None:
    page = compare()
    rows = report.summary(cache.results())
    assert page.code[0].value == report.to_latex(rows).strip()
    frame = pd.read_csv(io.StringIO(report.to_csv(rows)))
    for line, row in zip(frame.itertuples(), table(page)[1:], strict=True):
        assert [getattr(line, key) for key in METRICS] == [float(cell) for cell in row[2:]]


def test_seeds_become_mean_and_spread(another: Callable[..., None]) -> None:
    another("z1", seed=1)
    rows = table(compare())
    (macl,) = (row for row in rows if row[0] == "MACL")
    assert macl[1] == "2"
    assert all(re.fullmatch(r"\d+\.\d\d ± 0\.00", cell) for cell in macl[2:])  # the same scores twice


def test_filters_from_the_address(another: Callable[..., None]) -> None:
    another("z1", loss="oml", params={})
    assert [row[0] for row in table(compare())[1:]] == ["chance", "OML", "MulSupCon", "MACL", "oracle"]
    page = compare(losses=["MACL", "OML"], metric="wAP@100")
    assert [row[0] for row in table(page)[1:]] == ["chance", "OML", "MACL", "oracle"]
    assert page.selectbox(key="metric").value == "wAP@100"
    assert not page.warning


@pytest.mark.usefixtures("two")
def test_an_address_with_what_is_gone_says_so_and_shows_the_rest() -> None:
    page = compare(losses=["MACL", "Nonesuch"], metric="F1")
    assert "Nonesuch" in page.warning[0].value
    assert "F1" in page.warning[0].value
    assert [row[0] for row in table(page)] == ["Method", "chance", "MACL", "oracle"]


@pytest.mark.usefixtures("two")
def test_a_link_to_some_runs_shows_those_and_leads_to_all() -> None:
    (run,) = (run for run in cache.finished_runs() if run.config.loss == "macl")
    page = compare(runs=[run.id, "gone"])
    assert [row[0] for row in table(page)[1:]] == ["chance", "MACL", "oracle"]
    assert "1 of 2 runs" in page.caption[1].value
    assert "gone" in page.warning[0].value
    assert len(table(compare(runs="gone"))[1:]) == 4


def test_filters_that_leave_nothing(another: Callable[..., None]) -> None:
    another("z1", preset="quick", dataset="demo", data_root=None)
    page = compare(losses="MulSupCon", presets="quick")
    assert "take a filter away" in page.info[0].value


def test_tables_by_data_set_and_protocol_and_names_of_folders_are_escaped(
    another: Callable[..., None],
) -> None:
    another("z1", data_root="/data/<b>mine</b>")
    another("z2", dataset="demo", data_root=None)
    page = compare()
    (body,) = (html.proto.body for html in page.get("html") if "<table" in html.proto.body)
    assert body.count("<table") == 3
    assert "<b>mine" not in body
    assert len(table(page)) == (1 + 4) + (1 + 3) + (1 + 3)


def test_own_data_sets_come_before_the_demo_set_and_the_recorded() -> None:
    def changed(recorded: bool = False, **fields: object) -> list[report.Result]:
        return [
            replace(r, recorded=recorded, config=r.config.model_copy(update=fields)) for r in cache.results()
        ]

    rows = report.summary(
        [*changed(dataset="demo"), *changed(True, dataset="demo", epochs=3), *changed(dataset="dlrsd")]
    )
    blocks = compare_table.ordered(rows)
    assert [block[0].dataset for block in blocks] == ["dlrsd", "demo", "demo"]
    assert [block[0].results[0].recorded for block in blocks] == [False, False, True]
    names = compare_table.links(blocks)
    assert len(set(names)) == len(names) == 3


def test_marks_can_be_heard_and_seen() -> None:
    values = [{key: (mean, 1.0) for key in METRICS} for mean in (90.0, 80.0, 70.0)]
    config = runs.RunConfig.build("instant", dataset="dlrsd")
    results = (report.Result("r", config, {"images": 411, "device": "cpu"}),)
    rows = [
        report.Row(
            "dlrsd", "instant", f"m{i}", "macl", (0, 1, 2), value, results, dict.fromkeys(METRICS, i + 1)
        )
        for i, value in enumerate(values)
    ]
    html = compare_table.block(rows)
    assert html.count("<strong>90.00") == html.count("80.00") == html.count("70.00") == len(METRICS)
    assert html.count("> best<") == html.count("> second<") == len(METRICS)
    assert html.count('scope="row"') == 3
    assert html.count('scope="col"') == 2 + len(METRICS)
    assert "seeds 0–2: mean ± std · 411 test images · cpu" in html


def test_links_name_runs_of_one_seed(another: Callable[..., None]) -> None:
    another("z1", seed=1)
    page = compare()
    links = {link.proto.page: link.proto for link in page.get("page_link")}
    assert set(links) == {"retrieval", "train"}
    ids = [run.id for run in cache.finished_runs() if run.config.seed == 0]
    assert len(ids) == 2
    assert all(name in str(link) for name in ids for link in links.values())
    assert "z1" not in str(links)


def test_the_figure_holds_every_seed_and_both_lines(another: Callable[..., None]) -> None:
    another("z1", seed=1)
    another("z2", dataset="demo", data_root=None)
    rows = report.summary(cache.results())
    blocks = report.blocks(rows)
    figure = scores.dots(blocks, "wap", ["a", "b"], compare_table.label, compare_table.color)
    means = [trace for trace in figure.data if trace.marker.size > 10]
    assert len(means) == sum(not row.reference for row in rows)
    seeds = [trace for trace in figure.data if trace.marker.size < 10]
    assert sum(len(trace.x) for trace in seeds) == sum(len(r.seeds) for r in rows if not r.reference)
    lines = sorted(shape.x0 for shape in figure.layout.shapes)
    assert lines == pytest.approx(sorted(row.values["wap"][0] for row in rows if row.reference))
    ranges = [figure.layout.xaxis.range, figure.layout.xaxis2.range]
    assert all(any(low <= x <= high for low, high in ranges) for x in lines)
