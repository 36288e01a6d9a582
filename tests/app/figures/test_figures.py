"""Every figure says what its axes and its colours measure, and in which unit."""

import importlib
import pkgutil
import typing
from collections.abc import Callable
from inspect import getmembers, isfunction
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

import app.figures
from app.compare import comparison
from app.figures import (
    archive,
    curves,
    embeddings,
    label_quality,
    labels,
    mechanism,
    retrieval,
    scores,
    sensitivity,
)
from core import report
from core.experiments.surface import Cell
from core.metrics import METRICS
from core.metrics.space import Numbers
from core.report import Result
from core.report.labels import LabelTable
from core.runs import RunConfig

METRIC = "map_medium"
Y = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1]])
NAMES = ["airport", "field", "ship"]
SPLITS = {"train": np.array([0, 1]), "val": np.array([2]), "test": np.array([3])}


def results() -> list[Result]:
    values = {part: dict.fromkeys(METRICS, 0.5) for part in ("metrics", "chance", "oracle")}
    made = []
    for dataset in ("demo", "dlrsd", "ucm", "ml_aid", "whdld"):  # five panels: a second line of them
        for seed in (0, 1):
            for loss in ("macl", "mulsupcon"):
                config = RunConfig.build("instant", dataset=dataset, loss=loss, seed=seed)
                found = {**values, "training_s": 2.0, "images": 4, "device": "cpu"}
                made.append(Result(f"{dataset}-{loss}-{seed}", config, found))
    return made


def blocks() -> list[list[report.Row]]:
    return report.blocks(report.summary(results()))


def panels(draw: Callable[..., go.Figure], *more: object) -> go.Figure:
    found = blocks()
    return draw(found, *more, ["a", "b", "c", "d", "e"], comparison.label, comparison.color)


def table(difference: bool) -> LabelTable:
    rows = tuple(row for row in blocks()[0] if not row.reference)
    values = np.linspace(1, 90, 3 * len(rows)).reshape(len(rows), 3)
    groups = dict.fromkeys(label_quality.GROUPS, values[:, 0])
    return LabelTable(tuple(NAMES), np.array([3.0, 2.0, 1.0]), rows, values, groups, difference)


def cells() -> list[Cell]:
    at = [{"alpha": alpha, "denominator": own} for alpha in (0.0, 1.0) for own in ("paper", "own")]
    return [Cell(place, 50.0 + n, 1.0, (49.0, 51.0), ()) for n, place in enumerate(at)]


def rows() -> list[dict[str, float]]:
    return [{"step": step, "epoch": 1, "loss": 1.0, "seconds": step, f"val_{METRIC}": 0.5} for step in (1, 2)]


GRID = (
    [0.0, 1.0],
    [0.0, 1.0],
    np.array([[1.0, 2.0], [3.0, 4.0]]),
    [["", ""], ["", ""]],
    ("α", "β", METRICS[METRIC]),
)
NUMBERS = [Numbers(*([0.5] * (len(Numbers.__annotations__) - 1)), images=4)]
SHARES = [("MACL", "#d1453b", np.array([0.5, 0.3, 0.2]))]
SIMILARITIES = [("MACL", "#d1453b", np.full((2, 2), 0.5))]
PLACES = [
    archive.Places(name, "#d1453b", [(1, "a.png", 8.0, 47.0), (2, "b.png", 9.0, 46.0)]) for name in "ab"
]
DRAWN: dict[str, list[Callable[[], go.Figure]]] = {
    "archive.places": [lambda: archive.places(PLACES)],
    "curves.figure": [
        lambda x=x, y=y: curves.figure([curves.Curve("a", "macl", rows(), 1)], x=x, y=y)
        for x in curves.X_AXES
        for y in ("loss", f"val_{METRIC}")
    ],
    "embeddings.by_epoch": [lambda: embeddings.by_epoch([embeddings.Line("a", "macl", [1], NUMBERS)])],
    "label_quality.heat_map": [
        lambda d=d: label_quality.heat_map(table(d), comparison.label, False, "test images")
        for d in (False, True)
    ],
    "labels.counts": [lambda: labels.counts(Y, SPLITS, NAMES)],
    "labels.set_sizes": [lambda: labels.set_sizes(Y)],
    "labels.cooccurrence": [
        lambda kind=kind: labels.cooccurrence(Y, NAMES, kind, False, np.arange(3)) for kind in labels.KINDS
    ],
    "mechanism.label_shares": [lambda: mechanism.label_shares(NAMES, [3, 2, 1], SHARES, "training")],
    "mechanism.forces": [
        lambda: mechanism.forces(NAMES, np.array([0.1, 0.2, -0.1]), np.array([1.0, 0.5, 0.0]), "#d1453b")
    ],
    "mechanism.asked": [lambda: mechanism.asked(np.full((2, 2), 0.5), SIMILARITIES)],
    "retrieval.by_rank": [
        lambda: retrieval.by_rank([retrieval.ByRank("a", "#d1453b", [1.0, 0.5], [1.0, 0.5])])
    ],
    "scores.dots": [lambda: panels(scores.dots, METRIC)],
    "scores.all_metrics": [lambda: panels(scores.all_metrics)],
    "scores.time": [lambda: panels(scores.time, METRIC)],
    "sensitivity.surface": [lambda: sensitivity.surface(*GRID, None)],
    "sensitivity.contour": [lambda: sensitivity.contour(*GRID, None)],
    "sensitivity.curve": [
        lambda: sensitivity.curve(cells(), "alpha", "denominator", ("α", METRICS[METRIC]), {}, str)
    ],
    "sensitivity.bars": [
        lambda: sensitivity.bars(cells(), "denominator", "alpha", ("denominator", "α", METRICS[METRIC]), str)
    ],
}


def test_no_figure_is_left_out() -> None:
    known = set()
    for module in pkgutil.iter_modules(app.figures.__path__):
        found = importlib.import_module(f"app.figures.{module.name}")
        for name, function in getmembers(found, isfunction):
            drawn = typing.get_type_hints(function).get("return") is go.Figure
            if drawn and not name.startswith("_") and function.__module__ == found.__name__:
                known.add(f"{module.name}.{name}")
    assert known == set(DRAWN)


@pytest.mark.parametrize("name", DRAWN)
def test_every_axis_and_every_scale_has_a_title_with_its_unit(name: str) -> None:
    for draw in DRAWN[name]:
        figure = draw().to_plotly_json()
        for place, axis in axes(figure["layout"]).items():
            if axis.get("visible") is False or axis.get("showticklabels") is False:
                continue  # not drawn, or drawn once for a whole line of panels
            check(f"{place} of {name}", axis)
        scales = [
            trace for trace in figure["data"] if "colorscale" in trace and trace.get("showscale") is not False
        ]
        for trace in scales:
            check(f"scale of {name}", trace["colorbar"])


def axes(layout: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if "scene" in layout:
        return {key: axis for key, axis in layout["scene"].items() if key.endswith("axis")}
    return {key: axis for key, axis in layout.items() if key[1:].startswith("axis")}


def check(where: str, axis: dict[str, Any]) -> None:
    title = (axis.get("title") or {}).get("text")
    assert title, f"{where} has no title"
    if any(metric.partition("@")[0] in title for metric in METRICS.values()) or "precision" in title:
        assert "%" in title, f"{where} has no unit: {title}"
    if title.startswith("loss"):
        assert "nats" in title
