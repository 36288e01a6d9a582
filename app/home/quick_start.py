"""The quick start of the home page: one click trains two losses on the demo set and leads to their images."""

import streamlit as st

from app import cache
from app.kit import permalink
from app.kit.names import run_label
from app.kit.words import percent, plain
from app.train import live
from core.errors import MaclError
from core.metrics import METRICS
from core.queue import launch
from core.report import NOT_COMPUTED
from core.runs import Run, RunConfig

QUICK = "quick"  # the two runs
LOSSES = ("macl", "mulsupcon")
SHOWN = ("map_sim", "map_easy", "map_medium", "map_hard")
MEANING = (
    "Mean average precision over all test images as queries: 100 % where every image that fits comes first; "
    "chance is what a random order reaches. An image fits if it shares a label with the query (sim), or if "
    "their labels agree: Jaccard ≥ 0.4 (Easy), ≥ 0.6 (Medium), ≥ 0.8 (Hard)."
)


def configs() -> list[RunConfig]:
    """The runs that the button starts."""
    return [RunConfig.build("instant", dataset="demo", loss=loss, seed=0) for loss in LOSSES]


def quick_start() -> None:
    """The button and, once it was pressed, the progress of its runs, which the permalink names."""
    states = live.states()
    by_id = {run.id: run for run in cache.all_runs()}
    wanted = permalink.news(QUICK, QUICK) or st.session_state.get(QUICK, [])
    permalink.note_gone([name for name in wanted if name not in by_id])
    st.session_state[QUICK] = [name for name in wanted if name in by_id]
    permalink.say(QUICK, QUICK, st.session_state[QUICK])
    runs = [by_id[name] for name in st.session_state[QUICK]]
    active = any(live.state(run) in live.ACTIVE for run in runs)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Train MACL and MulSupCon on the demo set",
            type="primary",
            on_click=_start,
            disabled=active,
            help="Two instant runs: about 15 s the first time, to prepare the images; seconds afterwards",
        )
        previous = [] if runs else finished()
        if previous:
            st.page_link(
                "../pages/retrieval.py",
                label="or look at what they found before",
                query_params={"runs": [run.id for run in previous]},
            )
    if error := st.session_state.pop("quick_error", ""):
        st.error(plain(error))
    if runs:
        with st.container():
            _steps(runs)
        live.watch(runs, "home", states, controls=False, every=0.5)  # the links are to appear at once


def finished() -> list[Run]:
    """Finished runs, own or recorded, of the button's configurations; empty unless there is one of each."""
    finished_runs = cache.finished_runs()
    matches = [
        next((run for run in finished_runs if cache.config(run).identity == wanted.identity), None)
        for wanted in configs()
    ]
    return [run for run in matches if run is not None] if all(matches) else []


def _start() -> None:
    try:
        st.session_state[QUICK] = [launch.submit(config).id for config in configs()]
    except (MaclError, OSError) as error:
        st.session_state["quick_error"] = str(error)


def _steps(runs: list[Run]) -> None:
    """What failed, if anything; once both runs have finished, their scores and links to their results."""
    for run in runs:
        if live.state(run) == "failed":
            st.error(f"**{plain(run_label(run))}** failed: {plain(run.error)}")
            st.page_link(
                "../pages/train.py", label="Open it on the Train page", query_params={"runs": [run.id]}
            )
    if all(live.state(run) == "finished" for run in runs):
        ids = {"runs": [run.id for run in runs]}
        with st.container(horizontal=True, vertical_alignment="center", gap="large"):
            st.markdown("**Both have finished.**", width="content")
            st.page_link("../pages/retrieval.py", label="**See the images they retrieve**", query_params=ids)
            st.page_link("../pages/compare.py", label="Compare their scores", query_params=ids)
            st.page_link("../pages/train.py", label="Open them on the Train page", query_params=ids)
        for run, column in zip(runs, st.columns(len(runs)), strict=True):
            try:
                scores = cache.scores(run)
            except MaclError as error:
                column.error(plain(error))
                continue
            with column.container(border=True):
                st.markdown(f"**{plain(run_label(run))}**")
                cells = st.columns(len(SHOWN))
                for cell, key in zip(cells, SHOWN, strict=True):
                    cell.metric(METRICS[key], percent(scores["metrics"].get(key)))
                    computed = key in scores["metrics"]
                    cell.caption(f"chance {percent(scores['chance'].get(key))}" if computed else NOT_COMPUTED)
        st.caption(MEANING)
