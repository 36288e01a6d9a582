"""While a process computes what a loss does with the batch: say so, and draw the page as soon as it knows."""

from collections.abc import Mapping

import streamlit as st

from app.kit.words import plain
from core import mechanism
from core.errors import MaclError
from core.losses import Value, spec_of
from core.mechanism import Batch, ask

PATIENCE = 0.7  # seconds that a page waits for a warm process before it says that it waits


def reply(batch: Batch, key: str, params: Mapping[str, Value]) -> ask.Reply | None:
    """What the process says of a loss with these settings; None for a loss that needs no process."""
    if mechanism.written(key):
        return None
    question = ask.Question(key, params, batch)
    try:
        found = ask.ask(question)
    except MaclError as error:
        return ask.Reply("failed", error=str(error))
    if found.state == "waiting" and ask.answered_within(question, PATIENCE):
        return ask.look(question)
    return found


def tell(found: ask.Reply, batch: Batch, key: str, params: Mapping[str, Value]) -> None:
    """Say why there is no answer: not yet, or what is wrong with the loss."""
    question = ask.Question(key, params, batch)
    if found.state == "waiting":
        _look(question)
    elif found.state == "failed":
        st.error(plain(f"{spec_of(key).title} cannot be computed on this batch: {found.error}"))
        st.button("Try again", key=f"again_{question.key}", on_click=ask.again, args=(question,))


@st.fragment(run_every=0.15)
def _look(question: ask.Question) -> None:
    try:
        # made anew each time: the loss may have been changed in the meantime
        now = ask.Question(question.loss, question.params, question.batch)
        if ask.ask(now).state != "waiting":
            st.rerun()
    except MaclError as error:
        st.error(plain(str(error)))
        return
    title = plain(spec_of(question.loss).title)
    if ask.is_warm():
        st.caption(f"Computing what {title} does with these images …")
    else:
        st.caption(f"Starting the process that computes {title}: a few seconds, once …")
