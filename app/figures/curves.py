"""Training curves of several runs in one figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, nan
from typing import Any

import numpy as np
import plotly.graph_objects as go

from app.kit.palette import loss_color
from core.losses import Value
from core.metrics import METRICS

X_AXES = ("step", "epoch", "time")
Y_AXES = {"loss": "loss", **{f"val_{key}": f"{title} (validation)" for key, title in METRICS.items()}}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MAX_POINTS = 1500  # per trace: more than a screen has columns, and little enough to send every second

_X_TITLES = {"step": "step", "epoch": "epoch", "time": "time in training, s"}


@dataclass(frozen=True)
class Curve:
    """One run as the figure draws it.

    Attributes:
        name: Text of the legend.
        loss: Key of the loss, for the colour.
        rows: Lines of metrics.jsonl.
        steps_per_epoch: For the epoch axis; 0 when it is not known yet.
        dash: Number of the dash, to tell apart runs of one loss.
        params: Of the loss, for the shade of its colour.
    """

    name: str
    loss: str
    rows: Sequence[dict[str, float]]
    steps_per_epoch: int = 0
    dash: int = 0
    params: Mapping[str, Value] | None = None


def figure(
    curves: Sequence[Curve],
    *,
    x: str = "step",
    y: str = "loss",
    smooth: float = 0.0,
    log: bool = False,
    height: int = 400,
) -> go.Figure:
    """Curves of the chosen runs; with smoothing the measured values stay visible as a thin line.

    Args:
        curves: What to draw.
        x: One of `X_AXES`.
        y: Key of `Y_AXES`; validation metrics are drawn in percent.
        smooth: Weight of the past, 0 to below 1; 0 draws what was measured.
        log: Logarithmic y axis.
        height: Of the figure, pixels.
    """
    traces: list[dict[str, Any]] = []
    for curve in curves:
        xs, ys = points(curve, x, y)
        marks = len(xs) == 1 or (y != "loss" and len(xs) <= 40)
        line = {
            "color": loss_color(curve.loss, curve.params),
            "width": 2,
            "dash": DASHES[curve.dash % len(DASHES)],
        }
        if smooth:
            thin = {"color": line["color"], "width": 1}
            measured = dict(zip("xy", thinned(xs, ys), strict=True))
            traces.append(
                {**measured, "mode": "lines", "line": thin, "opacity": 0.3, "hoverinfo": "skip"}
                | {"type": "scatter", "showlegend": False}
            )
            ys = smoothed(ys, smooth)
        drawn = dict(zip("xy", thinned(xs, ys), strict=True))
        traces.append(
            {**drawn, "mode": "lines+markers" if marks else "lines", "line": line, "marker": {"size": 5}}
            | {"type": "scatter", "showlegend": True, "name": curve.name}
        )
    percent, visible = y != "loss", any(len(trace["x"]) for trace in traces)
    empty = "no validation yet: it comes at the end of an epoch" if percent and curves else "no step yet"
    layout = {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "uirevision": f"{x} {y} {log}",  # zoom and hidden traces survive a refresh, not another axis
        "hovermode": "x unified",
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
        "xaxis": {
            "title": {"text": _X_TITLES[x], "standoff": 4},
            "rangemode": "tozero",
            "showgrid": False,
            "visible": visible,
        },
        "yaxis": {
            "title": {"text": Y_AXES[y] + (", %" if percent else ", nats")},
            "type": "log" if log else "linear",
            "hoverformat": ".2f" if percent else ".4f",
            "visible": visible,
        },
        "annotations": []
        if visible
        else [{"text": empty, "x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper", "showarrow": False}],
    }
    # one call, unchecked: checking every field again each second costs more than all the rest
    return go.Figure(data=traces, layout=layout, _validate=False)


def points(curve: Curve, x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (n,) on both axes, of the rows that have this value; metrics in percent."""
    rows = [row for row in curve.rows if isfinite(row.get(y, nan))]
    ys = np.array([row[y] for row in rows], dtype=float) * (1.0 if y == "loss" else 100.0)
    if x == "time":
        return np.array([row.get("seconds", np.nan) for row in rows], dtype=float), ys
    steps = np.array([row["step"] for row in rows], dtype=float)
    if x == "step" or not len(steps):
        return steps, ys
    # step / epoch is exact at the end of an epoch, and smaller before it
    ratios = (row["step"] / row["epoch"] for row in rows if row.get("epoch"))
    per_epoch = curve.steps_per_epoch or max(ratios, default=0) or 1
    return steps / per_epoch, ys


def smoothed(ys: np.ndarray, weight: float) -> np.ndarray:
    """Exponential moving average (n,) that starts unbiased: the first value counts no more than any other."""
    means, total, norm = np.empty_like(ys), 0.0, 0.0
    for i, value in enumerate(ys):
        total = weight * total + (1 - weight) * value
        norm = weight * norm + (1 - weight)
        means[i] = total / norm
    return means


def thinned(xs: np.ndarray, ys: np.ndarray, limit: int = MAX_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most `limit` points: first, last, and the smallest and largest of each stretch."""
    if len(xs) <= limit:
        return xs, ys
    edges = np.linspace(0, len(xs), (limit - 2) // 2 + 1).astype(int)
    keep = {0, len(xs) - 1}
    for low, high in pairwise(edges):
        keep |= {low + int(ys[low:high].argmin()), low + int(ys[low:high].argmax())}
    rows = np.array(sorted(keep))
    return xs[rows], ys[rows]
