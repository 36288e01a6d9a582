"""What a lasso has chosen: the selection's state, its images in a grid, counts by label, names as CSV."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import streamlit as st
from PIL import Image

from app import cache, image_cache
from app.embeddings.colors import NONE, Coloring
from app.embeddings.points import Points, from_bits
from app.kit.component import component
from app.kit.gallery import label_names
from app.kit.query import link
from app.kit.thumbnails import Thumbnails
from core.report import spreadsheet
from core.runs import Run

HERE = Path(__file__).parent
NAMES, SEQ, PAGE = "embeddings_selected", "embeddings_seq", "embeddings_page"
PLACE = "embeddings_place"  # the data set of the names
NUMBERED = "embeddings_numbered"  # version of a numbering to its names, for messages that come late
EDGE = 80  # pixels of a tile
TILES = 400  # on a page
REMEMBERED = 6

_grid = component(
    "macl_selection",
    html='<div class="selection"></div>',
    css=(HERE / "selection.css").read_text(),
    js=(HERE / "selection.js").read_text(),
)


def numbered(points: Points) -> None:
    """Remember what the numbers of these points mean: a lasso is answered after they were sent."""
    known = st.session_state.setdefault(NUMBERED, {})
    known.pop(points.version, None)
    known[points.version] = points.names
    while len(known) > REMEMBERED:
        known.pop(next(iter(known)))


def take(lasso: dict[str, Any]) -> None:
    """Keep the names behind a lasso's bits; one whose numbering nobody knows any more is left out."""
    state = st.session_state
    known = state.get(NUMBERED, {})
    names = chosen_names(lasso, known)
    if names is not None:
        if lasso.get("add"):  # what a filter hides stays chosen
            shown = set(known[lasso["version"]])
            names += tuple(name for name in state.get(NAMES, ()) if name not in shown)
        state[NAMES], state[SEQ], state[PAGE] = names, int(lasso["seq"]), 0


def keep_apart(place: tuple[str, str]) -> None:
    """Forget what was chosen among the images of another data set: a name means another image here."""
    state = st.session_state
    if state.setdefault(PLACE, place) != place:
        state[PLACE] = place
        state.pop(NAMES, None)


def chosen_names(lasso: dict[str, Any], known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """Names behind the bits of a lasso; None where its numbering is not known any more.

    Args:
        lasso: Its `version` and `bits`.
        known: Names of the points of each version.
    """
    names = known.get(lasso["version"])
    if names is None:
        return None
    return tuple(names[i] for i in np.flatnonzero(from_bits(lasso["bits"], len(names))))


def names_of(message: dict[str, Any]) -> list[tuple[int, str]]:
    """Row and name of the points that a message asks about."""
    names = st.session_state.get(NUMBERED, {}).get(message["version"], ())
    return [(int(row), names[int(row)]) for row in message["rows"] if 0 <= int(row) < len(names)]


def ordered(points: Points, chosen: np.ndarray, coloring: Coloring) -> list[int]:
    """The chosen points (n,), those of one colour together."""
    rows = np.flatnonzero(chosen)
    values = coloring.shared if coloring.shared is not None else np.zeros(len(chosen), np.uint8)
    keys = np.where(values[rows] == NONE, 256, values[rows].astype(int))
    return [int(rows[k]) for k in np.lexsort((rows, keys))]


def counts(points: Points, chosen: np.ndarray, classes: Sequence[str]) -> list[tuple[str, int, int]]:
    """Label, how many of the chosen points hold it, and how many of all; the largest share first."""
    inside, of_all = points.y[chosen].sum(0).tolist(), points.y.sum(0).tolist()
    labels = [(label, inside[k], of_all[k]) for k, label in enumerate(classes) if inside[k]]
    return sorted(labels, key=lambda one: (-one[1] / one[2], -one[1]))


def show(
    points: Points,
    chosen: np.ndarray,
    coloring: Coloring,
    classes: Sequence[str],
    images: Thumbnails | None,
    runs: Sequence[Run],
) -> None:
    """The grid, page by page, beside the counts."""
    order = ordered(points, chosen, coloring)
    pages = -(-len(order) // TILES)
    page = min(max(0, int(st.session_state.get(PAGE, 0))), pages - 1)
    part = order[page * TILES : (page + 1) * TILES]
    items = [
        {
            "row": row,
            "name": points.names[row],
            "labels": label_names(points.y[row], classes),
            "color": coloring.color(row) or "transparent",
            "href": _asking(runs, points.names[row]),
        }
        for row in part
    ]

    def turned() -> None:
        st.session_state[PAGE] = st.session_state["selection"].page

    _grid(
        key="selection",
        data={
            "items": items,
            "counts": counts(points, chosen, classes),
            "total": len(order),
            "first": page * TILES,
            "page": page,
            "tile": sheet(images, [points.names[row] for row in part]),
        },
        on_page_change=turned,
    )


def sheet(images: Thumbnails | None, names: Sequence[str]) -> dict[str, Any]:
    """The pictures as one JPEG, tile by tile; without images none."""
    across = min(20, max(1, len(names)))
    layout = {"across": across, "down": -(-len(names) // across), "sprite": ""}
    if images is None or not names:
        return layout
    data = images.dataset
    sprite = image_cache.sprite(
        f"{data.name} {data.picture_key}", tuple(names), lambda: _sprite(images, names, across)
    )
    return {**layout, "sprite": sprite}


def _sprite(images: Thumbnails, names: Sequence[str], across: int) -> str:
    data = images.dataset
    rows = cache.remembered(
        f"rows {data.name} {data.key} {len(data.names)}",
        lambda: {name: row for row, name in enumerate(data.names)},
    )
    down = -(-len(names) // across)
    sheet = Image.new("RGB", (across * EDGE, down * EDGE), "#888888")
    for k, name in enumerate(names):
        if name in rows:
            image = Image.fromarray(data.picture(rows[name]))
            tile = image.resize((EDGE, EDGE), Image.Resampling.BOX)
            sheet.paste(tile, (k % across * EDGE, k // across * EDGE))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def to_csv(points: Points, chosen: np.ndarray, classes: Sequence[str]) -> str:
    """One line per chosen image: its name and its labels, separated by semicolons."""
    rows = [
        (points.names[row], "; ".join(label_names(points.y[row], classes))) for row in np.flatnonzero(chosen)
    ]
    return spreadsheet.to_csv([("image", "labels"), *rows])


def _asking(runs: Sequence[Run], name: str) -> str:
    """Address of the retrieval page with this image as the query, which may be of another split."""
    gallery = "" if name in cache.test_rows(runs[0]) else "all"
    return "retrieval?" + urlencode(link([run.id for run in runs], name, gallery=gallery), doseq=True)
