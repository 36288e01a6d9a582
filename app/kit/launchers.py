"""Who trains what a page starts, and where runs stand that a cluster has."""

from collections.abc import Iterable

import streamlit as st

from app.kit.words import plain
from core.errors import MaclError
from core.queue import hand_over
from core.queue import launcher as launchers
from core.queue.launcher import Standing
from core.runs import Run
from core.runs.where import LOCAL

TITLES = {
    LOCAL: "This machine",
    "slurm": "Slurm",
    "ray": "Ray",
}


def choose(key: str) -> str:
    """The launcher for what the form starts: asked only where more than one is set up."""
    try:
        names = launchers.set_up()
    except MaclError as error:
        st.warning(f"{plain(error)}. Until then runs are trained on this machine.")
        return LOCAL
    if len(names) < 2:
        return LOCAL
    chosen = st.segmented_control(
        "Train on",
        names,
        default=LOCAL,
        format_func=lambda name: TITLES[name],
        required=True,
        key=key,
        persist_state="session",
        help="A cluster's queue is set up in launchers.toml; `macl launcher check` says whether it works",
    )
    return chosen or LOCAL


def standings(runs: Iterable[Run]) -> dict[str, Standing]:
    """Where those of the runs stand that a cluster has, by their ids; what it lost is given back."""
    return hand_over.settle(runs)


def waiting(run: Run, standing: Standing) -> str:
    """Place in the queue of a cluster, and why the run waits."""
    word = "queued again" if run.queued_again else "queued"
    if standing.state == "unknown":
        name = TITLES.get(run.where.launcher, run.where.launcher)
        return f"{word}; {name} does not answer: {standing.reason}"
    if standing.state == "running":
        return f"{word}; its job begins" + (f" on {standing.host}" if standing.host else "")
    return f"{word}; {launchers.waits(standing, run.where)}"
