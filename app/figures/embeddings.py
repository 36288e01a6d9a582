"""The numbers that describe embedding spaces, over the epochs of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.figures.curves import DASHES
from app.kit.palette import loss_color
from core.losses import Value
from core.metrics.space import Numbers

TITLES = {  # above the panel, and beside its axis with the unit
    "alignment": ("Alignment (lower: closer)", "squared distance"),
    "uniformity": ("Uniformity (lower: more even)", "log of the mean potential"),
    "effective_rank": ("Effective rank", "dimensions"),
    "hubness": ("Hubness", "skewness"),
}


@dataclass(frozen=True)
class Line:
    """One run: its numbers after each epoch."""

    title: str
    loss: str
    epochs: Sequence[int]
    numbers: Sequence[Numbers]
    params: Mapping[str, Value] | None = None


def by_epoch(lines: Sequence[Line]) -> go.Figure:
    """Four small panels beside each other, a line per run; runs of one loss differ in their dash."""
    figure = make_subplots(
        rows=1,
        cols=len(TITLES),
        subplot_titles=[title for title, _ in TITLES.values()],
        horizontal_spacing=0.07,
    )
    drawn: dict[str, int] = {}
    for line in lines:
        dash = DASHES[drawn.get(line.loss, 0) % len(DASHES)]
        color = loss_color(line.loss, line.params)
        drawn[line.loss] = drawn.get(line.loss, 0) + 1
        for column, key in enumerate(TITLES, start=1):
            figure.add_scatter(
                x=list(line.epochs), y=[getattr(number, key) for number in line.numbers],
                mode="lines+markers", name=line.title, legendgroup=line.title, showlegend=column == 1,
                line={"color": color, "width": 2, "dash": dash}, marker={"size": 5},
                hovertemplate="epoch %{x}: %{y:.3f}<extra>%{fullData.name}</extra>", row=1, col=column,
            )  # fmt: skip
    figure.update_annotations(font_size=13)
    figure.update_xaxes(title_text="epoch", rangemode="tozero")
    for column, (_, unit) in enumerate(TITLES.values(), start=1):
        figure.update_yaxes(title_text=unit, title_font_size=11, col=column)
    figure.update_layout(
        height=290,
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        legend={"orientation": "h", "x": 0, "y": -0.35},
    )
    return figure
