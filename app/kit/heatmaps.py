"""Heat maps over pairs of images whose cells show both images on hover and open the pair on click.

A component of its own: Plotly's heat maps report no clicks to the server and show no pictures.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from app.kit.component import component

HERE = Path(__file__).parent
TEXT_LIMIT = 32  # rows and columns; numbers in more cells are unreadable

_component = component(
    "macl_heatmaps",
    html='<div class="heatmaps"></div>',
    css=(HERE / "heatmaps.css").read_text(),
    js=(HERE / "heatmaps.js").read_text(),
)

Scale = Sequence[tuple[float, str]]


@dataclass(frozen=True, eq=False)
class HeatMap:
    """One map.

    Attributes:
        title: Above it.
        note: What its values say, in a few words.
        values: (R, K); nan is left blank.
        low: Value of the scale's first colour; what is lower has it too.
        high: Value of the scale's last colour.
        scale: Stops from 0 to 1 with #rrggbb.
    """

    title: str
    note: str
    values: NDArray[np.float64]
    low: float
    high: float
    scale: Scale


def item(name: str, labels: Sequence[str], tile: int = -1) -> dict[str, Any]:
    """A row or column: its name, label names, and picture in the sprite (−1: none)."""
    return {"name": name, "labels": list(labels), "tile": tile}


def show(
    key: str,
    maps: Sequence[HeatMap],
    rows: Sequence[dict[str, Any]],
    columns: Sequence[dict[str, Any]],
    on_pick: Callable[[str, str], None],
    *,
    tiles: str = "",
    groups: Sequence[tuple[str, int, int]] = (),
    cuts: Sequence[int] = (),
    chosen: tuple[int, int] | None = None,
    who: tuple[str, str] = ("anchor", "other image"),
    same: bool = True,
    gutter: str = "6.5rem",
    widest: str = "760px",
    row_height: int = 0,
    ms: float = 0.0,
) -> None:
    """Draw maps of the same rows and columns side by side.

    Args:
        key: Of the component.
        maps: One to three.
        rows: R, from `item`.
        columns: K, from `item`.
        on_pick: Called with the names of the row and column that were clicked.
        tiles: Key of the sprite with the pictures.
        groups: Name, first row and end of the blocks that rows form, drawn left of them.
        cuts: Columns before which a line is drawn.
        chosen: Row and column of the marked cell.
        who: What a row and a column are.
        same: Whether rows and columns are the same images, so that the diagonal is no pair.
        gutter: Width of the space for the blocks' names.
        widest: Of one map, as CSS.
        row_height: Pixels; 0: square cells.
        ms: What the server spent before this, for measuring.
    """
    sent = [
        {
            "title": one.title,
            "note": one.note,
            "values": base64.b64encode(one.values.astype("<f4").tobytes()).decode(),
            "low": float(one.low),
            "high": float(one.high),
            "scale": [list(stop) for stop in one.scale],
        }
        for one in maps
    ]
    version = hashlib.sha256("".join(str(part) for part in sent).encode()).hexdigest()[:12]

    def picked() -> None:
        on_pick(*st.session_state[key].pick)

    _component(
        key=key,
        data={
            "maps": sent,
            "rows": list(rows),
            "columns": list(columns),
            "tiles": tiles,
            "groups": [list(group) for group in groups],
            "cuts": list(cuts),
            "chosen": chosen and list(chosen),
            "who": list(who),
            "same": same,
            "gutter": gutter,
            "row_height": row_height,
            "widest": widest,
            "tallest": 760,
            "text": max(len(rows), len(columns)) <= TEXT_LIMIT,
            "version": version,
            "ms": round(ms, 1),
        },
        on_pick_change=picked,
    )
