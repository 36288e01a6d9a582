"""What the home page lists: a first look at scores, recent runs, and the data sets found."""

import os
from html import escape

import streamlit as st

from app import cache
from app.compare.comparison import of_one_seed
from app.home import bars
from app.kit import tables
from app.kit.names import dataset_title, run_label
from app.kit.palette import swatch
from app.kit.words import plain, score
from app.train import live
from core import report
from core.data import DATASETS, default_root
from core.errors import MaclError
from core.files import PROJECT
from core.metrics import METRICS
from core.runs import Run

SCENES = PROJECT / "assets" / "scenes.jpg"
RECENT = 6
GLANCE = "map_medium"
NESTED = (  # why a loss of our own stands here
    "MACL is as printed in its paper. MACL-nested is this project's own: a positive is compared only with "
    "images that share less, which asks directly for the order by overlap that MACL's temperatures aim at."
)


def scenes() -> None:
    """A strip of the demo set's scenes, drawn with `python -m assets.demo.draw.strip`."""
    st.container(key="scenes").image(
        SCENES,
        width="stretch",
        alt="Twelve drawn scenes of the demo set: harbour, homes, fields, airport, courts, beach, tanks, "
        "river, car park, golf course, mobile homes, town",
    )


def glance() -> None:
    """Scores of the recorded losses, as bars between chance and oracle; nothing where none is recorded."""
    results = [result for result in cache.results()[0] if result.recorded]
    if not results:
        return
    rows = report.blocks(report.summary(results))[0]
    images, seeds = results[0].scores["images"], len(rows[0].seeds)
    st.header("What the losses score")
    st.html(bars.bars(rows, GLANCE))
    st.caption(
        f"{METRICS[GLANCE]}: 100 % where the images whose labels agree (Jaccard ≥ 0.6) all come first. "
        f"Demo set, {images:,} test images, mean of {seeds} seeds, recorded with the program."
    )
    if any(row.loss == "macl_nested" for row in rows):
        st.caption(NESTED)
    runs = {"runs": of_one_seed(rows)}
    with st.container(horizontal=True, gap="medium"):
        st.page_link("../pages/retrieval.py", label="See what they retrieve", query_params=runs)
        st.page_link("../pages/compare.py", label="All seven metrics")


def recent_runs() -> None:
    """The newest own runs with their state, each a link to its curves; the recorded ones only counted."""
    all_runs = cache.all_runs()
    own = [run for run in all_runs if not run.recorded]
    if not own:
        st.info("No run yet. Press the button above, or choose losses and data yourself.")
        st.page_link("../pages/train.py", label="Open the Train page")
    for run in own[:RECENT]:
        word = live.state(run)
        row_key = f"recent_{run.id}"  # style.css lets a long name take a second line
        with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False, key=row_key):
            config = cache.config(run)
            mark = swatch(config.loss, config.params)
            st.html(f'<span style="display:block;width:18px;height:4px;background:{mark}"></span>', width=18)
            st.page_link("../pages/train.py", label=plain(run_label(run)), query_params={"runs": [run.id]})
            st.space("stretch")
            st.caption(plain(_outcome(run, word)), width="content")
    if len(own) > RECENT:
        st.page_link("../pages/train.py", label=f"All {len(own)} runs")
    recorded = len(all_runs) - len(own)
    if own:
        st.caption(f"Percent: {METRICS[GLANCE]} on the test split.")
    if recorded:
        st.caption(f"{recorded} recorded runs of the demo set came with the program.")


def datasets() -> None:
    """The data sets and where each was found, judged by paths alone; no file is read."""
    used: dict[str, set[str]] = {}
    for run in cache.all_runs():
        config = cache.config(run)
        # Path.exists raises where a folder above cannot be read
        if config.data_root and os.path.exists(config.data_root):
            used.setdefault(config.dataset, set()).add(config.data_root)
    lines = []
    for name in DATASETS:
        places = sorted(used.get(name, ()))
        if os.path.exists(default_root(name)):
            places.insert(0, str(default_root(name)))
        text = " · ".join(places) or "not found"
        lines.append(tables.Line([escape(dataset_title(name)), escape(text)]))
    st.html(tables.page(tables.table("", ["Data set", "On this machine"], lines, ())))
    st.page_link("../pages/data.py", label="What is in them, and how to get them")


def _outcome(run: Run, word: str) -> str:
    if word not in ("finished", "recorded"):
        return word
    try:
        medium = score(cache.scores(run)["metrics"], GLANCE)
    except MaclError:
        return f"{word} · its scores are damaged: copy the run again"
    return f"{word} · {medium}" if medium != "–" else word
