"""Which batch the mechanism page shows: widgets for the run or data set, and for its images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import streamlit as st

from app import cache, image_cache
from app.kit import permalink, shared, tiles
from app.kit.gallery import class_names
from app.kit.names import dataset_title
from app.kit.pictures import pictures
from app.kit.query import option_labels
from app.kit.words import plain
from core.data import DATASETS, Dataset, ImageSet
from core.errors import MaclError
from core.mechanism import WITH_PROTOTYPES, Batch, centroids, draw, nearest
from core.mechanism import order as order_of
from core.runs import PRESETS, Run

SOURCE = "m_of"
DRAWS = permalink.Between(0, 10**6, whole=True)
SMALLEST, LARGEST, USUAL = 8, 256, 48
BY_SEED, BY_LABEL, BY_IMAGE = "Random", "With chosen labels", "Neighbours of an image"
INSTEAD = "f and h are counted on the test split instead."

Order = Literal["label", "rarity", "cluster"]


@dataclass(frozen=True, eq=False)
class Source:
    """Where a batch comes from.

    Attributes:
        key: Folder name of a run, or name of a data set.
        names: Names of the images to draw from, (n,).
        y: (n, L) their labels.
        labels: (N, L) labels of the images that f and h count.
        classes: L label names.
        z: (n, D) embeddings; None without a run.
        prototypes: (L, D) unit rows, the run's own or the labels' mean directions; None without a run.
        run: The run; None for a data set alone.
        images: The data set's images; None where they are gone.
        note: What a person should know of these numbers; empty if nothing.
        counted: The split that `labels` are of, in words: training, or test where the others are not known.
    """

    key: str
    names: Sequence[str]
    y: np.ndarray
    labels: np.ndarray
    classes: Sequence[str]
    z: np.ndarray | None
    prototypes: np.ndarray | None
    run: Run | None
    images: Dataset | None
    note: str = ""
    counted: str = "training"


@dataclass(frozen=True, eq=False)
class Chosen:
    """A batch on the page: its numbers, the names of its images, and the key of its pictures."""

    source: Source
    batch: Batch
    names: Sequence[str]
    key: str
    _orders: dict[Order, np.ndarray] = field(default_factory=dict, repr=False)

    def order(self, how: Order) -> np.ndarray:
        """Order of the rows in a map, (B,); kept: clusters take a second, and no setting moves them."""
        if how not in self._orders:
            z = self.batch.z
            s = None if z is None else z.astype(np.float64) @ z.T
            self._orders[how] = order_of(how, self.batch.y, self.batch.labels, s)
        return self._orders[how]


def sources() -> dict[str, str]:
    """Every finished run, then every prepared data set, by key, with a name for people."""
    runs = cache.finished_runs()
    options = option_labels(runs) if runs else {}
    for name in DATASETS:
        if _prepared(name):
            options[name] = f"{dataset_title(name)} · labels only, no embeddings"
    return options


def choose_source(options: dict[str, str]) -> str:
    """The widget; the permalink holds a run's folder name, which no other name hides."""
    state, linked = st.session_state, permalink.news("run", SOURCE)
    name = linked[-1] if linked else state.get(SOURCE, "")
    if name and name not in options:  # deleted in another tab, perhaps
        permalink.note(f"{plain(name)} is not here (any more); another one is shown.")
    state[SOURCE] = name if name in options else _usual(options)
    key: str = st.selectbox(
        "Embeddings of",
        options,
        key=SOURCE,
        format_func=options.__getitem__,
        filter_mode="contains",
        persist_state="session",
        help="The batch comes from the run's test split; f, h and w count labels of its training split.",
    )
    permalink.say("run", SOURCE, [key])
    return key


def open_source(key: str) -> Source | None:
    """Images, labels and embeddings of a source; None while they are prepared, which the page says."""
    known = {run.id: run for run in cache.finished_runs()}
    if key not in known:
        data = image_cache.prepared(_prepared(key) or ImageSet(key), 0)
        test, train = data.splits["test"], data.splits["train"]
        names = [data.names[row] for row in test]
        note = "Maps of s and of the force need the embeddings of a finished run."
        return Source(
            key, names, data.labels[test], data.labels[train], data.classes, None, None, None, data, note
        )
    run = known[key]
    names, (z, y) = cache.test_names(run), cache.embeddings(run)
    others = [cache.config(other) for other in known.values()]
    images = pictures(cache.config(run), others)
    own = cache.prototypes(run)
    prototypes, note = (own, "") if own is not None else (centroids(z, y), "")
    classes = class_names(run, images)
    if images is None:
        note = f"The training labels are not here (yet): {INSTEAD}"
        return Source(key, names, y, y, classes, z, prototypes, run, None, note, "test")
    data, rows = images.dataset, {name: row for row, name in enumerate(images.dataset.names)}
    trained = cache.train_names(run)
    if classes != list(data.classes) or not rows.keys() >= set(trained):
        note = f"The data set has changed since this run: {INSTEAD}"
        return Source(key, names, y, y, classes, z, prototypes, run, data, note, "test")
    labels = data.labels[[rows[name] for name in trained]]
    return Source(key, names, y, labels, classes, z, prototypes, run, data, note)


def choose_images(source: Source) -> Chosen:
    """Widgets for the size of the batch and its images."""
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    size = len(source.names)
    limit = min(LARGEST, size // 8 * 8)
    ways = [BY_SEED, BY_LABEL] + ([BY_IMAGE] if source.z is not None else [])
    permalink.note_unknown(
        m_b=permalink.Between(SMALLEST, limit, whole=True), m_how=ways, m_with=list(source.classes),
        m_near=list(source.names), m_draw=DRAWS,
    )  # fmt: skip
    if limit > SMALLEST:
        size = left.slider(
            "Images B", SMALLEST, limit, min(USUAL, limit), 8, key="m_b", bind="query-params"
        )  # fmt: skip
    else:
        left.caption(f"The test split holds {size:d} image{'s' if size > 1 else ''}: no choice of B.")
    with right.popover("Which images", width="stretch"):
        how = st.segmented_control(
            "Images", ways, default=BY_SEED, required=True, key="m_how", bind="query-params",
            label_visibility="collapsed",
        )  # fmt: skip
        labels: list[str] = []
        if how == BY_LABEL:
            labels = st.multiselect(
                "With at least one of", source.classes, key="m_with", bind="query-params", placeholder="any"
            )
        if how == BY_IMAGE and source.z is not None:
            name = st.selectbox(
                "Image", source.names, key="m_near", bind="query-params", filter_mode="contains"
            )
            rows = nearest(source.z, source.names.index(name), size)
        else:
            seed = int(st.number_input("Draw", 0, int(DRAWS.high), 0, key="m_draw", bind="query-params"))
            rows = draw(source.y, size, seed, [list(source.classes).index(label) for label in labels])
        if len(rows) < size:
            st.caption(f"Only {len(rows)} test images hold these labels.")
    if len(rows) < 2:
        if labels:
            raise MaclError("A pair needs two images, and fewer hold these labels: choose more labels")
        raise MaclError(
            "A pair needs two images, and the test split holds fewer: choose another run or data set"
        )
    names = [source.names[row] for row in rows]
    batch = Batch(
        source.y[rows].astype(np.uint8),
        source.labels,
        None if source.z is None else source.z[rows],
        source.prototypes,
    )
    key = f"{source.key}:{hash(tuple(rows.tolist()))}"
    tiles.keep(key, tiles.sprite(source.images, names))
    return Chosen(source, batch, names, key)


def about_prototypes(run: Run | None) -> str:
    """Where the prototypes come from, for losses that have some."""
    if run is not None and cache.prototypes(run) is not None:
        return "The prototypes are those that the run trained."
    why = "The run has no prototypes"
    if run is not None and cache.config(run).loss in ("lproto", *WITH_PROTOTYPES):
        why = "The prototypes that the run trained are not in its folder"
    return f"{why}: each stands at the mean direction of the test images with its label."


def _prepared(name: str) -> ImageSet | None:
    """The smallest images of a data set that are prepared."""
    sizes, place = sorted({int(preset["image_size"]) for preset in PRESETS.values()}), shared.place(name)
    among = (ImageSet(name, place, size, reading=shared.reading(name)) for size in sizes)
    return next(filter(image_cache.is_prepared, among), None)


def _usual(options: dict[str, str]) -> str:
    """The newest run with MACL, else the newest run, else the first data set."""
    runs = [run for run in cache.finished_runs() if run.id in options]
    macl = [run.id for run in runs if cache.config(run).loss == "macl"]
    return (macl or [run.id for run in runs] or list(options))[0]
