"""The queue: which runs are active, which wait and when they are likely to begin; pause and go on."""

import time
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from app import cache
from app.kit.names import run_label
from app.kit.words import plain
from app.train import live
from core.errors import words
from core.experiments import duration
from core.experiments.sweep import Known
from core.queue import launch

SHOWN = 6
EVERY, IDLE_EVERY = 1.0, 5.0


def show(among: Known) -> None:
    """The queue in a few lines that refresh by themselves."""
    waiting = launch.queue(launch.run_root())
    st.fragment(run_every=EVERY if waiting or _running(among) else IDLE_EVERY)(_lines)(among, len(waiting))


def _running(among: Known) -> list[str]:
    return [run.id for run, _ in among if not run.recorded and cache.state(run) == "running"]


def _lines(among: Known, before: int) -> None:
    root = launch.run_root()
    order = duration.waits(root, among)
    running = [run for run, _ in among if not run.recorded and cache.state(run) == "running"]
    if bool(order) != bool(before):
        st.rerun()
    if message := st.session_state.get("queue_message"):  # until the next click: the lines refresh often
        st.error(plain(message))
    paused = launch.paused(root)
    if not (order or running or paused):
        st.caption("The queue is empty.")
        return
    left, right = st.columns([5, 1], vertical_alignment="center")
    words = [f"{len(running)} running, {len(order)} waiting"]
    if order:
        last, start = order[-1]
        end = start + duration.seconds_of(last.config, among)[0]
        words.append(f"empty in about {duration.words(end)}, at {_clock(end)}")
    devices = sorted(launch.workers(root))
    words.append(f"workers: {plain(', '.join(devices))}" if devices else "no worker is alive")
    left.markdown(("**Paused** · " if paused else "") + " · ".join(words))
    if paused:
        right.button("Go on", on_click=_switch, args=(launch.unpause, root), width="stretch", key="queue_on")
    else:
        right.button(
            "Pause", on_click=_switch, args=(launch.pause, root), width="stretch", key="queue_off",
            help="Active runs go on to their end; nothing else begins, not even after a restart",
        )  # fmt: skip
    for run in running:
        st.progress(*live.progress(run, "running", None))
    with st.expander(f"Waiting: {len(order)}", key="queue_open"):
        for position, (run, start) in enumerate(order[:SHOWN], 1):
            when = "next" if start < 1 else f"in about {duration.words(start)}, at {_clock(start)}"
            st.caption(f"{position:d}\\. {plain(run_label(run))} · {when}")
        if len(order) > SHOWN:
            st.caption(f"and {len(order) - SHOWN} more")


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M", time.localtime(time.time() + seconds))


def _switch(act: Callable[[Path], None], root: Path) -> None:
    """Pause or go on; a disk that is full or can only be read is a sentence."""
    st.session_state.pop("queue_message", None)
    try:
        act(root)
    except OSError as error:
        st.session_state["queue_message"] = words(error)
