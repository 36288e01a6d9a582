"""Which method wins on rare labels, which on images with many labels; against a baseline if one is pinned."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from html import escape

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from app import cache, image_cache
from app.compare import comparison
from app.figures import label_quality
from app.kit.tables import Line, marked, page
from app.kit.tables import table as html_table
from app.kit.words import plain
from core.errors import MaclError
from core.metrics import METRICS
from core.metrics.ranking import Floats
from core.report import Result, Row
from core.report.labels import LabelTable, Quality, count_table, label_table
from core.runs import Run


def show(
    rows: Sequence[Row],
    every: Sequence[Sequence[Row]],
    metric: str,
    draw: Callable[[go.Figure, str], None],
) -> None:
    """The heat map of one block with a caption, and its table by number of labels; else why there is none.

    Args:
        rows: One block.
        every: All blocks that are drawn.
        metric: Key of the table's metric.
        draw: Puts a figure with its description on the page.
    """
    title = comparison.title(rows, every)
    st.header(plain(title))
    results = [result for row in rows if not row.reference for result in row.results]
    with st.spinner("Looking at every label …"):
        by_id = {run.id: run for run in cache.by_id([result.id for result in results if result.folder])}
        quality = {result.id: values for result in results if (values := _quality(result, by_id))}
    counts, counted = _counts(results, quality, by_id)
    table = label_table(rows, quality, counts)
    if not table.rows:
        st.info("No run with test embeddings is left in this table.")
        return
    base = next((comparison.label(row) for row in rows if row.baseline), "")
    unit = f"difference to {base} in points" if table.difference else "percent"
    draw(
        label_quality.heat_map(table, comparison.label, st.context.theme.type == "dark", counted),
        f"Mean average precision of each method on each label of {title}, {unit}",
    )
    pinned = "" if base else " Compare with a baseline above to see differences."
    st.caption(
        f"Mean average precision of each label (its images are the queries, images that hold it are "
        f"relevant), {plain(unit)}, mean over seeds. Labels from frequent to rare; in brackets the "
        f"{plain(counted)} that hold them. {plain(_rare(table))}{pinned}"
    )
    _by_number(rows, metric, by_id)


def _by_number(rows: Sequence[Row], metric: str, by_id: Mapping[str, Run]) -> None:
    """A table of the metric by the number of labels of the query, from the runs that have embeddings."""
    results = [result for row in rows if not row.reference for result in row.results if result.folder]
    with st.spinner("Looking at every query …"):
        runs = [by_id[result.id] for result in results if result.id in by_id]
        quality = {run.id: scores for run in runs if (scores := _numbers(run, metric))}
    table = count_table(rows, quality)
    if not table.rows:
        return
    heads = ["Method", *(f"{number} label{'s' if number > 1 else ''}" for number in table.numbers)]
    digits = "+.1f" if table.difference else ".1f"
    lines = [
        Line([marked(comparison.swatch(row), escape(comparison.label(row))), *_cells(values, digits)])
        for row, values in zip(table.rows, table.values, strict=True)
    ]
    unit = "difference to the baseline in points" if table.difference else "percent"
    note = f"by the number of labels of the query, {unit}, mean over seeds"
    st.html(page(html_table(METRICS[metric], heads, lines, range(1, len(heads)), note)))


def _cells(values: Floats, digits: str) -> list[str]:
    return ["–" if np.isnan(value) else f"{value:{digits}}".replace("-", "−") for value in values]


def _numbers(run: Run, metric: str) -> dict[int, float] | None:
    """A metric of a run by the number of labels of the query."""
    try:
        numbers = cache.label_numbers(run)
    except (MaclError, OSError, ValueError):  # embeddings are gone, or the run
        return None
    return {number: values[metric] for number, values in numbers.items()}


def _rare(table: LabelTable) -> str:
    """Who is best on the rare third of the labels; a description, not a test."""
    tail = table.groups["tail"]
    if np.isnan(tail).all():
        return ""
    best = int(np.nanargmax(tail))
    if table.difference and tail[best] < 0:
        return f"Highest on the rare third: the baseline; {comparison.label(table.rows[best])} is next."
    value = f"{tail[best]:+.1f} points" if table.difference else f"{tail[best]:.1f} %"
    return f"Highest on the rare third: {comparison.label(table.rows[best])}, {value}."


def _quality(result: Result, by_id: Mapping[str, Run]) -> Quality | None:
    """Quality of a result on each label: as noted in a benchmark, else computed from the embeddings."""
    noted: Quality | None = result.scores.get("label_ap")
    if noted or result.id not in by_id:
        return noted
    try:
        return cache.label_quality(by_id[result.id])
    except (MaclError, OSError, ValueError):  # embeddings are gone, or the run
        return None


def _counts(
    results: Sequence[Result], quality: Mapping[str, Quality], by_id: Mapping[str, Run]
) -> tuple[dict[str, float], str]:
    """Images per label, and which images were counted, in words."""
    for result in results:
        if counts := result.scores.get("label_counts"):
            return dict(counts), "training images"
    for result in results:
        if result.id not in quality or result.id not in by_id:
            continue
        config = result.config
        with suppress(MaclError):  # the images may be gone; the labels of the queries are still there
            if image_cache.is_prepared(config.images):
                data = image_cache.prepared(config.images, config.seed)
                totals = data.labels[data.splits["train"]].sum(axis=0).tolist()
                return dict(zip(data.classes, totals, strict=True)), "training images"
        totals = cache.embeddings(by_id[result.id])[1].sum(axis=0).tolist()
        return dict(zip(quality[result.id], totals, strict=True)), "test images"
    return {}, "images"
