"""The labels of a data set: how frequent they are, how many an image has, and which appear together."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from core import labels

SPLITS = {  # title and colour; different in lightness too, so that they read without colour
    "train": ("training", "#1f6f8b"),
    "val": ("validation", "#e0a84a"),
    "test": ("test", "#7cc0d6"),
}
TEXT_LIMIT = 32  # labels; numbers in more cells than this squared are slow to draw and unreadable
# dark theme or not: empty cell, full cell, and a text colour that is readable on both
_RAMP = {False: ("#f1f6f8", "#5aa9c4", "#17222b"), True: ("#17232c", "#2b7a97", "#e6edf2")}


def by_frequency(y: np.ndarray) -> np.ndarray:
    """Labels from the most to the least frequent, (L,); equally frequent ones in column order."""
    return np.argsort(-labels.counts(y), kind="stable")


def counts(y: np.ndarray, splits: Mapping[str, np.ndarray], classes: Sequence[str]) -> go.Figure:
    """Images per label, most frequent first, stacked by split: the long tail.

    Args:
        y: (N, L).
        splits: Rows of each split.
        classes: L names.
    """
    order = by_frequency(y)
    names = [classes[label] for label in order]
    share = 100 * labels.counts(y)[order] / len(y)
    figure = go.Figure()
    for split, (title, color) in SPLITS.items():
        images = labels.counts(y[splits[split]])[order]
        figure.add_bar(
            x=names, y=images, name=title, marker_color=color, customdata=share,
            hovertemplate=f"%{{x}}, {title}: %{{y}} images<br>%{{customdata:.1f}} % of all images hold it"
            "<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        barmode="stack", bargap=0.25, height=340, margin={"l": 10, "r": 10, "t": 30, "b": 10}
    )
    figure.update_layout(legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.12})
    figure.update_yaxes(title_text="images")
    figure.update_xaxes(title_text="label", tickangle=-45, automargin=True)
    return figure


def set_sizes(y: np.ndarray) -> go.Figure:
    """Number of images by number of labels.

    Args:
        y: (N, L), every row with at least one label.
    """
    images = np.bincount(y.astype(bool).sum(axis=1))  # (most + 1,)
    sizes = np.arange(1, len(images))
    figure = go.Figure(
        go.Bar(
            x=sizes, y=images[1:], marker_color=SPLITS["train"][1],
            hovertemplate="%{x} labels: %{y} images<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(bargap=0.25, height=340, margin={"l": 10, "r": 10, "t": 30, "b": 10})
    figure.update_xaxes(title_text="labels per image", tickmode="array", tickvals=sizes)
    figure.update_yaxes(title_text="images")
    return figure


KINDS = {  # what a cell of the co-occurrence shows, the format of its number, and its hover text
    "count": ("number of images", ".0f", "%{y} and %{x}: %{z} images"),
    "conditional": ("P(row | column), %", ".0f", "of the images with %{x}, %{z:.1f} % hold %{y}"),
    "lift": ("lift", ".1f", "%{y} and %{x} meet %{customdata:.2f} times as often as by chance"),
}
LIFT_RANGE = 3  # colours of the lift end at an eighth and at eight times
_LIFT = {False: ("#e3b591", "#f6f5f3", "#4d9fbb"), True: ("#6e4526", "#1d2227", "#2f86a6")}


def cooccurrence(
    y: np.ndarray, classes: Sequence[str], kind: str, dark: bool, order: np.ndarray
) -> go.Figure:
    """Which labels appear together.

    Args:
        y: (N, L).
        classes: L names.
        kind: Of KINDS: the number of images with both labels; the share of the images with the column's label
            that hold the row's label too, in percent; or how many times as often as by chance they meet.
        dark: Drawn on a dark page.
        order: Labels from left to right, (L,).
    """
    names = [classes[label] for label in order]
    cells = _cells(y, kind)[np.ix_(order, order)]  # (L, L)
    off_diagonal = cells[~np.eye(len(cells), dtype=bool)]
    low, high, ink = _RAMP[dark]
    title, digits, hover = KINDS[kind]
    unit = {"count": "images with both", "lift": "lift, times"}.get(kind, title)
    bar: dict[str, object] = {"thickness": 8, "len": 0.6, "outlinewidth": 0}
    bar |= {"title": {"text": unit, "side": "right"}}
    if kind == "lift":
        np.fill_diagonal(cells, np.nan)  # the diagonal would only say how rare each label is
        z = np.clip(np.log2(np.maximum(cells, 2.0**-99)), -LIFT_RANGE, LIFT_RANGE)
        zmin, zmax = -LIFT_RANGE, LIFT_RANGE
        scale = list(zip((0, 0.5, 1), _LIFT[dark], strict=True))
        bar |= {"tickvals": [-3, -1, 0, 1, 3], "ticktext": ["⅛", "½", "1", "2", "8"]}
    else:
        z, zmin = cells, 0
        zmax = 100 if kind == "conditional" else max(1, off_diagonal.max(initial=0))
        scale = [(0, low), (1, high)]
    text = [["" if np.isnan(cell) else format(cell, digits) for cell in row] for row in cells]
    figure = go.Figure(
        go.Heatmap(
            z=z, customdata=cells, x=names, y=names, zmin=zmin, zmax=zmax, colorscale=scale,
            xgap=1, ygap=1, text=text,
            texttemplate="%{text}" if len(names) < TEXT_LIMIT else None,
            textfont={"size": 10, "color": ink}, colorbar=bar, name=title, hoverongaps=False,
            hovertemplate=f"{hover}<extra></extra>",
        )
    )  # fmt: skip
    side = 130 + 25 * max(6, len(names))
    figure.update_layout(height=side, margin={"l": 10, "r": 10, "t": 20, "b": 10})
    row, column = ("label (row)", "label (column)") if kind == "conditional" else ("label", "label")
    figure.update_yaxes(title_text=row, autorange="reversed", automargin=True, showgrid=False, ticks="")
    figure.update_xaxes(title_text=column, tickangle=-45, automargin=True, showgrid=False, ticks="")
    return figure


def _cells(y: np.ndarray, kind: str) -> np.ndarray:
    if kind == "conditional":
        return 100 * labels.conditional(y)
    return labels.lift(y) if kind == "lift" else labels.cooccurrence(y).astype(float)
