"""The queries that two runs answer most differently, each with a link to the retrieval page."""

from collections.abc import Sequence
from html import escape

import numpy as np
import streamlit as st

from app import cache
from app.compare.comparison import View
from app.kit import query
from app.kit.gallery import class_names, label_names
from app.kit.names import method
from app.kit.permalink import note_unknown
from app.kit.pictures import pictures
from app.kit.thumbnails import Thumbnails
from app.kit.words import plain
from core.errors import MaclError
from core.metrics import METRICS
from core.report import Row
from core.report.queries import disagreement
from core.runs import Run

SHOWN = 6  # queries of each run


def show(found: Sequence[Sequence[Row]], view: View) -> None:
    """Choose two runs of one split, see where each is better by the metric of the view."""
    ranked = sorted(
        (row for rows in found for row in rows if not row.reference),
        key=lambda row: (row.baseline, -row.values.get(view.metric, (0.0, None))[0]),
    )
    runs = cache.by_id([result.id for row in ranked for result in row.results if result.folder])
    if len(runs) < 2:
        st.info("Two finished runs with the same test images are needed; recorded tables hold numbers only.")
        return
    labels = query.option_labels(runs)
    by_label = {labels[run.id]: run for run in runs}
    note_unknown(first=list(by_label))
    left, right = st.columns(2)
    first = by_label[left.selectbox("First run", list(by_label), key="first", bind="query-params")]
    others = [text for text, run in by_label.items() if run != first and query.one_split(run, first)]
    if not others:
        st.info("No other run has the same test images: one of the same data and seed is needed.")
        return
    note_unknown(second=others)
    base = next(
        (text for text in others[::-1] if view.baseline and _of_base(by_label[text], ranked)), others[0]
    )
    second = by_label[
        right.selectbox("Second run", others, index=others.index(base), key="second", bind="query-params")
    ]
    try:
        _difference(first, second, view.metric)
    except (MaclError, OSError) as error:
        st.error(f"The files of these runs cannot be read: {plain(error)}")


def _of_base(run: Run, ranked: Sequence[Row]) -> bool:
    """Whether the run belongs to the baseline."""
    return any(row.baseline and result.id == run.id for row in ranked for result in row.results)


def _difference(first: Run, second: Run, key: str) -> None:
    names = cache.test_names(first)
    mine, theirs = cache.query_scores(first)[key], cache.query_scores(second)[key]
    result = disagreement(mine, theirs, SHOWN)
    titles = [plain(method(cache.config(run))) for run in (first, second)]
    if titles[0] == titles[1]:
        titles = ["The first", "The second"]
    count = int(np.isfinite(result.difference).sum())
    st.caption(
        f"{METRICS[key]} of each of {count} queries: {titles[0]} is better on {result.better:d}, {titles[1]} "
        f"on {result.worse:d}, they are equal on {count - result.better - result.worse:d}. This describes "
        "one pair of runs; it proves nothing about the losses."
    )
    images = pictures(cache.config(first), [cache.config(second)])
    classes, y = class_names(first, images), cache.embeddings(first)[1]
    for title, rows, side, own, other in (
        (titles[0], result.first, "first", mine, theirs),
        (titles[1], result.second, "second", theirs, mine),
    ):
        if not len(rows):
            continue
        st.markdown(f"**{title} is better**")
        with st.container(key=f"queries_{side}"):
            for row in rows.tolist():
                facts = f"{100 * own[row]:.0f} % against {100 * other[row]:.0f} %"
                with st.container(gap="xsmall"):
                    st.html(_card(names[row], ", ".join(label_names(y[row], classes)), facts, images))
                    st.page_link(
                        "../pages/retrieval.py",
                        label=plain(names[row]),
                        query_params=query.link([first.id, second.id], names[row]),
                    )


def _card(name: str, labels: str, facts: str, images: Thumbnails | None) -> str:
    """Picture, values and labels of one query."""
    uri = images.uri(name) if images else ""
    style = "width:100%;aspect-ratio:1;object-fit:cover;border-radius:4px;display:block"
    alt = escape(f"{name}: {labels}", quote=True)
    picture = f'<img src="{escape(uri)}" alt="{alt}" style="{style}">' if uri else ""
    return (
        f'<div style="font-size:.84rem;line-height:1.35">{picture}'
        f'<div style="font-weight:600;margin-top:.3rem">{escape(facts)}</div>'
        f'<div style="opacity:.8">{escape(labels)}</div></div>'
    )
