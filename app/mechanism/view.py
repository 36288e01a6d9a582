"""The mechanism page below its batch: the settings, and the view that is open."""

import time

import streamlit as st

from app import cache
from app.kit.permalink import note_unknown
from app.kit.words import plain
from app.mechanism import anchor, distributions, pairs, settings, waiting
from app.mechanism.batch import Chosen

VIEWS = {
    "Pairs": pairs.show,
    "One anchor (Fig. 1)": anchor.show,
    "Which labels gain": distributions.gains,
    "What the loss asks for": distributions.optima,
}
WITHOUT_ANSWER = ("What the loss asks for",)  # does not ask what another loss does


@st.fragment
def show(chosen: Chosen) -> None:
    """Everything that a slider moves; the batch stays as it is."""
    started = time.perf_counter()
    if chosen.source.run is not None and cache.gone(chosen.source.run):
        st.rerun()  # the whole page, which says so and takes another one
    note_unknown(m_view=list(VIEWS))
    key, params = settings.choose(chosen.source.run)
    if chosen.source.note:
        st.caption(plain(chosen.source.note))
    tabs = st.tabs(list(VIEWS), key="m_view", on_change="rerun", bind="query-params")
    for tab, (name, view) in zip(tabs, VIEWS.items(), strict=True):
        if not tab.open:  # the others cost nothing
            continue
        with tab:
            reply = None if name in WITHOUT_ANSWER else waiting.reply(chosen.batch, key, params)
            if reply is not None:
                waiting.tell(reply, chosen.batch, key, params)
            if reply is None or reply.state != "waiting":
                view(chosen, key, params, reply.answer if reply else None, started)
