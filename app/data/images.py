"""Images of a label or of a combination, and one of them as training augments it."""

import numpy as np
import streamlit as st

from app.figures import labels
from app.kit import permalink
from app.kit.data_view import start
from app.kit.words import plain
from core.data import Dataset, ImageSet, preview

SHOWN = (12, 24, 48)
EVERYWHERE = "all"
EVERY = 0.5  # seconds between two looks at a process


def show(images: ImageSet, data: Dataset, seed: int) -> None:
    """The grid of images and the augmented versions of one of them."""
    ordered = [
        data.classes[label] for label in labels.by_frequency(data.labels) if data.labels[:, label].any()
    ]
    titles = {EVERYWHERE: EVERYWHERE, **{title: key for key, (title, _) in labels.SPLITS.items()}}
    permalink.note_unknown(
        labels=ordered, exactly=permalink.Switch(), part=list(titles), shown=[str(n) for n in SHOWN]
    )
    which, exact, part, many = st.columns([5, 2, 4, 2], vertical_alignment="bottom")
    with which:
        chosen = st.multiselect("Labels", ordered, key="labels", bind="query-params", placeholder="any label")
    with exact:
        exactly = st.toggle(
            "No others", key="exactly", bind="query-params", help="Only images that hold just these labels"
        )
    with part:
        split = st.segmented_control(
            "Split", titles, default=EVERYWHERE, required=True, key="part", bind="query-params"
        )
    with many:
        count = st.selectbox("Shown", SHOWN, key="shown", bind="query-params")
    rows = matching(data, chosen, exactly, titles[split or EVERYWHERE])
    if not rows.size:
        st.info("No image holds just these labels in this split: drop one, or allow others too.")
        return
    picked = sample(rows, count, seed)
    note = "" if len(picked) == len(rows) else f"; {len(picked)} of them, others for another seed"
    st.caption(f"{len(rows):,} image{'s' if len(rows) > 1 else ''}{note}")
    _grid(data, picked)
    st.markdown("**Augmentation, as trained**")
    _augmented(images, data, seed, picked)


def matching(data: Dataset, chosen: list[str], exactly: bool, split: str) -> np.ndarray:
    """Rows (n,) that hold all chosen labels, and no others if `exactly`, in a split or everywhere."""
    columns = np.isin(data.classes, chosen)  # (L,)
    y = data.labels.astype(bool)
    fits = y[:, columns].all(axis=1)
    if exactly and chosen:
        fits &= ~y[:, ~columns].any(axis=1)
    rows = np.flatnonzero(fits)
    return rows if split == EVERYWHERE else np.intersect1d(rows, data.splits[split])


def sample(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most `count` of the rows, ascending; the seed decides which."""
    if len(rows) <= count:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))


def _grid(data: Dataset, rows: np.ndarray) -> None:
    captions = [", ".join(np.array(data.classes)[data.labels[row] > 0]) for row in rows]
    with st.container(key="examples"):  # a grid of style.css
        for row, text in zip(rows, captions, strict=True):
            st.image(data.picture(row), plain(text), width="stretch", alt=f"{data.names[row]}: {text}")


def _augmented(images: ImageSet, data: Dataset, seed: int, rows: np.ndarray) -> None:
    """One image as it is evaluated and as training augments it; another process draws these."""
    chosen = st.selectbox(
        "Image", [data.names[row] for row in rows], key="augmented", persist_state="session", width=260
    )
    row = data.names.index(chosen)
    request = (data.picture_key, images.size, seed, row)
    status = preview.status(*request)
    if status.state == "none":
        if not start(preview.start, images, data.picture_key, seed, row):
            return
        status = preview.status(*request)
    if status.state == "done":
        names = ", ".join(np.array(data.classes)[data.labels[row] > 0])
        path = str(preview.path(*request))
        st.image(path, width="stretch", alt=f"{data.names[row]} ({names}) and 7 augmented versions of it")
        st.caption(
            "Left: as evaluated. The others: crops, flips, turns and colours as training draws them (the "
            "paper's Figures 4 to 6)."
        )
    elif status.state == "failed":
        st.warning(f"The augmented versions could not be drawn: {plain(status.error)}")
        if st.button("Draw again") and start(preview.start, images, data.picture_key, seed, row):
            st.rerun()
    else:
        _drawing(request)


@st.fragment(run_every=EVERY)
def _drawing(request: tuple[str, int, int, int]) -> None:
    if preview.status(*request).state != "running":
        st.rerun()
    st.caption("Drawing the augmented versions …")
