import streamlit as st

from app import overview, quick_start
from app.warm import keep_workers

st.title("MACL Lab")
st.markdown(
    "Train multi-label contrastive losses on aerial images side by side and see what each of them retrieves. "
    "Thirteen losses, seven metrics with chance and oracle beside them, and every run kept as a folder."
)
keep_workers()

quick_start.quick_start()
st.divider()

runs, data = st.columns([3, 2], gap="large")
with runs:
    st.subheader("Recent runs")
    overview.recent_runs()
with data:
    st.subheader("Data sets")
    overview.datasets()
