"""The controls above the grid, and what is below it."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from app.figures.retrieval import ByRank, by_rank
from app.kit import query
from app.kit.retrieved import Row
from app.kit.steady import steady_chart
from app.kit.thumbnails import Thumbnails
from app.retrieval import sheet, table, upload
from app.retrieval.rows import Outcome, Query
from core.metrics import METRICS

BY = {"": "Rows as chosen", **{key: f"Rows by {title}" for key, title in METRICS.items()}}


def searched() -> None:
    """Widgets that say what is searched and how rows are ordered."""
    st.segmented_control(
        "Search",
        list(query.GALLERIES),
        key=query.GALLERY,
        format_func=query.GALLERIES.__getitem__,
        on_change=query.moved,
        persist_state="session",
        required=True,
        label_visibility="collapsed",
    )
    st.selectbox(
        "Rows by",
        list(BY),
        key=query.BY,
        format_func=BY.__getitem__,
        on_change=query.moved,
        persist_state="session",
        label_visibility="collapsed",
        width=240,
    )


def downloads(
    outcomes: Sequence[Outcome],
    asking: Query,
    labels: Sequence[str],
    classes: Sequence[str],
    images: Thumbnails | None,
) -> None:
    """The grid as a picture, the ranking as a table; made when somebody takes them."""

    def pixels(name: str) -> np.ndarray | None:
        if asking.upload and name == asking.image:
            return upload.pixels_of(asking.upload)
        return images.pixels(name) if images else None

    searched = "all splits" if st.session_state[query.GALLERY] == "all" else "test split"
    about = f"{searched}, {images_searched(outcomes)} images searched"
    stem = "".join(letter if letter.isalnum() else "-" for letter in asking.name.rsplit(".", 1)[0])
    ready = any(outcome.searched for outcome in outcomes)
    st.download_button(
        "PNG",
        lambda: sheet.png([outcome.row for outcome in outcomes], asking, labels, pixels, about),
        f"retrieval-{stem}.png",
        "image/png",
        on_click="ignore",
        disabled=not ready,
        help="The grid as one picture",
    )
    st.download_button(
        "CSV",
        lambda: table.to_csv(outcomes, classes),
        f"retrieval-{stem}.csv",
        "text/csv",
        on_click="ignore",
        disabled=not ready,
        help="The whole ranking of every run",
    )


def images_searched(outcomes: Sequence[Outcome]) -> int:
    """Images among which the runs searched, those of the largest gallery; the query is in none of them."""
    return max((outcome.searched.size for outcome in outcomes if outcome.searched), default=0)


def ranks(rows: Sequence[Row]) -> None:
    """Precision and Jaccard index by rank, all runs in one figure; folded away."""
    lines = [
        ByRank(row.title, row.color, row.answer.precisions, row.answer.jaccards, row.loss)
        for row in rows
        if row.answer and row.answer.precisions
    ]
    if not lines:
        return
    with st.expander("Precision and Jaccard by rank", key="retrieval_ranks", on_change="rerun") as expander:
        if expander.open:
            most = len(lines[0].precisions)
            alt = f"Precision and mean Jaccard index of the first 1 to {most} images, a line per run"
            steady_chart(by_rank(lines), "by_rank", alt)
