"""The widgets of the embeddings page; what they hold is in the address."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from app.embeddings.colors import MODES
from app.kit.permalink import Between, Fitting, Switch, news, note_gone, note_unknown, say
from app.kit.query import option_labels
from core.projection import Umap
from core.runs import Run

RUNS = "embeddings_runs"
MOST_RUNS = 14
METHODS = {"UMAP": "umap", "PCA": "pca"}
IMAGES = ("Test split", "All splits")
DIMS = ("2-D", "3-D")
MAX_SEED = 2**31 - 1
KEYS = {
    "method": "projection", "dims": "dims", "neighbors": "n_neighbors", "dist": "min_dist",
    "seed": "umap_seed", "mode": "color", "label": "label", "only": "with", "images": "images",
    "training": "training",
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What a person has chosen.

    Attributes:
        umap: Parameters; its dims hold for PCA, too.
        method: umap or pca.
        mode: Key of `colors.MODES`.
        label: Column of the label for the mode `one`.
        only: Columns of the labels that every image shown holds.
        everything: All splits, not the test split alone.
        training: Show how the spaces formed.
    """

    umap: Umap
    method: str
    mode: str
    label: int
    only: tuple[int, ...]
    everything: bool
    training: bool


def choose_runs(finished: Sequence[Run], default: Sequence[str]) -> list[Run]:
    """The widget that chooses runs; the address names their folders."""
    state, linked = st.session_state, news("runs", RUNS)
    known, texts = {run.id: run for run in finished}, option_labels(finished)
    seen = list(texts.values())
    for name, text in texts.items():  # two of one second: a widget tells options apart by their text alone
        if seen.count(text) > 1:
            texts[name] = f"{text} · {name[-4:]}"
    run_ids = linked or state.get(RUNS, default)
    note_gone([name for name in run_ids if name not in known])
    kept = [name for name in run_ids if name in known]
    state[RUNS] = (kept or list(default) if linked else kept)[:MOST_RUNS]
    chosen: list[str] = st.multiselect(
        "Runs", list(known), key=RUNS, format_func=texts.__getitem__, max_selections=MOST_RUNS,
        persist_state="session",
    )  # fmt: skip
    say("runs", RUNS, chosen)
    return [known[name] for name in chosen]


def choose(classes: Sequence[str], splits: bool, frames: bool) -> Settings:
    """All other widgets: what decides most in sight, the rest one click away.

    Args:
        classes: Name of each label.
        splits: Whether images of the other splits can be shown.
        frames: Whether a run has saved its way through training.
    """
    titles = {title: key for key, title in MODES.items()}
    fitting: dict[str, Fitting] = {
        "method": list(METHODS), "dims": DIMS, "neighbors": Between(2, 100, whole=True),
        "dist": Between(0, 1), "seed": Between(0, MAX_SEED, whole=True), "mode": list(titles),
        "label": list(classes), "only": list(classes), "images": IMAGES, "training": Switch(),
    }  # fmt: skip
    note_unknown(**{KEYS[name]: known for name, known in fitting.items()})
    for key, options in ((KEYS["label"], classes), (KEYS["mode"], titles)):
        if st.session_state.get(key) not in (None, *options):  # of another data set
            del st.session_state[key]
    first, second, third, fourth, last = st.columns([2.1, 1.5, 3, 2.5, 2], vertical_alignment="bottom")
    method = first.segmented_control(
        "Projection", list(METHODS), default="UMAP", required=True, key=KEYS["method"], bind="query-params",
        width="stretch",
    )  # fmt: skip
    dims = second.segmented_control(
        "Dimensions", DIMS, default=DIMS[0], required=True, key=KEYS["dims"], bind="query-params",
        width="stretch",
    )  # fmt: skip
    mode = titles[third.selectbox("Colour", list(titles), key=KEYS["mode"], bind="query-params")]
    label = classes[0]
    if mode == "one":
        label = fourth.selectbox("Label", list(classes), key=KEYS["label"], bind="query-params")
    else:
        kept = [name for name in st.session_state.get(KEYS["only"], []) if name in classes]
        if KEYS["only"] in st.session_state:
            st.session_state[KEYS["only"]] = kept
    with last.popover("More", width="stretch"):
        neighbors = st.slider(
            "n_neighbors", 2, 100, 15, key=KEYS["neighbors"], bind="query-params",
            help="Of UMAP. Few: fine detail, torn apart. Many: the whole, detail lost.",
        )  # fmt: skip
        dist = st.slider(
            "min_dist", 0.0, 1.0, 0.3, 0.05, key=KEYS["dist"], bind="query-params",
            help="Of UMAP: how close neighbours may lie in the picture.",
        )  # fmt: skip
        seed = st.number_input(
            "Seed of UMAP", 0, MAX_SEED, 0, key=KEYS["seed"], bind="query-params",
            help="The same seed gives the same picture on this machine; another processor or library version "
            "may give another one.",
        )  # fmt: skip
        images = st.segmented_control(
            "Images", IMAGES, default=IMAGES[0], required=True, key=KEYS["images"], bind="query-params",
            disabled=not splits,
            help="The other splits are embedded with the saved weights, once; recorded runs come without.",
        )  # fmt: skip
    only = _only(fourth, classes) if mode != "one" else _only(st.container(), classes)
    training = frames and st.toggle(
        "Through training", key=KEYS["training"], bind="query-params",
        help="The test images after every few epochs, as saved by the run",
    )  # fmt: skip
    return Settings(
        Umap(2 if dims == DIMS[0] else 3, int(neighbors), float(dist), int(seed)),
        METHODS[str(method)],
        mode,
        list(classes).index(label),
        tuple(list(classes).index(name) for name in only),
        splits and images == IMAGES[1] and not training,
        bool(training),
    )


def _only(container: st.delta_generator.DeltaGenerator, classes: Sequence[str]) -> list[str]:
    labels: list[str] = container.multiselect(
        "Only images with", list(classes), key=KEYS["only"], bind="query-params", placeholder="any labels"
    )
    return labels
