"""Figures of what a loss does with a batch: which labels gain, what it asks for, how it moves images."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from app.figures.curves import DASHES

Floats = NDArray[np.float64]

OPACITY = 0.25  # of one pair
PATTERNS = ("", "/", ".", "x")  # of bars side by side, for those who cannot tell their colours apart


def label_shares(
    classes: Sequence[str], counts: Sequence[int], shares: Sequence[tuple[str, str, Floats]], counted: str
) -> go.Figure:
    """Share of each label in the attraction of a batch, a bar per method.

    Args:
        classes: Label names, rare first.
        counts: Images with each, of the split that is counted.
        shares: Name, colour and (L,) shares of each method.
        counted: That split, in words.
    """
    figure = go.Figure()
    ticks = [f"{name} ({count:,})" for name, count in zip(classes, counts, strict=True)]
    for n, (name, color, values) in enumerate(shares):
        pattern = {"shape": PATTERNS[n % len(PATTERNS)], "size": 6, "solidity": 0.2, "fillmode": "overlay"}
        figure.add_bar(
            x=ticks, y=100 * values, name=name,
            marker={"color": color, "pattern": pattern},
            hovertemplate=f"%{{x}}: %{{y:.2f}} %<extra>{name}</extra>",
        )  # fmt: skip
    figure.update_layout(
        barmode="group",
        bargap=0.28,
        height=400,
        margin={"l": 10, "r": 10, "t": 36, "b": 10},
        legend={"orientation": "h", "x": 0, "y": 1.12},
    )
    figure.update_yaxes(title_text="share of the attraction, %", rangemode="tozero")
    figure.update_xaxes(
        tickangle=-40, automargin=True, title_text=f"labels, rare to frequent ({counted} images)"
    )
    return figure


def asked(J: Floats, similarities: Sequence[tuple[str, str, Floats]]) -> go.Figure:
    """Similarity at the optimum over the overlap of the label sets: all pairs, and their mean at each J.

    Args:
        J: (B, B) overlaps.
        similarities: Name, colour and (B, B) similarities, nan where there is no positive pair.
    """
    figure = go.Figure()
    for name, color, s in similarities:
        finite = np.isfinite(s)
        # pairs at one place on the screen are one point, as dark as all of them: Plotly's WebGL scatter,
        # which would draw each, makes code from text, and no page of the app may
        pairs, count = np.unique(np.round([J[finite], s[finite]], 2), axis=1, return_counts=True)
        figure.add_scatter(
            x=pairs[0], y=pairs[1], mode="markers", name=name, legendgroup=name, showlegend=False,
            marker={"color": color, "size": 4, "opacity": 1 - (1 - OPACITY) ** count}, hoverinfo="skip",
        )  # fmt: skip
    for n, (name, color, s) in enumerate(similarities):
        levels, means = by_overlap(J, s)
        figure.add_scatter(
            x=levels, y=means, mode="lines+markers", name=name, legendgroup=name,
            line={"color": color, "width": 2.5, "dash": DASHES[n % len(DASHES)]}, marker={"size": 7},
            hovertemplate=f"J = %{{x:.2f}}: mean s = %{{y:.3f}}<extra>{name}</extra>",
        )  # fmt: skip
    figure.update_layout(
        height=440,
        margin={"l": 10, "r": 10, "t": 36, "b": 10},
        legend={"orientation": "h", "x": 0, "y": 1.1},
    )
    figure.update_xaxes(title_text="overlap J of the label sets", range=[0, 1.03])
    figure.update_yaxes(title_text="similarity s asked for", range=[-1.06, 1.06], zeroline=True)
    return figure


def forces(names: Sequence[str], force: Floats, J: Floats, color: str) -> go.Figure:
    """Force between one anchor and every other image, a bar each.

    Args:
        names: The other images.
        force: Above 0 it pulls; (A,).
        J: Their overlaps with the anchor, (A,).
        color: Of the loss.
    """
    figure, about = go.Figure(), list(zip(names, J, strict=True))
    figure.add_bar(
        x=list(range(len(names))), y=force, marker={"color": color}, customdata=about,
        hovertemplate="%{customdata[0]}: J = %{customdata[1]:.2f}, force %{y:.3g}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(
        height=260, bargap=0.15, margin={"l": 10, "r": 10, "t": 10, "b": 10}, showlegend=False
    )
    edges = np.flatnonzero(np.diff(J)) + 1  # where the overlap changes
    starts = [0, *edges.tolist()] if len(J) else []
    figure.update_xaxes(
        tickvals=starts, ticktext=[f"{J[n]:.2f}" for n in starts], title_text="other images by overlap J"
    )
    figure.update_yaxes(title_text="force", zeroline=True, exponentformat="power")
    return figure


def by_overlap(J: Floats, s: Floats) -> tuple[Floats, Floats]:
    """Distinct overlaps, and the mean similarity of the pairs at each."""
    finite = np.isfinite(s)
    levels, which = np.unique(np.round(J[finite], 6), return_inverse=True)
    if not len(levels):
        return levels, levels
    return levels, np.bincount(which, s[finite]) / np.bincount(which)
