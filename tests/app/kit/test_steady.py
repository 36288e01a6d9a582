"""Every chart goes through one door, and that door leads nowhere but to a file."""

import json
import re

import plotly.graph_objects as go
import pytest

from app.kit import steady
from core.files import PROJECT

ROOT = PROJECT
SOURCES = [
    path for folder in ("app", "pages") for path in (ROOT / folder).rglob("*.*") if path.suffix != ".pyc"
]


def test_no_chart_goes_past_the_one_door() -> None:
    drawn = re.compile(r"\.(plotly_chart|line_chart|bar_chart|area_chart|scatter_chart|\w*vega\w*|pyplot)\(")
    scripts = re.compile(r"Plotly\.(react|newPlot)\(|new Plotly\b")
    for path in SOURCES:
        if path.suffix == ".py":
            assert not drawn.search(path.read_text()), f"{path.name} draws a chart without app/kit/steady.py"
        if path.suffix == ".js" and path.name != "steady.js":
            assert not scripts.search(path.read_text()), (
                f"{path.name} draws a chart without app/kit/steady.js"
            )


def test_a_label_is_no_html_of_a_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, dict[str, str]]] = []
    monkeypatch.setattr(steady, "_chart", lambda **parts: given.append(parts))
    names = ["<img src=x>", '<a href="http://b.test">x</a>', "a < b", r"\u003ca\\u003c", "<br>"]
    figure = go.Figure(go.Scatter(x=names, y=[1] * 5, hovertemplate="<b>%{x}</b><extra></extra>"))
    steady.steady_chart(figure, "chart", "A chart")
    trace = json.loads(given[0]["data"]["spec"])["data"][0]
    assert trace["hovertemplate"] == "<b>%{x}</b><extra></extra>"
    assert trace["x"] == [
        "&lt;img src=x>", '&lt;a href="http://b.test">x&lt;/a>', "a &lt; b", names[3], "<br>",
    ]  # fmt: skip


def test_no_figure_needs_code_from_text() -> None:
    """Plotly's WebGL scatter makes functions from strings, which the content security policy forbids."""
    for path in SOURCES:
        assert not re.search(r"scattergl|splom|parcoords|Scattergl", path.read_text(errors="ignore")), path


def test_a_chart_is_drawn_with_its_words_and_a_name_for_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, object]] = []
    monkeypatch.setattr(steady, "_chart", lambda **parts: given.append(parts))
    steady.steady_chart(go.Figure(), "train_curves", "Loss over steps")
    assert given[0]["key"] == "train_curves"
    data = given[0]["data"]
    assert isinstance(data, dict)
    assert (data["alt"], data["name"]) == ("Loss over steps", "macl-lab-train-curves")
