"""Sensitivity: sliders that train, sweeps, and the queue behind them."""

import streamlit as st

from app.sensitivity import lab

st.title("Sensitivity")
st.caption("What a parameter does to the retrieval: move a slider, the head is trained again at once.")
lab.show()
