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
    titles = {EVERYWHERE: EVERYWHERE, **{title: split for split, (title, _) in labels.SPLITS.items()}}
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
        st.info("No image holds just these labels in this split: drop one, or let others be there too.")
        return
    picked = sample(rows, count, seed)
    some = "" if len(picked) == len(rows) else f"; {len(picked)} of them, other ones for another seed"
    st.caption(f"{len(rows):,} image{'s' if len(rows) > 1 else ''}{some}")
    _grid(data, picked)
    st.markdown("**Augmentation, as trained**")
    _augmented(images, data, seed, picked)


def matching(data: Dataset, chosen: list[str], exactly: bool, split: str) -> np.ndarray:
    """Rows (n,) that hold all chosen labels, and no others if `exactly`, in a split or everywhere."""
    wanted = np.isin(data.classes, chosen)  # (L,)
    held = data.labels.astype(bool)
    fits = held[:, wanted].all(axis=1)
    if exactly and chosen:
        fits &= ~held[:, ~wanted].any(axis=1)
    rows = np.flatnonzero(fits)
    return rows if split == EVERYWHERE else np.intersect1d(rows, data.splits[split])


def sample(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most `count` of the rows, ascending, other ones for another seed."""
    if len(rows) <= count:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))


def _grid(data: Dataset, rows: np.ndarray) -> None:
    held = [", ".join(np.array(data.classes)[data.labels[row] > 0]) for row in rows]
    with st.container(key="examples"):  # a grid of style.css
        for row, text in zip(rows, held, strict=True):
            st.image(np.asarray(data.images[row]), text, width="stretch", alt=f"{data.names[row]}: {text}")


def _augmented(images: ImageSet, data: Dataset, seed: int, rows: np.ndarray) -> None:
    """One of the images as evaluated and as augmented in training; drawn by another process."""
    chosen = st.selectbox(
        "Image", [data.names[row] for row in rows], key="augmented", persist_state="session", width=260
    )
    row = data.names.index(chosen)
    where = (data.key, images.size, seed, row)
    about = preview.status(*where)
    if about.state == "none":
        if not start(preview.start, images, data.key, seed, row):
            return
        about = preview.status(*where)
    if about.state == "done":
        held = ", ".join(np.array(data.classes)[data.labels[row] > 0])
        path = str(preview.path(*where))
        st.image(path, width="stretch", alt=f"{data.names[row]} ({held}) and 7 augmented versions of it")
        st.caption(
            "Left: as evaluated. The others: crops, flips, turns and colours as training draws them (the "
            "paper's Figures 4 to 6)."
        )
    elif about.state == "failed":
        st.warning(f"The augmented versions could not be drawn: {plain(about.error)}")
        if st.button("Draw again") and start(preview.start, images, data.key, seed, row):
            st.rerun()
    else:
        _drawing(where)


@st.fragment(run_every=EVERY)
def _drawing(where: tuple[str, int, int, int]) -> None:
    if preview.status(*where).state != "running":
        st.rerun()
    st.caption("Drawing the augmented versions …")
