"""Where the results of each run lie, on a plain map: longitude and latitude, nothing fetched."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go


@dataclass(frozen=True)
class Places:
    """The results of one run that have coordinates.

    Attributes:
        name: Of the run.
        color: Of its loss, #rrggbb.
        points: Rank, name, longitude and latitude of each, degrees.
    """

    name: str
    color: str
    points: Sequence[tuple[int, str, float, float]]


def places(runs: Sequence[Places], height: int = 420) -> go.Figure:
    """A mark for each result; a degree is as long to the east as to the north where the results lie."""
    figure = go.Figure()
    lat = [point[3] for run in runs for point in run.points]
    for number, run in enumerate(runs):
        figure.add_scatter(
            x=[point[2] for point in run.points],
            y=[point[3] for point in run.points],
            mode="markers",
            marker={
                "color": run.color,
                "size": 12 + 5 * (len(runs) - 1 - number),  # those below stay in sight
                "symbol": "circle-open",
                "line": {"width": 2},
            },
            name=escape(run.name, quote=False),  # Plotly reads names as a little HTML
            text=[f"{rank} · {escape(name, quote=False)}" for rank, name, _, _ in run.points],
            hovertemplate="%{text}<br>%{x:.4f}, %{y:.4f}<extra>%{fullData.name}</extra>",
        )
    middle = math.radians(sum(lat) / len(lat)) if lat else 0.0
    lines = {
        "zeroline": False, "showline": False, "showgrid": True, "gridcolor": "rgba(128, 140, 150, 0.25)",
        "automargin": True, "title_standoff": 12,
    }  # fmt: skip
    figure.update_xaxes(title_text="longitude, degrees", minallowed=-180, maxallowed=180, **lines)
    figure.update_yaxes(
        title_text="latitude, degrees", scaleanchor="x", scaleratio=1 / max(0.05, math.cos(middle)), **lines
    )
    figure.update_layout(
        height=height, margin={"l": 0, "r": 0, "t": 40, "b": 0}, uirevision="places", showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )  # fmt: skip
    return figure
