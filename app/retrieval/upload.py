"""A person's own picture as the query of this page, with the labels that they see in it."""

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from app.kit import query
from app.kit.upload import UPLOADED, popover
from app.retrieval.rows import Query
from core.data.look import LOOK
from core.retrieval import ask
from core.runs import Run

PAGE = "retrieval"
LABELS = "retrieval_upload_labels"
_OF, _LABELS = "retrieval_upload_of", "retrieval_upload_said"  # the last picture; labels by picture


def tools(runs: Sequence[Run], classes: Sequence[str]) -> None:
    """Where a person drops a picture, and says what they see in it."""
    state = st.session_state
    with popover(PAGE, runs, _taken):
        state[LABELS] = [label for label in _labels() if label in classes]
        st.multiselect(
            "Labels you see in it",
            list(classes),
            key=LABELS,
            on_change=_keep_labels,
            placeholder="unknown",
            help="With them results are coloured and scored as for a test image.",
        )


def _taken(key: str) -> None:
    """Labels that were chosen before there was a picture are those of the first."""
    st.session_state[_OF] = key
    by_picture = st.session_state.setdefault(_LABELS, {})
    by_picture.setdefault(key, by_picture.pop("", []))


def _labels() -> list[str]:
    """The labels that a person sees in the picture that was uploaded last."""
    state = st.session_state
    labels: list[str] = state.get(_LABELS, {}).get(state.get(_OF, ""), [])
    return labels


def _keep_labels() -> None:
    """Keep them with the picture: the widget is forgotten while another page is open."""
    state = st.session_state
    state.setdefault(_LABELS, {})[state.get(_OF, "")] = list(state[LABELS])


def query_of(classes: Sequence[str]) -> Query | None:
    """The picture that asks, with the labels that a person sees in it; None while a test image does."""
    picture = st.session_state.get(query.UPLOAD)
    if not picture:
        return None
    names = [label for label in _labels() if label in classes]
    labels = np.array([label in names for label in classes], dtype=np.uint8) if names else None
    return Query(picture["name"], labels, picture["key"])


def uri(known: Callable[[str], str] | None) -> Callable[[str], str] | None:
    """Pictures by name; the uploaded one's among them while it asks, by a name that no file has."""
    picture = st.session_state.get(query.UPLOAD)
    if not picture:
        return known
    return lambda name: picture["uri"] if name == UPLOADED else known(name) if known else ""


def pixels_of(key: str) -> np.ndarray | None:
    """The uploaded picture as seen, (P, P, 3) uint8, in its largest size; None if it is gone."""
    picture = st.session_state.get(query.UPLOAD)
    shown, look = (picture["shown"], picture["look"]) if picture and picture["key"] == key else (key, LOOK)
    kept = ask.picture(shown)
    return look.rgb(kept[max(kept)]) if kept else None
