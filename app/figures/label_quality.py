"""Methods × labels as a heat map, most frequent label first; head, middle and tail beside it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.report import Row
from core.report.labels import LabelTable

TEXT_LIMIT = 32  # labels; numbers in more columns are unreadable
GROUPS = {"head": "frequent third", "middle": "middle third", "tail": "rare third"}
# dark theme or not: worse or low, the middle, better or high, and a text colour that is readable on all three
_DIFFERENCE = {
    False: ("#e08a76", "#f6f7f8", "#6fbf9c", "#17222b"),
    True: ("#8a3a2c", "#1b252d", "#1c6b4c", "#e6edf2"),
}
_VALUE = {
    False: ("#f1f6f8", "#a9d0de", "#5aa9c4", "#17222b"),
    True: ("#17232c", "#20506a", "#2b7a97", "#e6edf2"),
}


def heat_map(table: LabelTable, label: Callable[[Row], str], dark: bool, counted: str) -> go.Figure:
    """Mean average precision of every label, or its difference to the baseline.

    Args:
        table: From `core.report.labels.label_table`, at least one method.
        label: Name of a row.
        dark: Drawn on a dark page.
        counted: What the number beside each label counts, such as training images.
    """
    names = [label(row) for row in table.rows]
    groups = np.column_stack([table.groups[key] for key in GROUPS])  # (M, 3)
    everything = np.concatenate([table.values.ravel(), groups.ravel()])
    known = everything[~np.isnan(everything)]
    low, middle, high, ink = (_DIFFERENCE if table.difference else _VALUE)[dark]
    most = max(1.0, float(np.percentile(np.abs(known), 98))) if known.size else 1.0
    span = (-most, most) if table.difference else (float(known.min()), 100.0) if known.size else (0.0, 100.0)
    digits, unit = ("+.1f", "points") if table.difference else (".0f", "%")
    what = "difference, points" if table.difference else "average precision, %"
    bar = {"thickness": 8, "outlinewidth": 0, "title": {"text": what, "side": "right"}}
    figure = make_subplots(
        rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.015,
        column_widths=[len(table.classes), 1.4 * len(GROUPS)],
    )  # fmt: skip
    labels = [f"{name} ({count:g})" for name, count in zip(table.classes, table.counts, strict=True)]
    parts: tuple[tuple[list[str], Any], ...] = ((labels, table.values), (list(GROUPS.values()), groups))
    for column, (heads, values) in enumerate(parts, start=1):
        figure.add_heatmap(
            z=values, x=heads, y=names, zmin=span[0], zmax=span[1], xgap=1, ygap=1,
            showscale=column == 1, colorbar=bar, colorscale=[(0, low), (0.5, middle), (1, high)],
            row=1, col=column, hoverongaps=False,
            texttemplate=f"%{{z:{digits}}}" if len(heads) < TEXT_LIMIT else None,
            textfont={"size": 11, "color": ink},
            hovertemplate=f"%{{y}}, %{{x}}: %{{z:{digits}}} {unit}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True, showgrid=False, ticks="")
    figure.update_yaxes(title_text="method", col=1)
    figure.update_xaxes(side="top", tickangle=-45, automargin=True, showgrid=False, ticks="")
    figure.update_xaxes(title_text=f"label ({counted})", col=1)
    figure.update_xaxes(title_text="mean over", col=2)
    figure.update_layout(height=190 + 26 * max(3, len(names)), margin={"l": 10, "r": 10, "t": 10, "b": 10})
    return figure
