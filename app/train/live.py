"""What the runs are doing now: progress and curves, which refresh by themselves while something runs."""

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from app import cache
from app.figures import curves
from app.kit import launchers
from app.kit.names import run_label, short_labels, state_word
from app.kit.permalink import Between, Switch, note_unknown
from app.kit.steady import steady_chart
from app.kit.words import plain
from core.experiments import duration
from core.queue import launch
from core.queue.launcher import Standing
from core.runs import Run

MOST_SMOOTH = 0.95
ACTIVE = ("queued", "running", "stopping")
EVERY = 1.0  # seconds between refreshes while something runs
WAITING = 6  # queued runs listed at most: each of them is redrawn at every refresh
QUALITY = "val_map_medium"
MEANING = (
    "Quality on the validation images after each epoch, in percent: 100 where the images whose labels agree "
    "(Jaccard ≥ 0.6) all come first. The losses themselves are not drawn: losses of different formulas have "
    "different scales, and their values cannot be compared."
)
UNLIKE = (
    "These losses differ in formula, parameters, batch size or data, and so in scale: a lower curve is not a "
    "better one. Compare their courses; to compare quality, choose a validation metric such as mAP Medium."
)
IDLE_EVERY = 5.0  # seconds between looks for runs that the command line or another tab has started


def watch(
    chosen: list[Run], key: str, words: dict[str, str], *, controls: bool = True, every: float = EVERY
) -> None:
    """Progress of the active runs, curves of the chosen ones; the page is redrawn when a state changes.

    Args:
        chosen: Runs whose curves are drawn.
        key: Of the page.
        words: What `states` gave before anything was drawn: when a run ends while the page is being drawn,
            its buttons show the old state, and the page has to be redrawn.
        controls: Whether a person chooses the axes; otherwise validation quality is drawn over steps.
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
    by_id = {run.id: run for run in cache.all_runs()}
    busy = [run for run in by_id.values() if words[run.id] in ACTIVE]
    order = {run.id: n for n, run in enumerate(launch.queue(launch.run_root()))} if busy else {}
    standings = launchers.standings(busy)
    with st.container():  # of its own, so that the figure keeps its place when a progress bar goes
        queue = sorted(busy, key=lambda run: (order.get(run.id, -1), run.id))
        limit = sum(words[run.id] != "queued" for run in queue) + WAITING
        for run in queue[:limit]:
            share, text = progress(run, words[run.id], order.get(run.id), standings.get(run.id))
            st.progress(share, f"{plain(run_label(run))}  \n{text}")
        if len(queue) > limit:
            st.caption(f"and {len(queue) - limit:,} more in the queue")
    if ids:
        _curves([by_id[name] for name in ids if name in by_id], key, controls)


def progress(run: Run, word: str, place: int | None, standing: Standing | None = None) -> tuple[float, str]:
    """Share done, 0 to 1, and one line of text: phase, speed and time left, or the place in the queue."""
    if word == "queued":
        return 0.0, waiting(place) if standing is None else plain(launchers.waiting(run, standing))
    status = run.progress()
    if not status:
        return 0.0, "starting …" if word == "running" else "stopping …"
    done, total = int(status["done"]), max(1, int(status["total"]))
    parts = [f"{plain(status['what'])} {done:,} of {total:,}"]
    rows = cache.history(run)
    if status["what"] == "training" and rows and rows[-1].keys() >= {"epoch", "images_per_s"}:
        parts[0] = (
            f"epoch {int(rows[-1]['epoch'])} of {cache.config(run).epochs:d}, step {done:,} of {total:,}"
        )
        parts.append(f"{rows[-1]['images_per_s']:,.0f} images/s")
    if status["eta_s"] is not None and done < total:
        parts.append(f"{duration.words(status['eta_s'])} left")
    if word == "stopping":
        parts.insert(0, "stopping …")
    return min(1.0, done / total), " · ".join(parts)


def waiting(place: int | None) -> str:
    """Place in the queue, and whether a worker is there to take the run."""
    if launch.paused(launch.run_root()):
        return "queued; the queue is paused"
    workers = launch.workers(launch.run_root()).values()
    if not any(worker["ready"] for worker in workers) and (why := launch.trouble(launch.run_root())):
        return plain(f"queued; no worker can start: {why}")
    if not workers:
        return "queued; no worker is alive: open the Train page to start one"
    if not any(worker["ready"] for worker in workers):
        return "queued; the worker is starting"
    return "queued, next" if not place else f"queued, {place} before it"


def _curves(runs: list[Run], key: str, controls: bool) -> None:
    x, y, smooth, log = _controls() if controls else ("step", QUALITY, 0.0, False)
    figure = curves.figure(as_curves(runs), x=x, y=y, smooth=smooth, log=log, height=360 + 14 * len(runs))
    names = ", ".join(run_label(run) for run in runs)
    steady_chart(figure, f"{key}_curves", f"{curves.Y_AXES[y]} over {x} of {names}")
    if not controls:
        st.caption(MEANING)
    elif y == "loss" and unlike(runs):
        st.caption(UNLIKE)


def unlike(runs: Sequence[Run]) -> bool:
    """Whether the losses of these runs differ in scale, because formulas, settings or data differ."""
    scales = []
    for run in runs:
        config = cache.config(run)
        scales.append((config.loss, config.params, config.batch_size, config.dataset, config.place))
    return any(scale != scales[0] for scale in scales)


def _controls() -> tuple[str, str, float, bool]:
    """Widgets for the axes, the smoothing and the scale of the curves."""
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
    """The curves of these runs; runs of the same loss get different dashes, in the order of the list."""
    seen: Counter[str] = Counter()
    lines = []
    for run, label in zip(runs, short_labels(runs), strict=True):
        config = cache.config(run)
        lines.append(
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
    return lines
