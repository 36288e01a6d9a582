"""The layout of the comparison: metric, order, groups, baseline, published values; kept in the address."""

from collections.abc import Sequence

import streamlit as st

from app.compare.comparison import DEFAULT, View, label
from app.kit import permalink
from core.metrics import METRICS
from core.report import Row
from core.report.paper import tables

ORDERS = ("by loss", "best first")
GROUPS = ("data set", "method")


def choose(rows: Sequence[Row]) -> View:
    """Widgets for all of these.

    Args:
        rows: Of `report.summary`.
    """
    methods = list(dict.fromkeys(label(row) for row in rows if not row.reference))
    titles = list(METRICS.values())
    permalink.note_unknown(
        metric=titles, order=ORDERS, group=GROUPS, baseline=methods, published=permalink.Switch()
    )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        baseline = st.selectbox(
            "Compare with",
            methods,
            index=None,
            key="baseline",
            bind="query-params",
            placeholder="no baseline",
            width=250,
            help="Pins a baseline: differences in points, and whether they may be believed. The unit is the "
            "seed (split and initialisation together); corrected resampled t-test of Nadeau and Bengio, "
            "Holm over all methods of a table, level 5 %.",
        )
        metric = st.selectbox(
            "Metric",
            titles,
            index=list(METRICS).index(DEFAULT),
            key="metric",
            bind="query-params",
            width=190,
            help="Order, sentences and figures go by it.",
        )
        order = _one_of("Order", ORDERS, "order")
        group = _one_of("A table per", GROUPS, "group")
        with_paper = any(row.dataset in tables() for row in rows)
        paper = with_paper and st.toggle("Published values", key="published", bind="query-params")
    return View(
        metric=next(key for key, title in METRICS.items() if title == metric),
        best_first=order == ORDERS[1],
        by_method=group == GROUPS[1],
        baseline=baseline or "",
        paper=bool(paper),
    )


def _one_of(title: str, options: Sequence[str], key: str) -> str | None:
    return st.segmented_control(
        title, options, default=options[0], required=True, key=key, bind="query-params"
    )
