import streamlit as st

from app.home import overview, quick_start
from app.kit import left_out, permalink
from app.kit.component import fetch_ahead
from app.kit.warm import keep_workers

st.title("MACL Lab")
st.markdown(
    "Train multi-label contrastive losses on aerial images side by side and see what each of them retrieves. "
    "Fourteen losses, thirteen of them published, and any of your own; seven metrics with chance and oracle "
    "beside them, and every run kept as a folder."
)
permalink.told_here()
overview.scenes()
keep_workers()

quick_start.quick_start()

scores, lists = st.columns([3, 2], gap="large")
with scores:
    overview.glance()
with lists:
    st.header("Recent runs")
    left_out.say()
    overview.recent_runs()
    st.header("Data sets")
    overview.datasets()
fetch_ahead()
