"""How often each label occurs, in which split, and what a random order scores on such labels."""

from html import escape

import numpy as np
import streamlit as st

from app import image_cache
from app.figures import labels
from app.kit import tables
from app.kit.steady import steady_chart
from core.data import Dataset
from core.metrics import METRICS


def show(data: Dataset, seed: int) -> None:
    """Counts by label and split, sizes of the label sets, and chance."""
    wide, narrow = st.columns([3, 1], gap="medium")
    wide.markdown("**Images by label and split**")
    with wide:
        counts = labels.counts(data.labels, data.splits, data.classes)
        steady_chart(counts, "data_labels", "Images per label, most frequent first")
    narrow.markdown("**Images by number of labels**")
    with narrow:
        sizes = labels.set_sizes(data.labels)
        steady_chart(sizes, "data_label_sets", "Number of images by their number of labels")
    st.html(_chance(data, seed))
    st.caption(
        "What a random order of the gallery scores on these labels, in closed form: the more labels the "
        "images share, the higher. A score says little until it is far above this."
    )


def _chance(data: Dataset, seed: int) -> str:
    expected = image_cache.chance(data, seed)
    head = ["Ranking", *(escape(title) for title in METRICS.values())]
    cells = ["Chance, %", *("–" if np.isnan(v) else f"{100 * v:.2f}" for v in expected.values())]
    note = f"test split of seed {seed}, {len(data.splits['test']):,} images"
    numbers = tuple(range(1, len(head)))
    return tables.page(tables.table("Chance", head, [tables.Line(cells)], numbers, note))
