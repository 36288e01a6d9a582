"""A metric over the settings of a sweep: surface, contour, curves with spread, bars."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from app.figures.curves import DASHES
from core.experiments.surface import Cell
from core.losses import Value

Floats = NDArray[np.float64]

# dark to light is low to high; readable without colour
SCALE = [(0.0, "#2b1d52"), (0.25, "#2d5586"), (0.5, "#2a8f8b"), (0.75, "#79bf6b"), (1.0, "#f0dc55")]
MARK = "#d1453b"
LINES = ("#d1453b", "#1f6f8b", "#c98a1b", "#5b8c3e", "#7a4fa3", "#3c3c3c", "#b0527a", "#2f9e8f")


def spread(cell: Cell) -> str:
    """How much the seeds of a point differ, in words."""
    return "one seed" if cell.spread is None else f"± {cell.spread:.2f} over {len(cell.values)} seeds"


def surface(
    xs: Sequence[float],
    ys: Sequence[float],
    means: Floats,
    notes: Sequence[Sequence[str]],
    titles: tuple[str, str, str],
    at: tuple[float, float, float] | None,
) -> go.Figure:
    """The metric as a surface over two parameters (Fig. 9 a, b).

    Args:
        xs: (X,) values of the first.
        ys: (Y,) values of the second.
        means: (Y, X) percent, nan where nothing is finished.
        notes: (Y, X) what each mean rests on, in words.
        titles: Of the two parameters and the metric.
        at: Point that is marked, and its height.
    """
    hover = (
        f"{titles[0]} %{{x:~g}}<br>{titles[1]} %{{y:~g}}<br>{titles[2]} %{{z:.2f}}, %{{customdata}}"
        "<extra></extra>"
    )
    traces: list[dict[str, Any]] = [
        {
            "type": "surface", "x": list(xs), "y": list(ys), "z": means.tolist(), "colorscale": SCALE,
            "showscale": False, "opacity": 0.95, "customdata": notes, "hovertemplate": hover,
            "contours": {"z": {"show": True, "usecolormap": True, "project": {"z": False}}},
        }
    ]  # fmt: skip
    if at is not None and np.isfinite(at[2]):
        mark = {"size": 6, "color": MARK, "line": {"color": "#ffffff", "width": 1}}
        traces.append(
            {"type": "scatter3d", "x": [at[0]], "y": [at[1]], "z": [at[2]], "mode": "markers", "marker": mark}
            | {"hoverinfo": "skip", "showlegend": False}
        )
    axes = {
        f"{name}axis": {
            "title": {"text": title},
            "showbackground": False,
            "gridcolor": "rgba(128,128,128,.35)",
        }
        for name, title in zip("xyz", (*titles[:2], f"{titles[2]}, %"), strict=True)
    }
    layout = {
        "height": 430,
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "uirevision": "kept",  # the camera stays where the person has put it
        "scene": {
            **axes,
            "camera": {"eye": {"x": -1.3, "y": -1.3, "z": 0.75}, "center": {"x": 0, "y": 0, "z": -0.12}},
            "aspectratio": {"x": 1, "y": 1, "z": 0.75},
        },
        "xaxis": {"visible": False},  # a surface has no flat axes to draw
        "yaxis": {"visible": False},
    }
    return go.Figure(data=traces, layout=layout, _validate=False)


def contour(
    xs: Sequence[float],
    ys: Sequence[float],
    means: Floats,
    notes: Sequence[Sequence[str]],
    titles: tuple[str, str, str],
    at: tuple[float, float, float] | None,
) -> go.Figure:
    """The same from above, with every trained point; arguments as in `surface`."""
    grid_x, grid_y = np.meshgrid(xs, ys)
    bar = {"text": f"{titles[2]}, %", "side": "right"}
    done = np.isfinite(means)
    traces: list[dict[str, Any]] = [
        {
            "type": "contour", "x": list(xs), "y": list(ys), "z": means.tolist(), "colorscale": SCALE,
            "colorbar": {"thickness": 8, "outlinewidth": 0, "title": bar}, "line": {"width": 0.5},
            "hoverinfo": "skip", "connectgaps": False,
        },
        {
            "type": "scatter", "x": grid_x[done].tolist(), "y": grid_y[done].tolist(), "mode": "markers",
            "marker": {"size": 6, "color": "#ffffff", "line": {"color": "#17222b", "width": 1}},
            "text": [f"{value:.2f}" for value in means[done]],
            "customdata": np.array(notes, dtype=object)[done].tolist(),
            "hovertemplate": f"{titles[0]} %{{x:~g}}, {titles[1]} %{{y:~g}}: %{{text}}, %{{customdata}}"
            "<extra></extra>",
            "showlegend": False,
        },
    ]  # fmt: skip
    if at is not None:
        mark = {"size": 13, "color": MARK, "symbol": "cross", "line": {"color": "#ffffff", "width": 1.5}}
        traces.append(
            {"type": "scatter", "x": [at[0]], "y": [at[1]], "mode": "markers", "marker": mark}
            | {"hoverinfo": "skip", "showlegend": False}
        )
    layout = {
        "height": 430,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "uirevision": "kept",
        "xaxis": {"title": {"text": titles[0]}, "showgrid": False},
        "yaxis": {"title": {"text": titles[1]}, "showgrid": False},
    }
    return go.Figure(data=traces, layout=layout, _validate=False)


def curve(
    cells: Sequence[Cell],
    axis: str,
    by: str | None,
    titles: tuple[str, str],
    colors: Mapping[object, str],
    text_of: Callable[[Value], str],
) -> go.Figure:
    """The metric over one parameter with its spread over seeds (Fig. 9 c, d), a line per value of another.

    Args:
        cells: From `core.experiments.surface.cells`.
        axis: The parameter.
        by: Axis whose values are lines; None: one line.
        titles: Of the parameter and the metric.
        colors: Of lines by their value, where they have one.
        text_of: Text for a value.
    """
    lines: dict[Value, list[Cell]] = {}
    for cell in cells:
        lines.setdefault(cell.at[by] if by else "", []).append(cell)
    traces: list[dict[str, Any]] = []
    for n, (name, members) in enumerate(lines.items()):
        members = sorted(members, key=lambda cell: float(cell.at[axis]))
        color = colors.get(name, LINES[n % len(LINES)])
        xs, means = [cell.at[axis] for cell in members], [cell.mean for cell in members]
        widths = [cell.spread or 0.0 for cell in members]
        if any(widths):
            high = [mean + s for mean, s in zip(means, widths, strict=True)]
            low = [mean - s for mean, s in zip(means, widths, strict=True)]
            traces.append(
                {
                    "type": "scatter",
                    "x": xs + xs[::-1],
                    "y": high + low[::-1],
                    "fill": "toself",
                    "mode": "lines",
                }
                | {"line": {"width": 0}, "fillcolor": color, "opacity": 0.18, "hoverinfo": "skip"}
                | {"showlegend": False}
            )
        dash = DASHES[n // len(LINES) % len(DASHES)]
        traces.append(
            {
                "type": "scatter",
                "x": xs,
                "y": means,
                "mode": "lines+markers",
                "name": text_of(name),
            }
            | {
                "line": {"color": color, "width": 2, "dash": dash},
                "marker": {"size": 7},
                "customdata": [spread(cell) for cell in members],
            }
            | {"hovertemplate": "%{x:~g}: %{y:.2f}, %{customdata}<extra>" + text_of(name) + "</extra>"}
            | {"showlegend": len(lines) > 1}
        )
        dots = [(cell.at[axis], value) for cell in members if len(cell.values) > 1 for value in cell.values]
        traces.append(
            {"type": "scatter", "x": [x for x, _ in dots], "y": [y for _, y in dots], "mode": "markers"}
            | {
                "marker": {"color": color, "size": 4, "opacity": 0.45},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    ticks = sorted({float(cell.at[axis]) for cell in cells})
    layout = {
        "height": 430,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "uirevision": "kept",
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
        "xaxis": {
            "title": {"text": titles[0]},
            "showgrid": False,
            "type": _scale(cells, axis),
            "tickmode": "array",
            "tickvals": ticks,
            "ticktext": [f"{tick:g}" for tick in ticks],
        },
        "yaxis": {"title": {"text": f"{titles[1]}, %"}},
    }
    return go.Figure(data=traces, layout=layout, _validate=False)


def bars(
    cells: Sequence[Cell],
    axis: str,
    by: str | None,
    titles: tuple[str, str, str],
    text_of: Callable[[Value], str],
) -> go.Figure:
    """The metric for each value of one axis, a group of bars per value of another (Figs. 10, 11).

    Args:
        cells: From `core.experiments.surface.cells`.
        axis: What the bars stand for.
        by: Axis whose values are the bars of a group; None: one bar each.
        titles: Of the first axis, the second one and the metric.
        text_of: Text for a value.
    """
    groups: dict[Value, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.at[by] if by else "", []).append(cell)
    traces: list[dict[str, Any]] = []
    for n, (name, members) in enumerate(groups.items()):
        title = f"{titles[1]} = {text_of(name)}" if by else ""
        traces.append(
            {"type": "bar", "x": [text_of(cell.at[axis]) for cell in members]}
            | {"y": [cell.mean for cell in members], "name": title, "showlegend": bool(by)}
            | {
                "marker": {"color": LINES[(n + 1) % len(LINES)]},
                "hovertemplate": "%{x}: %{y:.2f}<extra>" + title + "</extra>",
            }
            | {
                "text": [f"{cell.mean:.1f}" for cell in members],
                "textposition": "inside",
                "insidetextanchor": "start",
            }
            | {
                "error_y": {
                    "array": [cell.spread or 0.0 for cell in members],
                    "thickness": 1.5,
                    "width": 4,
                    "color": "#8a949c",
                }
            }
        )
    layout = {
        "height": 430,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "uirevision": "kept",
        "barmode": "group",
        "bargap": 0.25,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": {
            "title": {"text": titles[0]},
            "type": "category",
            "showgrid": False,
            "tickangle": -35 if len(cells) > 6 else 0,
        },
        "yaxis": {"title": {"text": f"{titles[2]}, %"}, "rangemode": "tozero"},
    }
    return go.Figure(data=traces, layout=layout, _validate=False)


def _scale(cells: Sequence[Cell], axis: str) -> str:
    """Logarithmic for values of several magnitudes, such as learning rates."""
    values = [float(cell.at[axis]) for cell in cells]
    return "log" if min(values) > 0 and max(values) / min(values) >= 30 else "linear"
