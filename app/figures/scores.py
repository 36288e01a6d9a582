"""Scores of all compared methods as dots with their spread: one metric, all metrics, over training time."""

from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.kit.palette import CHANCE_COLOR, ORACLE_COLOR, symbol
from core.losses.own import place
from core.metrics import METRICS
from core.report import NOT_COMPUTED, Row, cell

COLUMNS = 4  # panels beside each other before the next row begins
Naming = Callable[[Row], str]


def dots(
    blocks: Sequence[Sequence[Row]], key: str, titles: Sequence[str], label: Naming, color: Naming
) -> go.Figure:
    """A panel per data set and protocol: a method's mean, its standard deviation, and each of its seeds.

    Args:
        blocks: Blocks of `report.summary`.
        key: Metric.
        titles: Title of each panel.
        label: Name of a row.
        color: Colour of a row.
    """
    columns = min(COLUMNS, len(blocks))
    lines = -(-len(blocks) // columns)
    order = _order(blocks, label)
    figure = make_subplots(
        rows=lines,
        cols=columns,
        shared_yaxes=True,
        subplot_titles=list(titles),
        horizontal_spacing=0.03,
        vertical_spacing=_apart(lines, 90 + 26 * max(3, len(order))),
    )
    for index, rows in enumerate(blocks):
        panel: dict[str, Any] = {"row": index // columns + 1, "col": index % columns + 1}
        figure.update_xaxes(range=_range(rows, key), **panel)  # lines alone would not widen it
        for row in rows:
            if key not in row.values:
                continue
            if row.reference:
                mean, _ = row.values[key]
                shade = CHANCE_COLOR if row.loss == "chance" else ORACLE_COLOR
                side = "top right" if row.loss == "chance" else "top left"
                figure.add_vline(
                    mean, line={"color": shade, "width": 1.5, "dash": "dot"}, annotation_text=row.loss,
                    annotation_position=side, annotation_font_size=11, exclude_empty_subplots=False, **panel,
                )  # fmt: skip
                continue
            _method(figure, row, key, label(row), color(row), panel)
        _lack(figure, rows, key, panel)
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], automargin=True, ticks="")
    figure.update_yaxes(range=[-0.6, len(order) - 0.3])
    figure.update_xaxes(showgrid=True, zeroline=False)
    figure.update_xaxes(title_text=f"{METRICS[key]}, %")
    figure.update_yaxes(title_text="method", col=1)
    height = lines * (90 + 26 * max(3, len(order))) + 30
    figure.update_layout(height=height, margin={"l": 10, "r": 10, "t": 40})
    return figure


def all_metrics(
    blocks: Sequence[Sequence[Row]], titles: Sequence[str], label: Naming, color: Naming
) -> go.Figure:
    """A panel per block and metric, each with its own scale: who leads where.

    Args:
        blocks: Blocks of `report.summary`.
        titles: Title of each block.
        label: Name of a row.
        color: Colour of a row.
    """
    order, lines = _order(blocks, label), len(blocks)
    figure = make_subplots(
        rows=lines, cols=len(METRICS), shared_yaxes=True, horizontal_spacing=0.012,
        vertical_spacing=_apart(lines, 80 + 22 * max(3, len(order))),
        column_titles=[title.replace("@", "<br>@") for title in METRICS.values()],
    )  # fmt: skip
    for line, rows in enumerate(blocks, start=1):
        methods = [row for row in rows if not row.reference]
        for column, key in enumerate(METRICS, start=1):
            panel: dict[str, Any] = {"row": line, "col": column}
            figure.update_xaxes(range=_range(methods, key), nticks=4, **panel)
            for row in methods:
                if key in row.values:
                    _method(figure, row, key, label(row), color(row), panel, size=8)
            _lack(figure, rows, key, panel)
        axis = figure.get_subplot(line, 1).yaxis
        figure.add_annotation(
            text=f"<b>{titles[line - 1]}</b>", x=0, xref="paper", y=axis.domain[1], yref="paper",
            yanchor="bottom", xanchor="right", showarrow=False, xshift=-8, yshift=4,
        )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], automargin=True, ticks="")
    figure.update_yaxes(range=[-0.6, len(order) - 0.4])
    figure.update_yaxes(title_text="method", col=1)
    figure.update_xaxes(showgrid=True, zeroline=False, tickfont_size=10, title_font_size=11)
    for column, title in enumerate(METRICS.values(), start=1):
        figure.update_xaxes(title_text=f"{title.partition('@')[0]}, %", col=column)
    figure.update_annotations(font_size=12)
    figure.update_layout(
        height=lines * (80 + 22 * max(3, len(order))) + 60, margin={"l": 10, "r": 10, "t": 60}
    )
    return figure


def time(
    blocks: Sequence[Sequence[Row]], key: str, titles: Sequence[str], label: Naming, color: Naming
) -> go.Figure:
    """Quality against training time, a panel per block; both as means over seeds.

    Args:
        blocks: Blocks of `report.summary`.
        key: Metric.
        titles: Title of each panel.
        label: Name of a row.
        color: Colour of a row.
    """
    columns = min(COLUMNS, len(blocks))
    lines = -(-len(blocks) // columns)
    figure = make_subplots(
        rows=lines,
        cols=columns,
        subplot_titles=list(titles),
        horizontal_spacing=0.06,
        vertical_spacing=_apart(lines, 360),
    )
    named: set[str] = set()
    for index, rows in enumerate(blocks):
        panel: dict[str, Any] = {"row": index // columns + 1, "col": index % columns + 1}
        for row in rows:
            seconds = [r.scores["training_s"] for r in row.results if r.scores.get("training_s")]
            if row.reference or key not in row.values or not seconds:
                continue
            name, (mean, spread) = label(row), row.values[key]
            mark = symbol(row.loss, row.results[0].config.params)
            devices = "; ".join(sorted({str(r.scores.get("device", "")) for r in row.results}))
            figure.add_scatter(
                x=[sum(seconds) / len(seconds)], y=[mean], mode="markers", name=name, legendgroup=name,
                showlegend=name not in named, marker={"color": color(row), "size": 11, "symbol": mark},
                error_y=None if spread is None else {"array": [spread], "color": color(row), "thickness": 1},
                hovertemplate=f"{name}: %{{y:.2f}} %, %{{x:.3g}} s<br>{devices}<extra></extra>", **panel,
            )  # fmt: skip
            named.add(name)
        _lack(figure, rows, key, panel)
    figure.update_xaxes(type="log", showgrid=True, minor={"showgrid": False})
    figure.update_xaxes(title_text="training time, s")
    figure.update_yaxes(title_text=f"{METRICS[key]}, %", zeroline=False)
    figure.update_layout(height=lines * 360 + 60, margin={"l": 10, "r": 10, "t": 40})
    figure.update_layout(legend={"orientation": "h", "y": -0.22 / lines, "yanchor": "top", "x": 0})
    return figure


def _lack(figure: go.Figure, rows: Sequence[Row], key: str, panel: dict[str, Any]) -> None:
    """A note in a panel that is empty because its runs were scored without the metric."""
    methods = [cell(row, key).lack for row in rows if not row.reference]
    if methods and all(methods) and NOT_COMPUTED in methods:
        middle = {"x": 0.5, "xref": "x domain", "y": 0.5, "yref": "y domain"}
        figure.add_annotation(text=NOT_COMPUTED, showarrow=False, **middle, **panel)


def _apart(lines: int, height: int) -> float:
    """Space between rows of panels that are this many pixels high: as much as title and axis need."""
    return min(90 / (lines * height), 1 / lines)


def _order(blocks: Sequence[Sequence[Row]], label: Naming) -> list[str]:
    """Names of all methods in the order of the losses; a single block keeps its own order."""
    if len(blocks) == 1:
        return [label(row) for row in blocks[0] if not row.reference]
    methods = {
        label(row): (place(row.loss), row.method, row.recorded)
        for rows in blocks
        for row in rows
        if not row.reference
    }
    return sorted(methods, key=lambda name: methods[name])


def _method(
    figure: go.Figure, row: Row, key: str, name: str, shade: str, panel: dict[str, Any], size: int = 11
) -> None:
    """A method's seeds as small dots, its mean with its standard deviation as a large one."""
    mean, spread = row.values[key]
    runs = [r for r in row.results if r.scores["metrics"].get(key) is not None]
    figure.add_scatter(
        x=[100 * r.scores["metrics"][key] for r in runs], y=[name] * len(runs), mode="markers",
        showlegend=False, marker={"color": shade, "size": size * 0.55, "opacity": 0.4},
        customdata=[r.config.seed for r in runs], hovertemplate="seed %{customdata}: %{x:.2f}<extra></extra>",
        **panel,
    )  # fmt: skip
    value = f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.2f}"
    figure.add_scatter(
        x=[mean], y=[name], mode="markers", showlegend=False,
        marker={"color": shade, "size": size, "symbol": symbol(row.loss, row.results[0].config.params)},
        error_x=None if spread is None else {"array": [spread], "color": shade, "thickness": 2, "width": 0},
        hovertemplate=f"{name}: {value}<extra></extra>", **panel,
    )  # fmt: skip


def _range(rows: Sequence[Row], key: str) -> list[float]:
    """From the lowest to the highest value of a panel, spread and seeds included, with a margin."""
    pairs = [row.values[key] for row in rows if key in row.values]
    ends = [mean + sign * (spread or 0) for mean, spread in pairs for sign in (-1, 1)]
    results = [result for row in rows if not row.reference for result in row.results]
    values = [result.scores["metrics"].get(key) for result in results]
    ends += [100 * value for value in values if value is not None]
    low, high = min(ends, default=0.0), max(ends, default=100.0)
    margin = max(0.05 * (high - low), 0.5)
    return [low - margin, high + margin]
