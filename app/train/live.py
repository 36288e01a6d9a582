"""What runs are doing right now: progress and curves that refresh by themselves while something runs."""

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from app import cache
from app.figures import curves
from app.kit.names import run_label, short_labels, state_word
from app.kit.permalink import Between, Switch, note_unknown
from app.kit.steady import steady_chart
from core.experiments import duration
from core.queue import launch
from core.runs import Run

MOST_SMOOTH = 0.95
ACTIVE = ("queued", "running", "stopping")
EVERY = 1.0  # seconds between refreshes while something runs
WAITING = 6  # of the runs that wait, so many are shown; each is drawn anew with every refresh
QUALITY = "val_map_medium"
MEANING = (
    "Quality on the validation images after each epoch, in percent: 100 where the images whose labels agree "
    "(Jaccard ≥ 0.6) all come first. The losses themselves are not drawn: losses of different formulas have "
    "different scales, and their values cannot be compared."
)
UNLIKE = (
    "These losses differ in formula, parameters, batch size or data, and so in scale: a lower curve is not a "
    "better one. Compare the course of each; to compare quality choose a validation metric, mAP Medium say."
)
IDLE_EVERY = 5.0  # seconds between looks for runs that the command line or another tab has started


def watch(
    chosen: list[Run], key: str, words: dict[str, str], *, controls: bool = True, every: float = EVERY
) -> None:
    """Progress of what runs, curves of the chosen runs; the whole page is drawn anew when a state changes.

    Args:
        chosen: Runs whose curves are drawn.
        key: Of the page.
        words: From `states`, before anything was drawn: a run that ends while the page is being drawn leaves
            buttons of its old state, and must not be taken for drawn.
        controls: Let the person choose what is drawn over what; else it is the quality on validation.
        every: Seconds between refreshes while something runs.
    """
    if controls:
        note_unknown(
            y=list(curves.Y_AXES.values()), x=curves.X_AXES, smooth=Between(0, MOST_SMOOTH), log=Switch()
        )
    st.session_state[f"{key}_states"] = words
    active = any(word in ACTIVE for word in words.values())
    st.fragment(run_every=every if active else IDLE_EVERY)(_watch)([run.id for run in chosen], key, controls)


def state(run: Run) -> str:
    """State word of a run."""
    return state_word(run, cache.state(run))


def states() -> dict[str, str]:
    """State word of every run by its id."""
    return {run.id: state(run) for run in cache.all_runs()}


def _watch(ids: list[str], key: str, controls: bool) -> None:
    words = states()
    if words != st.session_state.get(f"{key}_states"):
        st.rerun()
    known = {run.id: run for run in cache.all_runs()}
    busy = [run for run in known.values() if words[run.id] in ACTIVE]
    order = {run.id: place for place, run in enumerate(launch.queue(launch.run_root()))} if busy else {}
    with st.container():  # of its own, so that the figure stays in its place when a bar goes
        queue = sorted(busy, key=lambda run: (order.get(run.id, -1), run.id))
        shown = sum(words[run.id] != "queued" for run in queue) + WAITING
        for run in queue[:shown]:
            share, text = progress(run, words[run.id], order.get(run.id))
            st.progress(share, f"{run_label(run)}  \n{text}")
        if len(queue) > shown:
            st.caption(f"and {len(queue) - shown:,} more in the queue")
    if ids:
        _curves([known[name] for name in ids if name in known], key, controls)


def progress(run: Run, word: str, place: int | None) -> tuple[float, str]:
    """Share done in 0 to 1 and one line: phase, speed, time left, or the place in the queue."""
    if word == "queued":
        return 0.0, waiting(place)
    about = run.progress()
    if not about:
        return 0.0, "starting …" if word == "running" else "stopping …"
    done, total = int(about["done"]), max(1, int(about["total"]))
    parts = [f"{about['what']} {done:,} of {total:,}"]
    rows = cache.history(run)
    if about["what"] == "training" and rows and rows[-1].keys() >= {"epoch", "images_per_s"}:
        parts[0] = f"epoch {int(rows[-1]['epoch'])} of {cache.config(run).epochs}, step {done:,} of {total:,}"
        parts.append(f"{rows[-1]['images_per_s']:,.0f} images/s")
    if about["eta_s"] is not None and done < total:
        parts.append(f"{duration.words(about['eta_s'])} left")
    if word == "stopping":
        parts.insert(0, "stopping …")
    return min(1.0, done / total), " · ".join(parts)


def waiting(place: int | None) -> str:
    """Place in the queue, and whether somebody is there to take it."""
    if launch.paused(launch.run_root()):
        return "queued; the queue is paused"
    found = launch.workers(launch.run_root()).values()
    if not any(about["ready"] for about in found) and (why := launch.trouble(launch.run_root())):
        return f"queued; no worker can start: {why}"
    if not found:
        return "queued; no worker is alive: open the Train page to start one"
    if not any(about["ready"] for about in found):
        return "queued; the worker is starting"
    return "queued, next" if not place else f"queued, {place} before it"


def _curves(runs: list[Run], key: str, controls: bool) -> None:
    x, y, smooth, log = _controls() if controls else ("step", QUALITY, 0.0, False)
    drawn = curves.figure(as_curves(runs), x=x, y=y, smooth=smooth, log=log, height=360 + 14 * len(runs))
    names = ", ".join(run_label(run) for run in runs)
    steady_chart(drawn, f"{key}_curves", f"{curves.Y_AXES[y]} over {x} of {names}")
    if not controls:
        st.caption(MEANING)
    elif y == "loss" and unlike(runs):
        st.caption(UNLIKE)


def unlike(runs: Sequence[Run]) -> bool:
    """Whether the values of their losses have scales of their own: other formulas, settings or data."""
    scales = []
    for run in runs:
        config = cache.config(run)
        scales.append((config.loss, config.params, config.batch_size, config.dataset, config.place))
    return any(scale != scales[0] for scale in scales)


def _controls() -> tuple[str, str, float, bool]:
    """What is drawn over what, and how."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        y = st.selectbox(
            "Curve",
            list(curves.Y_AXES),
            format_func=curves.Y_AXES.__getitem__,
            key="y",
            bind="query-params",
            width=230,
        )
        x = st.segmented_control(
            "Over", curves.X_AXES, default="step", required=True, key="x", bind="query-params"
        )
        smooth = st.slider(
            "Smoothing", 0.0, MOST_SMOOTH, 0.0, 0.05, key="smooth", bind="query-params", width=190
        )
        log = st.toggle("Log axis", key="log", bind="query-params")
    return x or "step", y or "loss", smooth, log


def as_curves(runs: list[Run]) -> list[curves.Curve]:
    """The runs as the figure takes them; runs of one loss get dashes in the order of the list."""
    seen: Counter[str] = Counter()
    out = []
    for run, label in zip(runs, short_labels(runs), strict=True):
        config = cache.config(run)
        out.append(
            curves.Curve(
                label,
                config.loss,
                cache.history(run),
                cache.steps_per_epoch(run),
                seen[config.loss],
                config.params,
            )
        )
        seen[config.loss] += 1
    return out
