"""While the embedder computes: say what it is at, and draw the page anew as soon as something is there."""

from collections.abc import Sequence

import streamlit as st

from app.kit.words import plain
from core.errors import MaclError
from core.retrieval import ask


def progress(waits: Sequence[ask.Question]) -> None:
    """Look several times a second until one of these questions has its answer."""
    if waits:
        _look(list(waits))


def retry(failed: Sequence[ask.Question]) -> None:
    """A button that asks again what could not be answered, for when its cause is gone."""
    if failed:
        st.button("Try again what failed", on_click=_again, args=(list(failed),))


def _again(failed: list[ask.Question]) -> None:
    for question in failed:
        ask.again(question)


@st.fragment(run_every=0.1)
def _look(waits: list[ask.Question]) -> None:
    if any(ask.look(question).state != "waiting" for question in waits):
        st.rerun()
    try:
        ask.ensure()  # one that was killed is replaced, and finds the questions waiting
    except MaclError as error:
        st.error(plain(str(error)))
        return
    about = ask.doing()
    if not about or not about["ready"]:
        text = "Starting the process that computes embeddings: a few seconds, once …"
    else:
        text = f"Computing: {plain(about['what'] or 'embeddings')} …"
    total = about.get("total", 0)
    if total:
        st.progress(min(1.0, about["done"] / total), text)
    else:
        st.caption(text)
