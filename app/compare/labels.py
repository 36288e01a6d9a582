"""Who wins on rare labels: quality label by label, against the baseline where one is pinned."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from app import cache, compare_table
from app.figures import label_quality
from core.errors import MaclError
from core.report import Result, Row
from core.report.labels import LabelTable, Quality, label_table


def show(rows: Sequence[Row], draw: Callable[[go.Figure, str], None]) -> None:
    """The heat map of one block with a sentence; what it cannot show, in words.

    Args:
        rows: One block.
        draw: Puts a figure with its description on the page.
    """
    title = compare_table.title(rows)
    st.subheader(title)
    results = [result for row in rows if not row.reference for result in row.results]
    with st.spinner("Looking at every label …"):
        quality = {result.id: found for result in results if (found := _quality(result))}
    counts, of = _counts(results, quality)
    table = label_table(rows, quality, counts)
    if not table.rows:
        st.info("No run with test embeddings is left in this table.")
        return
    base = next((compare_table.label(row) for row in rows if row.baseline), "")
    what = f"difference to {base} in points" if table.difference else "percent"
    draw(
        label_quality.heat_map(table, compare_table.label, st.context.theme.type == "dark"),
        f"Mean average precision of each method on each label of {title}, {what}",
    )
    pinned = "" if base else " Compare with a baseline above to see differences."
    st.caption(
        f"Mean average precision of each label (its images ask, images that hold it are relevant), {what}, "
        f"mean over seeds. Labels from frequent to rare; in brackets the {of} that hold them. "
        f"{_rare(table)}{pinned}"
    )


def _rare(table: LabelTable) -> str:
    """Who is best on the rare third of the labels; a description, not a test."""
    tail = table.groups["tail"]
    if np.isnan(tail).all():
        return ""
    best = int(np.nanargmax(tail))
    value = f"{tail[best]:+.1f} points" if table.difference else f"{tail[best]:.1f} %"
    return f"Highest on the rare third: {compare_table.label(table.rows[best])}, {value}."


def _quality(result: Result) -> Quality | None:
    """Labels of a result: noted in a benchmark, else computed from the embeddings."""
    noted: Quality | None = result.scores.get("label_ap")
    if noted or not result.folder:
        return noted
    try:
        (run,) = cache.by_id([result.id])
        return cache.label_quality(run)
    except (MaclError, OSError, ValueError):  # embeddings are gone, or the run
        return None


def _counts(results: Sequence[Result], quality: Mapping[str, Quality]) -> tuple[dict[str, float], str]:
    """Images per label, and what they are."""
    for result in results:
        if counts := result.scores.get("label_counts"):
            return dict(counts), "training images"
    for result in results:
        if result.id not in quality:
            continue
        (run,) = cache.by_id([result.id])
        config = result.config
        with suppress(MaclError):  # the images may be gone; how often each label was asked for is known
            if cache.is_prepared(config.dataset, config.data_root, config.image_size):
                data = cache.dataset(config)
                held = data.labels[data.splits["train"]].sum(axis=0).tolist()
                return dict(zip(data.classes, held, strict=True)), "training images"
        held = cache.embeddings(run)[1].sum(axis=0).tolist()
        return dict(zip(quality[result.id], held, strict=True)), "test images"
    return {}, "images"
