"""The labels of a data set: how often, how many per image, and which together."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from core import labels

SPLITS = {  # title and colour; apart in lightness, so that they read without colour
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
        held = labels.counts(y[splits[split]])[order]
        figure.add_bar(
            x=names, y=held, name=title, marker_color=color, customdata=share,
            hovertemplate=f"%{{x}}, {title}: %{{y}} images<br>%{{customdata:.1f}} % of all images hold it"
            "<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        barmode="stack", bargap=0.25, height=340, margin={"l": 10, "r": 10, "t": 30, "b": 10}
    )
    figure.update_layout(legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.12})
    figure.update_yaxes(title_text="images")
    figure.update_xaxes(tickangle=-45, automargin=True)
    return figure


def set_sizes(y: np.ndarray) -> go.Figure:
    """Number of images by number of labels.

    Args:
        y: (N, L), every row with at least one label.
    """
    held = np.bincount(y.astype(bool).sum(axis=1))  # (most + 1,)
    sizes = np.arange(1, len(held))
    figure = go.Figure(
        go.Bar(
            x=sizes, y=held[1:], marker_color=SPLITS["train"][1],
            hovertemplate="%{x} labels: %{y} images<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(bargap=0.25, height=340, margin={"l": 10, "r": 10, "t": 30, "b": 10})
    figure.update_xaxes(title_text="labels per image", tickmode="array", tickvals=sizes)
    return figure


def cooccurrence(y: np.ndarray, classes: Sequence[str], conditional: bool, dark: bool) -> go.Figure:
    """Which labels appear together, most frequent first.

    Args:
        y: (N, L).
        classes: L names.
        conditional: Share of the images with the column's label that hold the row's label too, in percent,
            instead of the number of images with both.
        dark: Drawn on a dark page.
    """
    order = by_frequency(y)
    names = [classes[label] for label in order]
    both = labels.cooccurrence(y)[np.ix_(order, order)].astype(float)  # (L, L)
    held = both.diagonal()
    shown = 100 * both / np.maximum(held, 1) if conditional else both
    apart = shown[~np.eye(len(shown), dtype=bool)]
    low, high, ink = _RAMP[dark]
    unit = " %" if conditional else ""
    figure = go.Figure(
        go.Heatmap(
            z=shown, x=names, y=names, zmin=0, zmax=100 if conditional else max(1, apart.max(initial=0)),
            colorscale=[(0, low), (1, high)], xgap=1, ygap=1,
            texttemplate="%{z:.0f}" if len(names) < TEXT_LIMIT else None,
            textfont={"size": 10, "color": ink},
            colorbar={"thickness": 8, "len": 0.6, "outlinewidth": 0, "ticksuffix": unit},
            hovertemplate=(
                "of the images with %{x}, %{z:.1f} % hold %{y}<extra></extra>"
                if conditional
                else "%{y} and %{x}: %{z} images<extra></extra>"
            ),
        )
    )  # fmt: skip
    side = 130 + 25 * max(6, len(names))
    figure.update_layout(height=side, margin={"l": 10, "r": 10, "t": 20, "b": 10})
    figure.update_yaxes(autorange="reversed", automargin=True, showgrid=False, ticks="")
    figure.update_xaxes(tickangle=-45, automargin=True, showgrid=False, ticks="")
    return figure
