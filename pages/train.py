import streamlit as st

from app import cache
from app.kit import left_out, permalink
from app.kit.warm import keep_workers
from app.train import form, live, mirrored, run_list

st.title("Train")
st.caption("Start runs with one or several losses and watch them; they go on when this page is closed.")
permalink.told_here()
keep_workers()
states = live.states()

left, results = st.columns([2, 5], gap="large")
with left:
    st.fragment(form.form)()
    mirrored.line()

with results:
    left_out.say()
    if not cache.all_runs():
        st.info("No run yet. Choose losses and press Start: the instant preset takes seconds.")
        st.stop()
    # each part in a container of its own: a line that comes or goes must not close what a person has opened
    with st.container():
        run_list.paused()
    with st.container():
        chosen = run_list.chosen()
    run_list.table(chosen)
    with st.container():
        run_list.actions(chosen)
    with st.container():
        drawn = run_list.drawn(chosen)
        run_list.outcomes(drawn)
    live.watch(drawn, "train", states)
    with st.container():
        run_list.details(drawn)
    if not chosen:
        st.caption("Tick runs in the list to see their curves, log and configuration.")
