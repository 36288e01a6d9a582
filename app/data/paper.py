"""The paper's Tables 1 to 3, computed from the data at hand, beside what the paper prints."""

from html import escape

import numpy as np
import streamlit as st

from app.kit import tables
from app.kit.words import plain
from core import labels
from core.data import DATASETS, Dataset, ImageSet
from core.data.paper import PAPER, Published
from core.report.spreadsheet import to_csv

SPLITS = ("train", "val", "test")


def show(images: ImageSet, data: Dataset) -> None:
    """The three tables and Table 3 as CSV."""
    published = PAPER.get(images.name)
    if published:
        st.caption("Computed from the images and labels here; in grey what the paper prints.")
    else:
        st.caption("The paper's tables for this data set, which is not among its three.")
    st.html(tables.page(_first(images, data, published), _second(data, published)))
    st.html(tables.page(_third(data, published)))
    if published:
        different = [data.classes[i] for i in np.flatnonzero(labels.counts(data.labels) != published.counts)]
        st.caption(
            f"The counts differ from the paper's for {plain(', '.join(different))}." if different else
            "All counts are those of the paper."
        )  # fmt: skip
    st.download_button(
        "Table 3 as CSV", _csv(data, published), f"{images.name}-labels.csv", "text/csv", on_click="ignore"
    )


def _first(images: ImageSet, data: Dataset, published: Published | None) -> str:
    here = [
        "here",
        str(len(data.classes)),
        f"{len(data):,}",
        _sides(data),
        "–",
        escape(DATASETS[images.name].title),
        "–",
    ]
    lines = [tables.Line(here)]
    if published:
        size, resolution = f"{published.side:d} × {published.side:d}", escape(published.resolution)
        cells = [f"{published.images:,}", size, resolution]
        lines.append(
            tables.Line(
                [
                    "paper",
                    str(len(published.counts)),
                    *cells,
                    escape(published.source),
                    f"{published.year:d}",
                ],
                grey=True,
            )
        )
    head = ["Where", "Labels", "Images", "Image size", "Resolution, m", "Source", "Year"]
    return tables.table("Table 1", head, lines, (1, 2, 3, 4, 6), "summary")


def _second(data: Dataset, published: Published | None) -> str:
    lines = [tables.Line(["here", *(f"{len(data.splits[split]):,}" for split in SPLITS)])]
    if published:
        lines.append(tables.Line(["paper", *(f"{count:,}" for count in published.splits)], grey=True))
    return tables.table("Table 2", ["Where", "Training", "Validation", "Test"], lines, (1, 2, 3), "splits")


def _third(data: Dataset, published: Published | None) -> str:
    lines = []
    for cells in _rows(data, published):
        name, here, *rest = map(escape, cells)
        marked = f"<strong>{here}</strong>" if published and here != rest[-1] else here
        lines.append(tables.Line([name, marked, *rest]))
    return tables.table("Table 3", _head(published), lines, (1, 2, 3, 4, 5), "images per label")


def _head(published: Published | None) -> list[str]:
    return ["Label", "Images", "Training", "Validation", "Test", *(["Paper"] if published else [])]


def _rows(data: Dataset, published: Published | None) -> list[list[str]]:
    counts = [
        labels.counts(data.labels),
        *(labels.counts(data.labels[data.splits[split]]) for split in SPLITS),
    ]
    if published:
        counts.append(np.array(published.counts))
    return [[name, *map(str, row)] for name, row in zip(data.classes, np.stack(counts, axis=1), strict=True)]


def _csv(data: Dataset, published: Published | None) -> str:
    return to_csv([_head(published), *_rows(data, published)])


def _sides(data: Dataset) -> str:
    named = [f"{width:d} × {height:d}" for width, height in data.sides[:2]]
    return " or ".join(named + (["others"] if len(data.sides) > 2 else [])) or "–"
