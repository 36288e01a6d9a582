"""Precision and Jaccard index by rank for one query, a line per run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.figures.curves import DASHES


@dataclass(frozen=True)
class ByRank:
    """One run: its name, colour (#rrggbb), values among the first 1, 2, … images, and the key of its loss."""

    name: str
    color: str
    precisions: Sequence[float]
    jaccards: Sequence[float]
    loss: str = ""


def by_rank(runs: Sequence[ByRank], height: int = 300) -> go.Figure:
    """Precision on the left, mean Jaccard index on the right; runs of one loss differ in their dash."""
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=["Precision among the first", "Mean Jaccard among the first"]
    )
    drawn: Counter[str] = Counter()
    for run in runs:
        line = {"color": run.color, "width": 2, "dash": DASHES[drawn[run.loss or run.color] % len(DASHES)]}
        drawn[run.loss or run.color] += 1
        for column, values in enumerate((run.precisions, run.jaccards), start=1):
            figure.add_scatter(
                x=list(range(1, len(values) + 1)),
                y=list(values),
                mode="lines",
                line=line,
                name=escape(run.name, quote=False),  # Plotly reads names as a little HTML
                legendgroup=run.name,
                showlegend=column == 1,
                hovertemplate=f"{'%{y:.0%}' if column == 1 else '%{y:.2f}'}<extra>%{{fullData.name}}</extra>",
                row=1,
                col=column,
            )
    figure.update_xaxes(title_text="images", rangemode="tozero")
    figure.update_yaxes(title_text="precision, %", col=1)
    figure.update_yaxes(title_text="Jaccard index, 0 to 1", col=2)
    plain = {"zeroline": False, "showline": False, "gridcolor": "rgba(128, 140, 150, 0.2)"}
    figure.update_xaxes(**plain)
    figure.update_yaxes(**plain)
    figure.update_annotations(font_size=13)
    figure.update_yaxes(range=[-0.02, 1.04])
    figure.update_yaxes(tickformat=".0%", col=1)
    figure.update_layout(
        height=height, margin={"l": 0, "r": 0, "t": 30, "b": 0}, hovermode="x unified", uirevision="ranks"
    )
    return figure
