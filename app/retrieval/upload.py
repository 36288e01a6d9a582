"""A person's own picture as the query: taken, checked, and handed to the embedder as bare pixels."""

import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import streamlit as st

from app import cache
from app.kit import query
from app.kit.thumbnails import encode
from app.kit.words import plain
from app.retrieval.rows import UPLOADED, Query, embedding
from core.data.prepared import prepared_size
from core.errors import MaclError
from core.retrieval import ask
from core.retrieval.upload import LIMITS, MAX_BYTES, key_of, name_of, pixels, start
from core.runs import Run

FILE, LABELS = "retrieval_file", "retrieval_upload_labels"
_LAST, _WRONG = "retrieval_file_last", "retrieval_file_wrong"
_OF, _LABELS = "retrieval_upload_of", "retrieval_upload_said"  # the last picture; labels by picture


def tools(runs: Sequence[Run], classes: Sequence[str]) -> None:
    """Where a person drops a picture; it becomes the query if it is one."""
    state = st.session_state
    with st.popover("Upload an image", on_change="rerun", key="retrieval_own") as popover:
        if popover.open:
            try:
                ask.ensure()  # importing torch takes some seconds, in which a person looks for the file
            except MaclError as error:
                st.error(plain(str(error)))
            if not cache.decoders():
                cache.decoders().append(start())
        file = st.file_uploader("Image that asks", key=FILE, max_upload_size=MAX_BYTES // 10**6)
        st.caption(
            f"{LIMITS}. Judged by its content; turned upright, squeezed to a square as the images of a data "
            "set are, metadata dropped, never part of a link. The picture is deleted some minutes after the "
            "last question; its embedding stays in the cache."
        )
        if file is None:
            state[_LAST] = state[_WRONG] = None
        elif file.file_id != state.get(_LAST) or _lacks(runs):
            state[_LAST] = file.file_id
            _take(file.name, file.getvalue(), runs)
        if state.get(_WRONG):
            st.error(plain(state[_WRONG]))
        elif file is not None and not state.get(query.UPLOAD):
            st.button("Ask with it again", on_click=_take, args=(file.name, file.getvalue(), runs))
        state[LABELS] = [label for label in _labels() if label in classes]
        st.multiselect(
            "Labels you see in it",
            list(classes),
            key=LABELS,
            on_change=_keep_labels,
            placeholder="unknown",
            help="With them results are coloured and scored as for a test image.",
        )


def _take(name: str, data: bytes, runs: Sequence[Run]) -> None:
    """Make a file the query, or say what is wrong with it."""
    state, title = st.session_state, name_of(name)
    sizes = sorted({prepared_size(cache.config(run).image_size) for run in runs})
    try:
        pictures = pixels(data, sizes, _decoder())
        ask.keep_picture(key_of(data), dict(zip(sizes, pictures, strict=True)))
        for run in runs:
            ask.again(embedding(run, key_of(data)))  # it may have failed because the picture was gone
    except MaclError as error:
        state[_WRONG] = f"{title}: {error}."
        return
    state[_WRONG], state[_OF] = None, key_of(data)
    by_picture = state.setdefault(_LABELS, {})
    by_picture.setdefault(
        key_of(data), by_picture.pop("", [])
    )  # labels that were chosen before there was a picture
    state[query.UPLOAD] = {"key": key_of(data), "name": title, "uri": encode(pictures[-1]), "sizes": sizes}


def _labels() -> list[str]:
    """The labels that a person sees in the picture that was uploaded last."""
    state = st.session_state
    labels: list[str] = state.get(_LABELS, {}).get(state.get(_OF, ""), [])
    return labels


def _keep_labels() -> None:
    """Keep them with the picture: the widget is forgotten while another page is open."""
    state = st.session_state
    state.setdefault(_LABELS, {})[state.get(_OF, "")] = list(state[LABELS])


def _decoder() -> subprocess.Popen[bytes] | None:
    with suppress(IndexError):  # another tab may have taken it
        return cache.decoders().pop()
    return None


def _lacks(runs: Sequence[Run]) -> bool:
    """Whether the picture that asks was deleted since, or lacks the resolution of a run chosen later."""
    picture = st.session_state.get(query.UPLOAD)
    if not picture:
        return False
    sizes = {prepared_size(cache.config(run).image_size) for run in runs}
    return not ask.picture_path(picture["key"]).exists() or not sizes <= set(picture["sizes"])


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
    """The uploaded picture (P, P, 3) uint8 in its largest size; None if it is gone."""
    kept = ask.picture(key)
    return kept[max(kept)] if kept else None
