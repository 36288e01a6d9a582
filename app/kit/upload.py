"""A person's own picture as the query: taken, checked, and handed to the embedder as bare pixels.

Every page that takes one keeps it under keys of its own, which begin with the page's name.
"""

import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import cache
from app.kit.thumbnails import encode
from app.kit.words import plain
from core.data.look import Look
from core.data.prepared import prepared_size
from core.errors import MaclError
from core.retrieval import ask
from core.retrieval.upload import LIMITS, MAX_BYTES, key_of, name_of, pixels, start
from core.runs import Run
from core.runs.origin import look_of

UPLOADED = "//upload"  # in place of an image's name: no file of a data set has such a one


def key(page: str) -> str:
    """Key in the session of the picture that asks; None there while something else does."""
    return f"{page}_upload"


def picture(page: str) -> dict[str, Any] | None:
    """The picture that asks: its `key`, `name`, `uri`, and how it is `wanted` and `shown`."""
    found: dict[str, Any] | None = st.session_state.get(key(page))
    return found


def embedding(run: Run, upload: str) -> ask.Question:
    """What to ask for the embedding of the uploaded picture of this key."""
    return ask.Question("embed", str(run.path), ask.PICTURE + upload)


def popover(page: str, runs: Sequence[Run], taken: Callable[[str], None]) -> DeltaGenerator:
    """Where a person drops a picture; it becomes the query if it is one.

    Args:
        page: Whose picture it is.
        runs: What it has to be seen as.
        taken: Called with the picture's key before it asks.

    Returns:
        The popover, for what else belongs there.
    """
    state, last, wrong = st.session_state, f"{page}_file_last", f"{page}_file_wrong"
    opened = st.popover("Upload an image", on_change="rerun", key=f"{page}_own")
    with opened:
        if opened.open:
            try:
                ask.ensure()  # importing torch takes some seconds, in which a person looks for the file
            except MaclError as error:
                st.error(plain(str(error)))
            if not cache.decoders():
                cache.decoders().append(start())
        file = st.file_uploader("Image that asks", key=f"{page}_file", max_upload_size=MAX_BYTES // 10**6)
        st.caption(
            f"{LIMITS}. Judged by its content; turned upright, squeezed to a square as the images of a data "
            "set are, metadata dropped, never part of a link. The picture is deleted some minutes after the "
            "last question; its embedding stays in the cache."
        )
        if file is None:
            state[last] = state[wrong] = None
        elif file.file_id != state.get(last) or _lacks(page, runs):
            state[last] = file.file_id
            _take(page, file.name, file.getvalue(), runs, taken)
        if state.get(wrong):
            st.error(plain(state[wrong]))
        elif file is not None and not state.get(key(page)):
            again = (page, file.name, file.getvalue(), runs, taken)
            st.button("Ask with it again", on_click=_take, args=again)
    return opened


def _take(page: str, name: str, data: bytes, runs: Sequence[Run], taken: Callable[[str], None]) -> None:
    """Make a file the query, or say what is wrong with it."""
    state, title, wrong = st.session_state, name_of(name), f"{page}_file_wrong"
    try:
        for look, sizes in _wanted(runs).items():
            pictures = pixels(data, sizes, _decoder(), look)
            ask.keep_picture(shown := ask.seen(key_of(data), look), dict(zip(sizes, pictures, strict=True)))
        for run in runs:
            ask.again(embedding(run, key_of(data)))  # it may have failed because the picture was gone
    except MaclError as error:
        state[wrong] = f"{title}: {error}."
        return
    state[wrong] = None
    taken(key_of(data))
    state[key(page)] = {
        "key": key_of(data),
        "name": title,
        "uri": encode(look.rgb(pictures[-1])),
        "shown": shown,
        "look": look,
        "wanted": _wanted(runs),
    }


def _wanted(runs: Sequence[Run]) -> dict[Look, list[int]]:
    """The sizes in which these runs see a picture, for each way to see it."""
    wanted: dict[Look, set[int]] = {}
    for run in runs:
        wanted.setdefault(look_of(run), set()).add(prepared_size(cache.config(run).image_size))
    return {look: sorted(sizes) for look, sizes in wanted.items()}


def _decoder() -> subprocess.Popen[bytes] | None:
    with suppress(IndexError):  # another tab may have taken it
        return cache.decoders().pop()
    return None


def _lacks(page: str, runs: Sequence[Run]) -> bool:
    """Whether the picture that asks was deleted since, or lacks the resolution of a run chosen later."""
    asking = picture(page)
    if not asking:
        return False
    return any(
        not ask.picture_path(ask.seen(asking["key"], look)).exists()
        or not {*sizes} <= {*asking["wanted"].get(look, ())}
        for look, sizes in _wanted(runs).items()
    )
