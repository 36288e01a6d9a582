"""Which pair of the batch is open, in the permalink; and the batch's images as the components draw them."""

from typing import Any

import numpy as np
import streamlit as st

from app.kit import heatmaps, permalink
from app.mechanism.batch import Chosen
from core.labels import jaccard

PAIR = "m_pair"
ANCHOR_COLOR, OTHER_COLOR = "#d1453b", "#2a8fb0"


def opened(chosen: Chosen) -> tuple[int, int]:
    """Rows of the open pair; by default the two images that overlap most without being alike."""
    names, state = list(chosen.names), st.session_state
    if linked := permalink.news("pair", PAIR):
        state[PAIR] = tuple(linked)
    pair: tuple[str, ...] = state.get(PAIR, ())
    a, b, *_ = (*pair, "", "")
    J = jaccard(chosen.batch.y, chosen.batch.y)  # (B, B)
    J[J == 1] = -0.5  # the same labels, and the image itself: nothing to explain
    np.fill_diagonal(J, -1)
    i = names.index(a) if a in names else int(J.max(1).argmax())
    p = names.index(b) if b in names and b != names[i] else int(J[i].argmax())
    if a in names:
        permalink.say("pair", PAIR, [names[i], names[p]])
    return i, p


def open_pair(anchor: str, other: str) -> None:
    """Open this pair; without another image the anchor's closest one."""
    st.session_state[PAIR] = (anchor, other)


def pick(chosen: Chosen, anchor: str, other: str) -> None:
    """Open the pair of a clicked cell; a prototype is no image, so the open pair stays."""
    if other in chosen.names:
        open_pair(anchor, other)


def items(chosen: Chosen) -> list[dict[str, Any]]:
    """The batch's images as rows or columns of a heat map."""
    return [heatmaps.item(name, label_names(chosen, n), n) for n, name in enumerate(chosen.names)]


def prototypes(chosen: Chosen) -> list[dict[str, Any]]:
    """The prototypes as columns of a heat map."""
    return [heatmaps.item(f"prototype of {name}", [name]) for name in chosen.source.classes]


def label_names(chosen: Chosen, row: int) -> list[str]:
    """Label names of an image of the batch."""
    labels = zip(chosen.source.classes, chosen.batch.y[row], strict=True)
    return [name for name, has in labels if has]


def tile(chosen: Chosen, row: int) -> dict[str, Any]:
    """An image of the batch as a picture in a strip."""
    name = chosen.names[row]
    return {"tile": row, "name": name, "alt": f"{name}: {', '.join(label_names(chosen, row))}"}
