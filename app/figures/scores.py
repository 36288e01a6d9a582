"""One metric of all compared methods as dots with their spread, chance and oracle as lines."""

from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.palette import CHANCE_COLOR, ORACLE_COLOR
from core.losses import LOSSES
from core.metrics import METRICS
from core.report import Row

COLUMNS = 3  # panels beside each other before the next row begins
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
    place_of = {key: index for index, key in enumerate(LOSSES)}
    methods = {label(row): place_of[row.loss] for rows in blocks for row in rows if not row.reference}
    order = sorted(methods, key=lambda name: (methods[name], name))
    figure = make_subplots(
        rows=lines,
        cols=columns,
        shared_yaxes=True,
        subplot_titles=list(titles),
        horizontal_spacing=0.03,
        vertical_spacing=0.3 / lines,
    )
    for index, rows in enumerate(blocks):
        place: dict[str, Any] = {"row": index // columns + 1, "col": index % columns + 1}
        figure.update_xaxes(range=_range(rows, key), **place)  # lines alone would not widen it
        for row in rows:
            if key not in row.values:
                continue
            mean, spread = row.values[key]
            if row.reference:
                shade = CHANCE_COLOR if row.loss == "chance" else ORACLE_COLOR
                side = "top right" if row.loss == "chance" else "top left"
                figure.add_vline(
                    mean, line={"color": shade, "width": 1.5, "dash": "dot"}, annotation_text=row.loss,
                    annotation_position=side, annotation_font_size=11, exclude_empty_subplots=False, **place,
                )  # fmt: skip
                continue
            name, shade = label(row), color(row)
            numbers = [100 * result.scores["metrics"][key] for result in row.results]
            figure.add_scatter(
                x=numbers, y=[name] * len(numbers), mode="markers", showlegend=False,
                marker={"color": shade, "size": 6, "opacity": 0.4},
                customdata=list(row.seeds), hovertemplate="seed %{customdata}: %{x:.2f}<extra></extra>",
                **place,
            )  # fmt: skip
            shown = f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.2f}"
            figure.add_scatter(
                x=[mean], y=[name], mode="markers", showlegend=False, marker={"color": shade, "size": 11},
                error_x=None if spread is None else {"array": [spread], "color": shade, "thickness": 2},
                hovertemplate=f"{name}: {shown}<extra></extra>", **place,
            )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], automargin=True, ticks="")
    figure.update_yaxes(range=[-0.6, len(order) - 0.3])
    figure.update_xaxes(showgrid=True, zeroline=False, ticksuffix=" %")
    figure.update_xaxes(title_text=METRICS[key], row=lines)
    height = lines * (90 + 26 * max(3, len(order))) + 30
    figure.update_layout(height=height, margin={"l": 10, "r": 10, "t": 40})
    return figure


def _range(rows: Sequence[Row], key: str) -> list[float]:
    """From the lowest to the highest value of a panel, spread included, with a margin."""
    found = [row.values[key] for row in rows if key in row.values] or [(0.0, None), (100.0, None)]
    low = min(mean - (spread or 0) for mean, spread in found)
    high = max(mean + (spread or 0) for mean, spread in found)
    margin = max(0.05 * (high - low), 0.5)
    return [low - margin, high + margin]
