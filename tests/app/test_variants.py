"""Two variants of one loss on every page that tells methods apart by their colour."""

import json
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import cache
from app.kit import palette
from app.train import run_list
from core import runs
from core.queue import launch
from core.runs import Run
from tests.components import charts, component_data, open_page

PRINTED = palette.loss_color("macl")
OWN = palette.loss_color("macl", {"denominator": "own"})


@pytest.fixture
def pair(tmp_path: Path, finished_runs: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """MACL as printed, and the same with `own`."""
    root = tmp_path / "runs"
    source = next(run for run in runs.list_runs(finished_runs) if run.config.loss == "macl")
    for name, params in (("b-printed", {}), ("a-own", {"denominator": "own"})):
        shutil.copytree(source.path, root / name)
        config = source.config
        changed = config.model_copy(update={"params": {**config.params, **params}})
        (root / name / "config.json").write_text(changed.model_dump_json())
    monkeypatch.setenv("MACL_RUN_ROOT", str(root))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    return [Run(root / "b-printed"), Run(root / "a-own")]


def colors(page: AppTest, kind: str = "line") -> list[str]:
    """Of the named traces of the first chart."""
    traces = json.loads(charts(page)[0]["spec"])["data"]
    return [trace[kind]["color"] for trace in traces if kind in trace]


@pytest.mark.parametrize("turned", [False, True])
def test_train(pair: list[Run], turned: bool) -> None:
    chosen = pair[::-1] if turned else pair
    page = open_page("train", runs=[run.id for run in chosen])
    assert colors(page) == ([OWN, PRINTED] if turned else [PRINTED, OWN])
    listed = page.dataframe[0].value[" "].tolist()
    assert listed == [run_list.SWATCH, run_list.VARIANT]  # newest first, by name
    assert all(color in str(page.dataframe[0].proto) for color in (PRINTED, OWN))


@pytest.mark.usefixtures("pair")
def test_compare() -> None:
    page = open_page("compare")
    body = next(html.proto.body for html in page.get("html") if "<table" in html.proto.body)
    assert f"background:{PRINTED}" in body
    assert f"background:repeating-linear-gradient(135deg, {OWN}" in body
    assert {PRINTED, OWN} <= set(colors(page, "marker"))
    assert {PRINTED, OWN} == set(colors(open_page("compare", figure="All metrics"), "marker"))
    labels = open_page("compare", figure="Labels")
    tables = [
        html.proto.body for html in labels.get("html") if "number of labels of the query" in html.proto.body
    ]
    assert all(color in tables[0] for color in (PRINTED, OWN))


def test_retrieval(pair: list[Run]) -> None:
    page = open_page("retrieval", runs=[run.id for run in pair])
    (grid,) = component_data(page, "gallery")
    assert [row["color"] for row in grid["rows"]] == [PRINTED, OWN]


def test_embeddings(pair: list[Run]) -> None:
    page = open_page("embeddings", runs=[run.id for run in pair], projection="PCA")
    panels = next(data["panels"] for data in component_data(page, "scatter") if "panels" in data)
    assert [panel["color"] for panel in panels] == [PRINTED, OWN]
    table = next(html.proto.body for html in page.get("html") if "Trustworthiness" in html.proto.body)
    assert f"background:repeating-linear-gradient(135deg, {OWN}" in table


def test_mechanism(pair: list[Run]) -> None:
    page = open_page("mechanism", run=pair[0].id, m_view="What the loss asks for", m_b="16")
    assert colors(page)[-3:] == [PRINTED, OWN, palette.loss_color("macl_nested")]
    gains = open_page("mechanism", run=pair[0].id, m_view="Which labels gain", m_b="16")
    bars = colors(gains, "marker")
    assert bars == [
        palette.loss_color("mulsupcon"),
        palette.loss_color("macl", {"use_T": False}),
        PRINTED,
    ]


@pytest.mark.usefixtures("pair")
def test_home() -> None:
    bodies = [html.proto.body for html in open_page("home").get("html")]
    assert any(f"background:{PRINTED}" in body for body in bodies)
    assert any(f"background:repeating-linear-gradient(135deg, {OWN}" in body for body in bodies)
