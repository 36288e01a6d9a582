"""The pictures of a batch: one sprite that every component of the page draws from, and strips of them."""

import base64
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from PIL import Image

from app.kit.component import component
from core.data import Dataset

HERE = Path(__file__).parent
EDGE = 84  # pixels of a tile; hover shows it in this size

_component = component(
    "macl_tiles",
    html='<div class="tiles"></div>',
    css=(HERE / "tiles.css").read_text(),
    js=(HERE / "tiles.js").read_text(),
)


def sprite(dataset: Dataset | None, names: Sequence[str]) -> dict[str, Any]:
    """All pictures in one JPEG, tile by tile in the order of the names; without a data set none."""
    across = max(1, math.ceil(math.sqrt(len(names))))
    down = max(1, math.ceil(len(names) / across))
    layout = {"edge": EDGE, "across": across, "down": down, "sprite": ""}
    if dataset is None:
        return layout
    rows = {name: row for row, name in enumerate(dataset.names)}
    sheet = Image.new("RGB", (across * EDGE, down * EDGE), "#888888")
    for n, name in enumerate(names):
        if name in rows:
            tile = Image.fromarray(dataset.picture(rows[name])).resize((EDGE, EDGE))
            sheet.paste(tile, (n % across * EDGE, n // across * EDGE))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=82)
    return {**layout, "sprite": "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()}


def keep(key: str, pictures: dict[str, Any]) -> None:
    """Send a sprite to the browser once; strips and heat maps name it by its key."""
    _component(key="tiles", data={"key": key, **pictures})


def strips(
    key: str,
    parts: Sequence[dict[str, Any]],
    chosen: str,
    name: str,
    on_pick: Callable[[str], None] | None = None,
) -> None:
    """Rows of pictures, buttons if a click does something.

    Args:
        key: Of the sprite.
        parts: title, note, color, kind ("first", "away" or "") and tiles: tile, name, alt of each picture.
        chosen: Name of the marked picture.
        name: Key of the component.
        on_pick: Called with the name of a picture that was clicked; None: a click does nothing.
    """

    def picked() -> None:
        if on_pick:
            on_pick(st.session_state[name].pick)

    data = {"key": key, "strips": list(parts), "chosen": chosen, "clicks": on_pick is not None}
    _component(key=name, data=data, on_pick_change=picked)
