"""The compare page on real small runs: the table, its files, filters, permalink and empty states."""

import io
import json
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

from app import cache
from app.compare import blocks as tables
from app.compare import comparison, filters
from app.compare import labels as per_label
from app.compare.comparison import View
from app.figures import label_quality, scores
from app.kit.words import plain
from core import metrics, report, runs
from core.experiments.benchmark import Benchmark
from core.files import PROJECT
from core.metrics import METRICS
from core.report.labels import label_table
from tests.components import charts

MAIN = str(PROJECT / "app" / "navigation.py")


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
    monkeypatch.setenv("MACL_BENCHMARK_ROOT", str(tmp_path / "benchmarks"))
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
    return cells("".join(bodies))


@pytest.mark.usefixtures("root")
def test_without_runs_it_leads_to_the_train_page() -> None:
    page = compare()
    assert "No finished run yet" in page.info[0].value
    assert [link.proto.page for link in page.get("page_link")] == ["train"]
    assert not charts(page)


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
    (chart,) = charts(page)
    assert "mAP Easy@0.4" in chart["alt"]


@pytest.mark.usefixtures("two")
def test_csv_and_latex_say_the_same_numbers() -> None:
    page = compare()
    rows = report.summary(cache.results()[0])
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
    said = " ".join(warning.value for warning in page.warning)
    assert "Nonesuch" in said
    assert "F1" in said
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
    body = "".join(html.proto.body for html in page.get("html"))
    assert body.count("<table") == 3
    assert "<b>mine" not in body
    assert len(table(page)) == (1 + 4) + (1 + 3) + (1 + 3)


@pytest.mark.usefixtures("two")
def test_own_data_sets_come_before_the_demo_set_and_the_recorded() -> None:
    def changed(recorded: bool = False, **fields: object) -> list[report.Result]:
        return [
            replace(r, recorded=recorded, config=r.config.model_copy(update=fields))
            for r in cache.results()[0]
        ]

    rows = report.summary(
        [*changed(dataset="demo"), *changed(True, dataset="demo", epochs=3), *changed(dataset="dlrsd")]
    )
    blocks = comparison.ordered(rows)
    assert [block[0].dataset for block in blocks] == ["dlrsd", "demo", "demo"]
    assert [block[0].results[0].recorded for block in blocks] == [False, False, True]
    names = [comparison.link(block, blocks) for block in blocks]
    assert len(set(names)) == len(names) == 3


def test_folders_of_one_name_are_told_apart() -> None:
    def at(place: str, epochs: int = 3) -> report.Result:
        fields = {"dataset": "folder", "data_root": place, "loss": "macl", "epochs": epochs}
        return replace(LOW[0], id=f"{place}{epochs}", config=runs.RunConfig.build("instant", **fields))

    places = ("/a/x/tiles", "/b/x/tiles", "/a/other")
    found = report.blocks(report.summary([*map(at, places), at(places[0], 4)]))
    titles = [comparison.title(block, found).split(" ")[-1] for block in found]
    assert titles == ["other", "a/x/tiles", "a/x/tiles", "b/x/tiles"]
    assert len({comparison.link(block, found) for block in found}) == 4
    assert comparison.methods(found, View()).count("b/x/tiles") == 3  # chance, MACL, oracle


def test_a_cell_of_fewer_seeds_than_its_row_says_of_how_many() -> None:
    scores = {**LOW[0].scores, "metrics": {**LOW[0].scores["metrics"], "map_hard": None}}
    (rows,) = comparison.arranged(report.summary([replace(LOW[0], scores=scores), *LOW[1:]]), View())
    assert comparison.block(rows, View()).count("(n = 3)") == 1


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
    html = comparison.block(rows, View(), "DLRSD")
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
    rows = report.summary(cache.results()[0])
    blocks = report.blocks(rows)
    figure = scores.dots(blocks, "wap", ["a", "b"], comparison.label, comparison.color)
    means = [trace for trace in figure.data if trace.marker.size > 10]
    assert len(means) == sum(not row.reference for row in rows)
    seeds = [trace for trace in figure.data if trace.marker.size < 10]
    assert sum(len(trace.x) for trace in seeds) == sum(len(r.seeds) for r in rows if not r.reference)
    lines = sorted(shape.x0 for shape in figure.layout.shapes)
    assert lines == pytest.approx(sorted(row.values["wap"][0] for row in rows if row.reference))
    ranges = [figure.layout.xaxis.range, figure.layout.xaxis2.range]
    assert all(any(low <= x <= high for low, high in ranges) for x in lines)


def of(loss: str, seed: int, easy: float, **more: Any) -> report.Result:
    """A result on DLRSD in which every metric has this value."""
    fields = {key: more.pop(key) for key in ("params", "epochs") if key in more}
    config = runs.RunConfig.build("instant", dataset="dlrsd", loss=loss, seed=seed, **fields)
    scores = {"metrics": dict.fromkeys(METRICS, easy), "oracle": dict.fromkeys(METRICS, 1.0)}
    scores |= {"chance": dict.fromkeys(METRICS, 0.1 + seed / 100), "images": 411, "train_images": 1475}
    scores |= {"training_s": 1.5, "device": "cpu"}
    return report.Result(f"{loss}-{seed}-{len(more)}", config, scores, **more)


SEEDS = range(4)
LOW = [of("macl", seed, 0.50 + seed / 1000) for seed in SEEDS]
HIGH = [of("oml", seed, 0.80 + (seed % 2) / 1000) for seed in SEEDS]
ALIKE = [of("lmsc", seed, 0.50 + (3 - seed) / 1000) for seed in SEEDS]


def test_a_baseline_shows_differences_marks_and_what_they_mean() -> None:
    (rows,) = comparison.arranged(report.summary(LOW + HIGH + ALIKE), View(baseline="MACL"))
    html = comparison.block(rows, View(baseline="MACL"))
    lines = {line[0]: line for line in cells(html)}
    assert lines["OML"][2] == "80.05 ± 0.06▲ +29.90"
    assert lines["LMsc"][2] == "50.15 ± 0.13≈ +0.00"
    assert lines["MACL baseline"][2] == "50.15 ± 0.13"
    assert html.count('class="against better"') == html.count('class="against same"') == len(METRICS)
    assert "seeds in common: 4; 95 % interval +29." in html
    assert html.count('<span class="unseen"> better</span>') == len(METRICS)


def test_the_table_says_where_the_data_changed_between_its_rows() -> None:
    changed = [replace(result, scores={**result.scores, "images": 400}) for result in HIGH]
    (rows,) = comparison.arranged(report.summary(LOW + changed), View(baseline="MACL"))
    html = comparison.block(rows, View(baseline="MACL"), "DLRSD")
    assert "the data changed between the rows: other test images at seeds 0–3" in html
    assert html.count('title="the same seeds, but other test images"') == len(METRICS)
    (rows,) = comparison.arranged(report.summary(LOW + HIGH), View(baseline="MACL"))
    assert "changed" not in comparison.block(rows, View(baseline="MACL"), "DLRSD")


def test_the_best_stand_first_between_oracle_and_chance() -> None:
    (rows,) = comparison.arranged(report.summary(LOW + HIGH), View(metric="wap", best_first=True))
    assert [row.loss for row in rows] == ["oracle", "oml", "macl", "chance"]
    assert comparison.block(rows, View("wap", best_first=True)).count("best first: ") == 1


def test_the_baseline_of_another_study_is_the_only_variant_of_its_loss() -> None:
    tuned = [of("macl", seed, 0.6, params={"tau_scale": 0.5}, study="tuned") for seed in SEEDS]
    tuned += [of("oml", seed, 0.6, study="tuned") for seed in SEEDS]
    twice = [of("macl", seed, 0.6, params={"alpha": 3.0}, study="tuned") for seed in SEEDS]
    name = "MACL"
    assert [row.method for row in comparison.arranged(report.summary(tuned), View(baseline=name))[0]][2] == (
        "MACL (tau_scale=0.5)"
    )
    for results, pinned in ((tuned, 1), (tuned + twice, 0), (HIGH, 0)):
        (rows,) = comparison.arranged(report.summary(results), View(baseline=name))
        assert sum(row.baseline for row in rows) == pinned


def test_a_table_per_method() -> None:
    other = [of("macl", seed, 0.4, epochs=3, recorded=True) for seed in SEEDS]
    found = comparison.arranged(report.summary(LOW + HIGH + other), View())
    html = comparison.methods(found, View())
    assert re.findall("<caption>(.*?)</caption>", html) == ["OML", "MACL", "chance", "oracle"]
    assert [line[0] for line in cells(html)].count("DLRSD instant") == 4
    assert "DLRSD instant epochs=3, recorded" in [line[0] for line in cells(html)]


def test_every_parameter_that_differs_is_a_filter() -> None:
    results = [*LOW, *HIGH, of("macl", 0, 0.5, params={"alpha": 2.0}), of("oml", 0, 0.5, epochs=3)]
    results.append(of("macl", 0, 0.5, recorded=True, study="τ tuned on validation"))
    assert filters.differing(results) == [
        *("epochs=3", "epochs=15", "MACL alpha=1.5", "MACL alpha=2"),
        *("study=none", "study=τ tuned on validation", "origin=own", "origin=recorded"),
    ]
    assert filters.differing(LOW) == []


def test_filters_of_seeds_and_parameters_are_in_the_address(another: Callable[..., None]) -> None:
    (macl,) = (run.config for run in cache.finished_runs() if run.config.loss == "macl")
    another("z1", seed=1)
    another("z2", seed=0, params={**macl.params, "alpha": 2.0})
    names = ["chance", "MulSupCon", "MACL", "MACL (α=2)", "oracle"]
    assert [row[0] for row in table(compare())[1:]] == names
    page = compare(where="MACL alpha=2")
    assert [row[0] for row in table(page)[1:]] == ["chance", "MulSupCon", "MACL (α=2)", "oracle"]
    assert not page.warning
    page = compare(seeds="1")
    assert [row[0] for row in table(page)[1:]] == ["chance", "MACL", "oracle"]
    assert any(caption.value == "Only seed 1." for caption in page.caption)
    assert "MACL alpha=9" in compare(where="MACL alpha=9").warning[0].value


def test_the_whole_view_comes_from_the_address(another: Callable[..., None]) -> None:
    for seed in (1, 2):
        another(f"z{seed}", seed=seed)
    query = {"baseline": "MulSupCon", "order": "best first", "metric": "wAP@100", "figure": "All metrics"}
    page = compare(**query)
    rows = [row[0] for row in table(page)]
    assert rows[1] == "oracle"
    assert rows[-1] == "chance"
    assert "MulSupCon baseline" in rows
    assert any("wAP@100: nothing may be concluded" in text.value.replace("\\", "") for text in page.markdown)
    (chart,) = charts(page)
    assert "All seven metrics" in chart["alt"]
    assert len(table(compare(group="method"))) == 4 * 2
    assert not page.warning
    assert "OML" in compare(baseline="OML").warning[0].value


@pytest.mark.parametrize("figure", ["One metric", "All metrics", "Labels", "Training time"])
@pytest.mark.usefixtures("two")
def test_every_figure_is_drawn_under_its_tab_alone(figure: str) -> None:
    page = compare(figure=figure, baseline="MACL")
    (chart,) = charts(page)
    assert chart["alt"]


@pytest.mark.usefixtures("two")
def test_queries_that_two_runs_answer_differently_lead_to_the_retrieval_page() -> None:
    page = compare(figure="Queries", baseline="MACL", metric="mAP(sim)@5000")
    links = [link.proto for link in page.get("page_link") if "query=" in str(link.proto)]
    assert links
    ids = [run.id for run in cache.finished_runs()]
    assert all(link.page == "retrieval" and all(name in str(link) for name in ids) for link in links)
    first, second = page.selectbox(key="first"), page.selectbox(key="second")
    assert first.value.startswith("MulSupCon")
    assert second.value.startswith("MACL")
    bodies = " ".join(html.proto.body for html in page.get("html"))
    values = re.findall(r"(\d+) % against (\d+) %", bodies)
    assert values
    assert all(int(own) >= int(other) for own, other in values)  # below the heading of the better one
    assert any("MACL is better" in text.value for text in page.markdown)
    wanted = r"mAP\(sim\)@5000 of each of \d+ queries: MulSupCon is better on \d+, MACL on \d+"
    assert any(re.match(wanted, caption.value) for caption in page.caption)


def test_labels_of_runs_whose_images_are_gone(another: Callable[..., None]) -> None:
    another("z1", data_root="/gone", seed=7)
    page = compare(figure="Labels", seeds="7")
    assert len(charts(page)) == 1
    assert any("test images that hold them" in caption.value for caption in page.caption)


@pytest.mark.usefixtures("two")
def test_quality_by_the_number_of_labels_stands_below_the_labels() -> None:
    page = compare(figure="Labels", metric="wAP@100")
    (body,) = (
        html.proto.body for html in page.get("html") if "number of labels of the query" in html.proto.body
    )
    assert "<caption>wAP@100" in body
    head, *rows = cells(body)
    for run in cache.finished_runs():
        by_number = metrics.by_label_count(*run.embeddings())
        assert head[1:] == [f"{n} label{'s' if n > 1 else ''}" for n in by_number]
        (row,) = (row for row in rows if row[0].lower() == run.config.loss)
        wanted = [f"{100 * values['wap']:.1f}" for values in by_number.values()]
        assert row[1:] == ["–" if text == "nan" else text for text in wanted]
    pinned = compare(figure="Labels", baseline="MACL")
    assert any("difference to the baseline in points, mean" in html.proto.body for html in pinned.get("html"))


@pytest.mark.usefixtures("two")
def test_the_runs_of_the_labels_are_looked_for_once_per_table(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = cache.by_id
    monkeypatch.setattr(cache, "by_id", lambda ids: asked.append(ids) or real(ids))
    assert len(charts(compare(figure="Labels"))) == 1
    assert [len(ids) for ids in asked] == [2]


def test_a_run_whose_embeddings_are_gone_is_left_out_of_the_labels(two: Path) -> None:
    for run in cache.finished_runs():
        (run.path / "embeddings.safetensors").unlink()
    page = compare(figure="Labels")
    assert any("No run with test embeddings" in info.value for info in page.info)
    page = compare(figure="Queries")
    assert "cannot be read" in page.error[0].value


def test_runs_of_different_seeds_have_no_common_queries(another: Callable[..., None], two: Path) -> None:
    another("z1", seed=1)
    page = compare(figure="Queries", seeds="1")
    assert any("Two finished runs" in info.value for info in page.info)
    first = compare(figure="Queries").selectbox(key="first")
    (other,) = (text for text in first.options if "seed 1" in text)
    page = compare(figure="Queries", first=other)
    assert any("No other run has the same test images" in info.value for info in page.info)


def test_queries_of_runs_whose_images_have_changed_are_not_compared(two: Path) -> None:
    run = next(run for run in runs.list_runs(two) if run.config.loss == "macl")
    splits = run.splits()
    splits["test"] = splits["test"][::-1]
    (run.path / "splits.json").write_text(json.dumps(splits))
    page = compare(figure="Queries")
    assert any("No other run has the same test images" in info.value for info in page.info)


@pytest.fixture
def recorded(tmp_path: Path, root: Path) -> Path:
    """A benchmark that came with the product: two losses on ML-AID and DLRSD, two seeds."""
    lines = [
        {
            "run": f"{name}-{loss}-{seed}",
            "split": f"{name} {seed}",
            "preset": "instant",
            "config": {"dataset": name, "loss": loss, "params": {}, "seed": seed},
            "scores": of(loss, seed, 0.5 + seed / 10).scores
            | {"label_ap": {"tree": 0.5, "court": 0.4, "ship": 0.25 if loss == "oml" else 0.75}},
        }
        for name in ("dlrsd", "ml_aid")
        for loss in ("macl", "oml")
        for seed in (0, 1)
    ]
    counts = {"label_counts": {"tree": 100, "court": 50, "ship": 9}}
    splits = {str(line["split"]): counts for line in lines}
    about = {"made": "2026-01-02", "command": "macl benchmark", "study": "", "versions": {"torch": "2.14.1"}}
    about["notes"] = ["ML-AID: 150 px instead of 600.", "Two seeds only."]
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "small.json").write_text(json.dumps({"about": about, "splits": splits, "runs": lines}))
    return folder


@pytest.mark.usefixtures("recorded")
def test_recorded_tables_stand_there_with_their_origin() -> None:
    page = compare(published="true")
    assert [row[0] for row in table(page)] == 2 * ["Method", "chance", "OML", "MACL", "oracle"]
    body = "".join(html.proto.body for html in page.get("html"))
    assert "recorded · instant · seeds 0, 1" in body
    assert "paper 28.95" in body
    said = [caption.value for caption in page.caption]
    (ml_aid,) = (text for text in said if "150 px" in text)
    assert "Two seeds only" in ml_aid
    assert "Recorded on 2026-01-02 · `macl benchmark` · torch 2.14.1" in ml_aid
    assert "Table 5 of the MACL paper" in ml_aid
    assert sum("Two seeds only" in text for text in said) == 2
    assert not page.get("page_link")


@pytest.mark.usefixtures("recorded")
def test_a_table_per_method_keeps_conclusions_cautions_and_origin() -> None:
    page = compare(published="true", group="method", baseline="MACL")
    assert len(table(page)) == 4 * 3  # each with its head and a row of either data set
    said = [text.value.replace("\\", "") for text in (*page.markdown, *page.caption)]
    for name in ("DLRSD", "ML-AID"):
        assert sum(text.startswith(f"**{name}, recorded · instant") for text in said) == 1
    assert sum("nothing may be concluded about MACL and the others" in text for text in said) == 2
    assert sum("a reference, no target" in text for text in said) == 2
    assert sum("Recorded on 2026-01-02" in text for text in said) == 2
    (legend,) = (text for text in said if text.startswith("Bold: "))
    assert legend.startswith("Bold: best mean of its data set and protocol;")


@pytest.mark.usefixtures("recorded")
def test_labels_of_recorded_tables() -> None:
    page = compare(figure="Labels", datasets="DLRSD")
    (chart,) = charts(page)
    assert "on each label of DLRSD, percent" in chart["alt"]
    (said,) = (caption.value for caption in page.caption if "training images that hold them" in caption.value)
    assert plain("Highest on the rare third: MACL, 75.0 %.") in said


@pytest.mark.usefixtures("recorded", "two")
def test_own_runs_stand_beside_recorded_ones() -> None:
    page = compare()
    assert len(table(page)) == 3 * 4 + 3
    assert table(page)[1][0] == "chance"


@pytest.mark.usefixtures("recorded")
def test_own_and_recorded_rows_of_one_table_are_told_apart(another: Callable[..., None]) -> None:
    config = runs.RunConfig.build("instant", dataset="dlrsd", loss="macl")
    another("z1", **{name: getattr(config, name) for name in runs.RunConfig.model_fields})
    page = compare(datasets="DLRSD")
    names = [row[0] for row in table(page)]
    assert names == ["Method", "chance", "OML recorded", "MACL", "MACL recorded", "oracle"]
    assert page.selectbox(key="baseline").options == ["OML, recorded", "MACL", "MACL, recorded"]


def test_a_damaged_benchmark_is_named_and_takes_nothing_else_away(two: Path) -> None:
    whole = table(compare())
    folder = two / "benchmarks" / "mine"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text("{")
    page = compare()
    assert "summary.json" in page.warning[0].value
    assert table(page) == whole


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("scores.json", '{"metrics": {', "damaged"),
        ("scores.json", '{"metrics": {}, "chance": {}, "oracle": {}}', "no metric in metrics"),
        ("splits.json", '{"train": [', "splits.json is damaged"),
    ],
)
def test_a_damaged_run_is_named_and_takes_nothing_else_away(
    another: Callable[..., None], two: Path, file: str, content: str, said: str
) -> None:
    whole = table(compare())
    another("z1", seed=1)
    scores = json.loads((two / "z1" / "scores.json").read_text())
    scores.pop("train_images", None)  # then they are counted in the split
    (two / "z1" / "scores.json").write_text(json.dumps(scores))
    (two / "z1" / file).write_text(content)
    page = compare()
    warning = page.warning[0].value.replace("\\", "")
    assert re.search(f"Left out: .*z1/{file} ", warning)
    assert said in warning
    assert table(page) == whole


@pytest.mark.usefixtures("two")
def test_a_benchmark_that_lacks_numbers_is_named_and_takes_nothing_else_away(
    recorded: Path, two: Path
) -> None:
    whole = table(compare())
    folder = two / "benchmarks" / "mine"
    folder.mkdir(parents=True)
    for part in ("chance", "metrics"):
        held = json.loads((recorded / "small.json").read_text())
        held["runs"][0]["scores"][part]["wap"] = "much"
        (folder / "summary.json").write_text(json.dumps(held))
        page = compare()
        assert f"wap in {part} is 'much', no number of dlrsd-macl-0" in page.warning[0].value.replace(
            "\\", ""
        )
        assert table(page) == whole


def in_benchmark(name: str, about: dict[str, Any], recorded: bool = False) -> Benchmark:
    """A benchmark with the results of one loss on DLRSD."""
    empty = Benchmark(name, about, (), recorded)
    return replace(
        empty,
        results=tuple(replace(r, id=f"{empty.prefix}{r.id}", recorded=recorded, folder=False) for r in LOW),
    )


def test_notes_concern_their_data_set() -> None:
    notes = ["DLRSD: compressed again.", "ML-AID: 150 px.", "ML-AID and DLRSD: archives.", "A busy machine."]
    found = in_benchmark("quick", {"made": "2026-11-26", "notes": notes})
    (rows,) = comparison.arranged(report.summary(found.results), View())
    said = [notes[0], notes[2], notes[3]]
    assert tables.provenance(rows, [found]) == ["Measured on 2026-11-26", *map(plain, said)]
    (others,) = comparison.arranged(report.summary(LOW), View())
    assert not tables.provenance(others, [found])


def test_commands_concern_their_data_set() -> None:
    calls = [f"macl benchmark --datasets {sets} --seeds 0-2" for sets in ("ml_aid", "whdld,dlrsd", "dlrsd")]
    found = in_benchmark("quick", {"made": "2026-11-26", "command": "macl benchmark", "earlier": calls})
    (rows,) = comparison.arranged(report.summary(found.results), View())
    said = [line for line in tables.provenance(rows, [found]) if line.startswith("Part")]
    assert said == [f"Part of it before · `{call}`" for call in calls[1:]]


def test_an_own_benchmark_called_like_a_recorded_one_keeps_its_own_provenance() -> None:
    both = [
        in_benchmark("instant", {"made": "2026-01-01", "command": "theirs", "notes": ["Quiet."]}, True),
        in_benchmark("instant", {"made": "2026-02-02", "command": "mine", "earlier": ["mine before"]}),
    ]
    wanted = [
        ["Recorded on 2026-01-01 · `theirs`", "Quiet."],
        ["Measured on 2026-02-02 · `mine`", "Part of it before · `mine before`"],
    ]
    for found, lines in zip(both, wanted, strict=True):
        (rows,) = comparison.arranged(report.summary(found.results), View())
        assert tables.provenance(rows, both) == lines
    results = [result for found in both for result in found.results]
    assert len({result.id for result in results}) == len(results)
    (rows,) = comparison.arranged(report.summary(results), View())
    assert tables.provenance(rows, both) == wanted[0] + wanted[1]


def test_a_part_from_another_machine_is_named_with_its_notes() -> None:
    part = {"made": "2026-11-25", "command": "macl benchmark --seeds 0", "notes": ["busy", "quiet"]}
    about = {"made": "2026-11-26", "command": "macl benchmark", "notes": ["quiet"], "joined": [part]}
    found = in_benchmark("quick", about)
    (rows,) = comparison.arranged(report.summary(found.results), View())
    lines = tables.provenance(rows, [found])
    assert [line.split(" · ")[0] for line in lines] == [
        "Measured on 2026-11-26", "Part of it on 2026-11-25 elsewhere", "quiet", "busy"
    ]  # fmt: skip
    assert "`macl benchmark --seeds 0`" in lines[1]


def test_markdown_leaves_names_as_they_are() -> None:
    assert plain("a_b *c* $x$ [d](e)") == r"a\_b \*c\* \$x\$ \[d\]\(e\)"


def test_all_metrics_have_a_panel_for_each_table_with_every_seed_inside() -> None:
    far = [of("lmsc", seed, 0.1 if seed == 3 else 0.9) for seed in SEEDS]
    found = comparison.arranged(report.summary(LOW + HIGH + far), View())
    figure = scores.all_metrics(found, ["DLRSD"], comparison.label, comparison.color)
    axes = [figure.layout[f"xaxis{n or ''}"] for n in (0, *range(2, 8))]
    assert len(figure.data) == 2 * 3 * len(METRICS)
    for axis in axes:
        low, high = axis.range
        assert low < 10 < 90 < high
    assert [a.text for a in figure.layout.annotations][:2] == ["mAP(sim)<br>@5000", "nDCG(sim)<br>@100"]


def test_quality_against_time() -> None:
    untimed = [replace(r, scores={**r.scores, "training_s": None}) for r in ALIKE]
    found = comparison.arranged(report.summary(LOW + HIGH + untimed), View())
    figure = scores.time(found, "wap", ["DLRSD"], comparison.label, comparison.color)
    drawn = {trace.name: (trace.x[0], trace.y[0]) for trace in figure.data}
    assert drawn == {"MACL": (1.5, pytest.approx(50.15)), "OML": (1.5, pytest.approx(80.05))}


@pytest.mark.parametrize(
    ("oml", "said"),
    [
        (0.8, "Highest on the rare third: OML, +30.0 points."),
        (0.2, "Highest on the rare third: the baseline; OML is next."),
    ],
)
def test_who_is_highest_on_rare_labels_may_be_the_baseline(oml: float, said: str) -> None:
    counts = {"tree": 100, "court": 50, "ship": 9}
    quality = {r.id: dict.fromkeys(counts, 0.5 if r.config.loss == "macl" else oml) for r in LOW + HIGH}
    (rows,) = comparison.arranged(report.summary(LOW + HIGH), View(baseline="MACL"))
    assert per_label._rare(label_table(rows, quality, counts)) == said


@pytest.mark.parametrize("dark", [False, True])
def test_the_heat_map_holds_the_table(dark: bool) -> None:
    quality = {r.id: {"tree": 0.5 if r.config.loss == "macl" else 0.8, "ship": None} for r in LOW + HIGH}
    (rows,) = comparison.arranged(report.summary(LOW + HIGH), View(baseline="MACL"))
    table = label_table(rows, quality, {"tree": 10, "ship": 2})
    figure = label_quality.heat_map(table, comparison.label, dark, "test images")
    labels, groups = figure.data
    assert list(labels.x) == ["tree (10)", "ship (2)"]
    assert list(labels.y) == ["OML"]
    assert labels.z[0][0] == pytest.approx(30.0)
    assert labels.zmin == -labels.zmax
    assert groups.z[0][0] == pytest.approx(30.0)
