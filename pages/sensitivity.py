"""Sensitivity: sliders that train, sweeps, and the queue behind them."""

import streamlit as st

from app.kit import left_out, permalink
from app.sensitivity import lab, sweeps

VIEWS = {"Live lab": lab.show, "Sweeps": sweeps.show}

st.title("Sensitivity")
st.caption("What a parameter does to retrieval: move a slider and the head is trained again, at once.")
permalink.told_here()
left_out.say()
permalink.note_unknown(s_view=list(VIEWS))
tabs = st.tabs(list(VIEWS), key="s_view", on_change="rerun", bind="query-params")
for tab, view in zip(tabs, VIEWS.values(), strict=True):
    if tab.open:  # the other costs nothing
        with tab:
            view()
