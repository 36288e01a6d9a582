"""The figures of the compare page, each under a tab that is drawn only while it is open."""

from collections.abc import Callable
from functools import partial

import plotly.graph_objects as go
import streamlit as st

from app.compare import comparison, labels, queries
from app.compare.comparison import View
from app.figures import scores
from app.kit import permalink
from app.kit.steady import steady_chart
from app.kit.words import plain
from core.metrics import METRICS
from core.report import Row, missing

Blocks = list[list[Row]]


def show(found: Blocks, view: View) -> None:
    """Tabs below the tables; one protocol at a time, so that panels beside each other can be compared."""
    protocols = list(dict.fromkeys(rows[0].protocol for rows in found))
    permalink.note_unknown(protocol=protocols, figure=list(FIGURES))
    chosen = protocols[0]
    if len(protocols) > 1:
        chosen = st.selectbox("Figures of", protocols, key="protocol", bind="query-params", width=420)
    blocks = [rows for rows in found if rows[0].protocol == chosen]
    tabs = st.tabs(list(FIGURES), key="figure", bind="query-params", on_change="rerun")
    for tab, draw in zip(tabs, FIGURES.values(), strict=True):
        if tab.open:
            with tab:
                draw(blocks, view)


def _titles(blocks: Blocks) -> list[str]:
    return [comparison.title(rows, blocks) for rows in blocks]


def _one(blocks: Blocks, view: View) -> None:
    figure = scores.dots(blocks, view.metric, _titles(blocks), comparison.label, comparison.color)
    _wide(
        figure,
        f"{METRICS[view.metric]} of each method, with its spread over seeds, between chance and oracle",
        "metric",
    )
    _missing(blocks, view.metric)


def _all(blocks: Blocks, view: View) -> None:
    figure = scores.all_metrics(blocks, _titles(blocks), comparison.label, comparison.color)
    alt = "All seven metrics of each method on each data set, with their spread over seeds"
    _wide(figure, alt, "metrics")
    _missing(blocks, *METRICS)
    st.caption("In percent. Every panel has its own scale, from the worst to the best of the methods.")


def _time(blocks: Blocks, view: View) -> None:
    figure = scores.time(blocks, view.metric, _titles(blocks), comparison.label, comparison.color)
    _wide(figure, f"{METRICS[view.metric]} of each method against its training time", "time")
    _missing(blocks, view.metric)
    st.caption(
        "Times are comparable only on one device with nothing else running; pointing at a dot names "
        "its device."
    )


def _missing(blocks: Blocks, *keys: str) -> None:
    """Which dots are missing, and how to get them."""
    if text := missing([row for rows in blocks for row in rows], keys):
        st.caption(plain(text))


def _wide(figure: go.Figure, alt: str, name: str) -> None:
    """A figure that needs some width: on a narrow screen it scrolls in its own box (style.css)."""
    with st.container(key=f"wide_figure_{name}"):
        steady_chart(figure, f"compare_{name}", alt)


def _labels(blocks: Blocks, view: View) -> None:
    for index, rows in enumerate(blocks):
        labels.show(rows, blocks, view.metric, partial(_wide, name=f"labels_{index}"))


def _queries(blocks: Blocks, view: View) -> None:
    queries.show(blocks, view)


FIGURES: dict[str, Callable[[Blocks, View], None]] = {
    "One metric": _one,
    "All metrics": _all,
    "Labels": _labels,
    "Training time": _time,
    "Queries": _queries,
}
