"""Sweeps on the page: start one, watch the queue, look at what one has found."""

from collections import Counter

import streamlit as st

from app import cache
from app.kit import launchers, permalink
from app.kit.names import unique
from app.kit.warm import keep_workers
from app.kit.words import plain
from app.sensitivity import plan, queue, views
from core.errors import MaclError
from core.experiments import sweep as sweeps
from core.experiments.sweep import Point, Sweep
from core.metrics import METRICS
from core.queue import launch
from core.runs import Run

EVERY = 2.0
SWEEP = "sweep"  # the chosen one
OPEN = ("queued", "running")


def show() -> None:
    """The form, the queue, and the chosen sweep."""
    keep_workers()
    root = launch.run_root()
    # those that came with the product were not trained here: neither their time nor their scores count
    among = [(run, cache.config(run)) for run in cache.all_runs() if not run.recorded]
    loaded, odd = sweeps.among(root)
    saved = {sweep.id: sweep for sweep in loaded}
    for why in odd:
        st.caption(plain(why))
    with st.expander("A new sweep", expanded=not saved, key="sw_form_open"):
        plan.form(among)
    if message := st.session_state.pop("sw_message", ""):
        st.error(plain(message))
    queue.show(among)
    if not saved:
        st.info("No sweep yet. Take a ready-made one of the paper above, or a grid of your own.")
        return
    chosen, metric = _choose(saved)
    pairs = sweeps.found(chosen, among)
    _state_line(chosen, pairs)
    views.show(chosen, pairs, metric)


def _choose(saved: dict[str, Sweep]) -> tuple[Sweep, str]:
    state, titles = st.session_state, {title: key for key, title in METRICS.items()}
    linked = permalink.news("sweep", SWEEP)
    wanted = linked[-1] if linked else state.get(SWEEP, "")
    if wanted and wanted not in saved:
        permalink.note(f"The sweep {plain(wanted)} is not here (any more); another one is shown.")
    state[SWEEP] = wanted if wanted in saved else next(iter(saved))
    permalink.note_unknown(sw_metric=list(titles))
    left, right, last = st.columns([5, 3, 1], vertical_alignment="bottom")
    labels = unique([f"{sweep.title} · {_when(key)}" for key, sweep in saved.items()], list(saved))
    names = dict(zip(saved, labels, strict=True))
    name = left.selectbox(
        "Sweep", list(saved), key=SWEEP, format_func=names.__getitem__, persist_state="session"
    )
    permalink.say("sweep", SWEEP, [name])
    metric = right.selectbox(
        "Metric",
        titles,
        index=list(titles).index(METRICS["map_medium"]),
        key="sw_metric",
        bind="query-params",
    )
    last.button(
        "Forget", on_click=_forget, args=(saved[name],), width="stretch", key="sw_forget",
        help="Take this sweep off the list; its runs stay",
    )  # fmt: skip
    return saved[name], titles[metric]


def _forget(sweep: Sweep) -> None:
    sweeps.forget(sweep, launch.run_root())
    st.session_state.pop(SWEEP, None)


def _when(name: str) -> str:
    return f"{name[:4]}-{name[4:6]}-{name[6:8]} {name[9:11]}:{name[11:13]}"


def _state_line(sweep: Sweep, pairs: list[tuple[Point, Run | None]]) -> None:
    """How far the sweep is; the page is redrawn when more of it has finished."""
    counts = _count(pairs)
    st.fragment(run_every=EVERY if counts["queued"] + counts["running"] else None)(_progress)(
        sweep, pairs, counts
    )


def _count(pairs: list[tuple[Point, Run | None]]) -> Counter[str]:
    return Counter(cache.state(run) if run is not None else "missing" for _, run in pairs)


def _progress(sweep: Sweep, pairs: list[tuple[Point, Run | None]], before: Counter[str]) -> None:
    launchers.standings(run for _, run in pairs if run is not None and cache.state(run) in OPEN)
    counts = _count(pairs)
    if counts != before:
        st.rerun()
    total = len(pairs)
    parts = [f"{counts['finished']:d} of {total} runs finished"]
    parts += [
        f"{counts[word]:d} {word}"
        for word in ("running", "queued", "failed", "stopped", "interrupted")
        if counts[word]
    ]
    if counts["missing"]:
        parts.append(f"{counts['missing']:d} not there")
    if counts["finished"] == total:
        st.caption(parts[0])
        return
    left, right = st.columns([5, 2], vertical_alignment="center")
    left.progress(counts["finished"] / max(1, total), " · ".join(parts))
    with right.container(horizontal=True, horizontal_alignment="right"):
        again = counts["missing"] + sum(counts[word] for word in sweeps.ENDED)
        if again:
            st.button(f"Continue {again:d}", on_click=_again, args=(sweep,), key="sw_continue")
        if counts["queued"] or counts["running"]:
            st.button("Stop the rest", on_click=_stop, args=(pairs,), key="sw_stop")
    if counts["failed"]:
        failed = next(run for _, run in pairs if run is not None and cache.state(run) == "failed")
        st.caption(f"Failed: {plain(failed.error)}")


def _again(sweep: Sweep) -> None:
    try:
        sweeps.start(sweep, launch.run_root())
    except MaclError as error:
        st.session_state["sw_message"] = str(error)


def _stop(pairs: list[tuple[Point, Run | None]]) -> None:
    for _, run in pairs:
        if run is not None and cache.state(run) in OPEN:
            try:
                launch.stop(run)
            except MaclError as error:  # a cluster that is not set up any more
                st.session_state["sw_message"] = str(error)
