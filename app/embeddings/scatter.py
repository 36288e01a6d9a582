"""The pictures side by side, drawn by one component, and the light messages that it gets besides."""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from app.embeddings.colors import Coloring
from app.embeddings.layouts import Picture
from app.embeddings.points import Points
from app.kit.component import component

HERE = Path(__file__).parent
TALL = {1: 600, 2: 520}  # pixels at most, by how many stand beside each other
COLUMNS = 4
STILL = -1  # epoch of a picture without a slider: where one comes, it begins at the last epoch

_scatter = component(
    "macl_scatter",
    html='<div class="scatter"></div>',
    css=(HERE / "scatter.css").read_text(),
    js=(HERE / "scatter.js").read_text(),
)
_marks = component("macl_scatter_marks", js=(HERE / "marks.js").read_text())


def panel(title: str, color: str, note: str) -> dict[str, Any]:
    """What stands above a picture."""
    return {"title": title, "color": color, "note": note}


def drawing(
    points: Points, heads: Sequence[dict[str, Any]], pictures: Sequence[Picture], coloring: Coloring
) -> dict[str, Any]:
    """Everything that the component draws, coordinates as 16-bit numbers."""
    still = all(len(picture.epochs) == 1 for picture in pictures)  # then there is no slider
    centre, extent = _fit(pictures)
    whole = np.arange(len(points.names))
    panels = []
    for number, (head, picture) in enumerate(zip(heads, pictures, strict=True)):
        own, rows = points.own[number], points.rows[number]
        frames = [
            {"epoch": STILL if still else epoch, "at": _text(_short((at[own] - centre) / extent))}
            for epoch, at in zip(picture.epochs, picture.positions, strict=True)
        ]
        panels.append(
            {
                **head,
                "rows": "" if np.array_equal(rows, whole) else _text(rows.astype("<i4")),
                "values": _text(coloring.each[number]) if coloring.each else "",
                "frames": frames,
            }
        )
    data = {
        "version": points.version,
        "n": len(points.names),
        "dims": pictures[0].positions[0].shape[1],
        "panels": panels,
        "values": "" if coloring.shared is None else _text(coloring.shared),
        "legend": coloring.legend,
        "tall": TALL.get(len(panels), 440),
        "columns": COLUMNS,
    }
    return {**data, "mark": hashlib.sha256(json.dumps(data).encode()).hexdigest()[:16]}


def show(
    data: dict[str, Any],
    on_select: Callable[[dict[str, Any]], None],
    on_hover: Callable[[dict[str, Any]], None],
    key: str = "scatter",
) -> None:
    """Draw; `on_select` gets version, seq and bits, `on_hover` version and rows whose pictures are wanted."""

    def selected() -> None:
        on_select(st.session_state[key].select)

    def hovered() -> None:
        on_hover(st.session_state[key].hover)

    _scatter(key=key, data=data, on_select_change=selected, on_hover_change=hovered)


def tell(
    version: str,
    seq: int,
    bits: str,
    pictures: list[dict[str, Any]],
    open: bool,
    mark: str,
    notes: list[str],
) -> None:
    """Hand what comes after the points to the component.

    Args:
        version: Numbering of the points that the rest is about.
        seq: Of the selection.
        bits: The selection.
        pictures: Of hovered points.
        open: Whether those could be shown; before, they are names and labels alone.
        mark: Of the drawing that pictures and notes are about.
        notes: One for each picture, to be added to what stands above it.
    """
    data = {
        "version": version, "seq": seq, "bits": bits, "pictures": pictures, "open": open, "mark": mark,
        "notes": notes,
    }  # fmt: skip
    _marks(key="scatter_marks", data=data)


def _fit(pictures: Sequence[Picture]) -> tuple[NDArray[np.float64], float]:
    """Middle and half side of the square, or half diameter of the ball, that holds all pictures."""
    every = [at for one in pictures for at in one.positions if at.size]
    if not every:
        return np.zeros(2), 1.0
    low, high = np.min([at.min(0) for at in every], axis=0), np.max([at.max(0) for at in every], axis=0)
    centre = (low + high) / 2
    if len(centre) == 2:
        return centre, float((high - low).max() / 2) or 1.0
    return centre, max(float(np.sqrt(((at - centre) ** 2).sum(1).max())) for at in every) or 1.0


def _short(positions: NDArray[np.float64]) -> NDArray[np.uint16]:
    return np.rint((np.clip(positions, -1, 1) + 1) * 32767.5).astype("<u2")


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
