"""Mechanism: what a loss does with one batch (Figs. 1 and 3 of the paper, live)."""

import streamlit as st

from app.kit import left_out, permalink
from app.kit.words import plain
from app.mechanism import batch, view
from core.errors import MaclError

st.title("Mechanism")
st.caption("What a loss does with one batch: how it weighs each pair, and whether it pulls or pushes.")
permalink.told_here()
left_out.say()
options = batch.sources()
if not options:
    st.info(
        "No finished run and no prepared data set yet. Train a loss, then see here what it does to a batch."
    )
    st.page_link("../pages/train.py", label="Train")
    st.page_link("../pages/data.py", label="Data")
    st.stop()

left, right = st.columns([1, 1], gap="medium")
try:
    with left:
        source = batch.open_source(batch.choose_source(options))
    if source is None:
        st.stop()
    with right:
        chosen = batch.choose_images(source)
except MaclError as error:
    st.error(plain(error))
    st.stop()
view.show(chosen)
