"""What the home page lists: recent runs and the data sets found."""

from pathlib import Path

import streamlit as st

from app import cache, live
from app.names import dataset_title, run_label
from app.palette import loss_color
from core.data import DATASETS, default_root
from core.metrics import METRICS
from core.runs import Run

RECENT = 8


def recent_runs() -> None:
    """The newest runs with their state; each name leads to its curves."""
    found = cache.all_runs()
    if not found:
        st.info("No run yet. Press the button above, or choose losses and data yourself.")
        st.page_link("../pages/train.py", label="Open the Train page")
        return
    for run in found[:RECENT]:
        word = live.state(run)
        with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False):
            color = loss_color(cache.config(run).loss)
            st.html(f'<span style="display:block;width:18px;height:4px;background:{color}"></span>', width=18)
            st.page_link("../pages/train.py", label=run_label(run), query_params={"runs": [run.id]})
            st.space("stretch")
            st.caption(_outcome(run, word), width="content")
    more = len(found) - RECENT
    if more > 0:
        st.page_link("../pages/train.py", label=f"All {len(found)} runs")


def datasets() -> None:
    """The data sets and where each was found; only paths are looked at, nothing is read."""
    used: dict[str, set[str]] = {}
    for run in cache.all_runs():
        config = cache.config(run)
        if config.data_root and Path(config.data_root).exists():
            used.setdefault(config.dataset, set()).add(config.data_root)
    for name in DATASETS:
        places = sorted(used.get(name, ()))
        if default_root(name).exists():
            places.insert(0, str(default_root(name)))
        with st.container(horizontal=True, gap="small"):
            st.markdown(dataset_title(name), width="content")
            st.space("stretch")
            st.caption("built in" if name == "demo" else " · ".join(places) or "not found", width="content")
    st.page_link("../pages/data.py", label="How to get the data sets")


def _outcome(run: Run, word: str) -> str:
    if word not in ("finished", "recorded"):
        return word
    medium = cache.scores(run)["metrics"]["map_medium"]
    return f"{METRICS['map_medium']} {100 * medium:.1f} · {word}" if medium is not None else word
