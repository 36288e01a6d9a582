"""Every chart goes through one door, and that door leads nowhere but to a file."""

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


def test_a_chart_is_drawn_with_its_words_and_a_name_for_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, object]] = []
    monkeypatch.setattr(steady, "_chart", lambda **parts: given.append(parts))
    steady.steady_chart(go.Figure(), "train_curves", "Loss over steps")
    assert given[0]["key"] == "train_curves"
    data = given[0]["data"]
    assert isinstance(data, dict)
    assert (data["alt"], data["name"]) == ("Loss over steps", "macl-lab-train-curves")
