"""Who wins on rare labels, who on images with many: against the baseline where one is pinned."""

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
    """The heat map of one block with a sentence, its table by number of labels; what is missing, in words.

    Args:
        rows: One block.
        every: All blocks that are drawn.
        metric: Key of that of the table.
        draw: Puts a figure with its description on the page.
    """
    title = comparison.title(rows, every)
    st.header(title)
    results = [result for row in rows if not row.reference for result in row.results]
    with st.spinner("Looking at every label …"):
        known = {run.id: run for run in cache.by_id([result.id for result in results if result.folder])}
        quality = {result.id: found for result in results if (found := _quality(result, known))}
    counts, of = _counts(results, quality, known)
    table = label_table(rows, quality, counts)
    if not table.rows:
        st.info("No run with test embeddings is left in this table.")
        return
    base = next((comparison.label(row) for row in rows if row.baseline), "")
    what = f"difference to {base} in points" if table.difference else "percent"
    draw(
        label_quality.heat_map(table, comparison.label, st.context.theme.type == "dark", of),
        f"Mean average precision of each method on each label of {title}, {what}",
    )
    pinned = "" if base else " Compare with a baseline above to see differences."
    st.caption(
        f"Mean average precision of each label (its images ask, images that hold it are relevant), {what}, "
        f"mean over seeds. Labels from frequent to rare; in brackets the {of} that hold them. "
        f"{_rare(table)}{pinned}"
    )
    _by_number(rows, metric, known)


def _by_number(rows: Sequence[Row], metric: str, known: Mapping[str, Run]) -> None:
    """The metric by the number of labels of the query, of the runs whose embeddings are at hand."""
    results = [result for row in rows if not row.reference for result in row.results if result.folder]
    with st.spinner("Looking at every query …"):
        runs = [known[result.id] for result in results if result.id in known]
        quality = {run.id: found for run in runs if (found := _numbers(run, metric))}
    table = count_table(rows, quality)
    if not table.rows:
        return
    heads = ["Method", *(f"{number} label{'s' if number > 1 else ''}" for number in table.numbers)]
    digits = "+.1f" if table.difference else ".1f"
    lines = [
        Line([marked(comparison.swatch(row), escape(comparison.label(row))), *_cells(values, digits)])
        for row, values in zip(table.rows, table.values, strict=True)
    ]
    what = "difference to the baseline in points" if table.difference else "percent"
    note = f"by the number of labels of the query, {what}, mean over seeds"
    st.html(page(html_table(METRICS[metric], heads, lines, range(1, len(heads)), note)))


def _cells(values: Floats, digits: str) -> list[str]:
    return ["–" if np.isnan(value) else f"{value:{digits}}".replace("-", "−") for value in values]


def _numbers(run: Run, metric: str) -> dict[int, float] | None:
    """A metric of a run by the number of labels of the query."""
    try:
        found = cache.label_numbers(run)
    except (MaclError, OSError, ValueError):  # embeddings are gone, or the run
        return None
    return {number: values[metric] for number, values in found.items()}


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


def _quality(result: Result, known: Mapping[str, Run]) -> Quality | None:
    """Labels of a result: noted in a benchmark, else computed from the embeddings."""
    noted: Quality | None = result.scores.get("label_ap")
    if noted or result.id not in known:
        return noted
    try:
        return cache.label_quality(known[result.id])
    except (MaclError, OSError, ValueError):  # embeddings are gone, or the run
        return None


def _counts(
    results: Sequence[Result], quality: Mapping[str, Quality], known: Mapping[str, Run]
) -> tuple[dict[str, float], str]:
    """Images per label, and what they are."""
    for result in results:
        if counts := result.scores.get("label_counts"):
            return dict(counts), "training images"
    for result in results:
        if result.id not in quality or result.id not in known:
            continue
        config = result.config
        with suppress(MaclError):  # the images may be gone; how often each label was asked for is known
            if image_cache.is_prepared(config.images):
                data = image_cache.prepared(config.images, config.seed)
                held = data.labels[data.splits["train"]].sum(axis=0).tolist()
                return dict(zip(data.classes, held, strict=True)), "training images"
        held = cache.embeddings(known[result.id])[1].sum(axis=0).tolist()
        return dict(zip(quality[result.id], held, strict=True)), "test images"
    return {}, "images"
