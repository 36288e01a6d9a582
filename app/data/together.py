"""Which labels appear together, and which combinations there are."""

from html import escape
from urllib.parse import urlencode

import numpy as np
import streamlit as st

from app.figures import labels as figures
from app.kit import tables
from app.kit.permalink import note_unknown, renamed
from app.kit.steady import steady_chart
from core import labels
from core.data import Dataset

COMBINATIONS = 15  # in the table
ORDERS = {"by frequency": figures.by_frequency, "clustered": labels.clustered}
ENDS = ("rarest", "most frequent")


def show(data: Dataset) -> None:
    """The heat map and the table of combinations."""
    titles = {title: kind for kind, (title, _, _) in figures.KINDS.items()}
    renamed("order", "labels_order", list(ORDERS), lambda asked: asked[-1])
    note_unknown(together=list(titles), labels_order=list(ORDERS), combinations=ENDS)
    wide, narrow = st.columns([3, 2], gap="large")
    with wide:
        st.markdown("**Labels that appear together**")
        left, right = st.columns([3, 2])
        with left:
            quantity = st.segmented_control(
                "A cell says", titles, default=next(iter(titles)), required=True, key="together",
                bind="query-params",
                help="Lift: how often two labels meet, by chance being 1. 0: never; 2: twice as often.",
            )  # fmt: skip
        with right:
            order = st.segmented_control(
                "Order", ORDERS, default=next(iter(ORDERS)), required=True, key="labels_order",
                bind="query-params",
                help="Clustered: labels that share images stand beside each other (average linkage of the "
                "Jaccard distance)",
            )  # fmt: skip
        dark = st.context.theme.type == "dark"
        arranged = ORDERS[order or ""](data.labels)
        figure = figures.cooccurrence(data.labels, data.classes, titles[quantity or ""], dark, arranged)
        steady_chart(figure, "data_together", f"Labels that appear together: {quantity}, {order}")
    with narrow:
        st.markdown("**Label combinations**")
        end = st.segmented_control(
            "Combinations", ENDS, default=ENDS[0], required=True, key="combinations", bind="query-params"
        )
        sets, images = labels.combinations(data.labels)
        alone = int((images == 1).sum())
        st.caption(
            f"{len(sets):,} different ones, {alone:,} of them on a single image: as a query it finds no "
            "image with the same labels, at best one that comes near."
        )
        st.html(combinations(data, end == ENDS[0]))


def combinations(data: Dataset, rarest: bool) -> str:
    """The rarest or most frequent label combinations as HTML, each a link to its images."""
    sets, images = labels.combinations(data.labels)
    order = np.arange(len(sets))[::-1][:COMBINATIONS] if rarest else np.arange(len(sets))[:COMBINATIONS]
    lines = []
    for row in order:
        names = [name for name, has in zip(data.classes, sets[row], strict=True) if has]
        same = (data.labels == sets[row]).all(axis=1)
        per_split = [str(int(same[data.splits[split]].sum())) for split in figures.SPLITS]
        link = f'<a href="?{escape(address(names))}" target="_self">{escape(", ".join(names))}</a>'
        lines.append(tables.Line([link, f"{images[row]:,}", *per_split]))
    head = ["Labels", "Images", "Train", "Val", "Test"]
    return tables.page(tables.table("", head, lines, (1, 2, 3, 4)))


def address(names: list[str]) -> str:
    """The page's query string for the images that have exactly these labels."""
    others = [
        (key, value)
        for key in st.query_params
        for value in st.query_params.get_all(key)
        if key not in ("view", "labels", "exactly")
    ]
    return urlencode(
        [*others, ("view", "Images"), *(("labels", name) for name in names), ("exactly", "true")]
    )
