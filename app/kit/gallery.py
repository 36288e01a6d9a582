"""The retrieval grid: one query, the nearest images of each run in rows, drawn by one small component."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import cache
from app.kit import how_read
from app.kit.component import component
from app.kit.names import dataset_title
from app.kit.palette import JACCARD_SCALE, jaccard_color
from app.kit.retrieved import SPLITS, Retrieved, Row
from app.kit.thumbnails import Thumbnails
from app.kit.words import plain, score
from core.data import DATASETS
from core.errors import MaclError
from core.runs import Run, origin

HERE = Path(__file__).parent

Action = tuple[str, str, str, str]  # key, sign, what it does in words, letter that does it, too
UNKNOWN = "#8c959d"  # where a Jaccard index has a colour, and nobody knows it

_component = component(
    "macl_gallery",
    html='<div class="gallery" role="group" aria-label="Query and retrieved images"></div>',
    css=(HERE / "gallery.css").read_text(),
    js=(HERE / "gallery.js").read_text(),
)


def foreign(run: Run, reference: Run) -> str:
    """Why a run cannot be asked for images of another one's data set; empty if it is the same."""
    mine, wanted = cache.config(run), cache.config(reference)
    if mine.dataset != wanted.dataset:
        return f"Trained on {dataset_title(mine.dataset)}; the first run on {dataset_title(wanted.dataset)}."
    if run == reference:
        return ""
    try:
        run.classes()  # in words, if they are damaged
        same = origin.compare(cache.data(run), cache.data(reference))
    except MaclError as error:
        return unreadable(error)
    if not (same.images and same.labels) and mine.reading != wanted.reading:
        read = how_read.words(mine.reading) or "as guessed"
        return plain(f"Trained on images that were read in another way than the first run's: {read}.")
    if not same.images and mine.place == wanted.place:
        return f"Trained on other images than the first run: those in {mine.data_root} have changed."
    if not same.images:
        return f"Trained on the images in {mine.data_root}; the first run on those in {wanted.data_root}."
    return "" if same.labels else "Trained with other labels than the first run."


def absent(run: Run, name: str) -> str:
    """Why an image is not in the test split of a run."""
    split = SPLITS.get(cache.split_of(run, name), "")
    where = f"it was one of its {split} images" if split else "it never saw it"
    seed = cache.config(run).seed
    text = f"{name} is not in the test split of this run (seed {seed}): {where}."
    return f"{text} Runs of one seed share their test split."


def about(run: Run) -> str:
    """A run as a whole, in a few words."""
    try:
        scores = cache.scores(run)
    except MaclError:
        return "its scores are damaged: copy the run again"
    overall, chance = (score(scores[part], "map_sim") for part in ("metrics", "chance"))
    if "–" in (overall, chance):
        return "no query has a positive"
    return f"all queries: mAP(sim) {overall}, chance {chance}"


def unreadable(error: Exception) -> str:
    """Why a run has no row."""
    return f"The files of this run cannot be read: {error}"


def class_names(run: Run, images: Thumbnails | None) -> list[str]:
    """Label names of a run's data set; numbers where only its own files knew them and they are gone."""
    count = cache.embeddings(run)[1].shape[1]
    known = run.classes() or (images.classes if images else DATASETS[cache.config(run).dataset].classes)
    return list(known) if len(known) == count else [f"label {i + 1}" for i in range(count)]


def label_names(row: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Names of the labels that an image (L,) holds."""
    return [label for label, has in zip(classes, row, strict=True) if has]


def query(name: str, labels: Sequence[str], earlier: Iterable[str] = (), image: str = "") -> dict[str, Any]:
    """The image that asks, its label names, and the queries before it, latest first.

    `image` is what its picture goes by, where that is not its name.
    """
    return {
        "name": name,
        "image": image or name,
        "labels": list(labels),
        "alt": f"Query {name}: {', '.join(labels)}",
        "earlier": list(earlier),
    }


def drawn(row: Row) -> dict[str, Any]:
    """A row as the component draws it."""
    return {
        "title": row.title,
        "color": row.color,
        "facts": row.captions,
        "about": row.about,
        "note": row.note,
        "tiles": [tile(image) for image in row.images],
        "ranks": {
            "precision": [round(value, 3) for value in row.answer.precisions] if row.answer else [],
            "jaccard": [round(value, 3) for value in row.answer.jaccards] if row.answer else [],
        },
        "key": row.run,
        "why": row.explained,
    }


def tile(image: Retrieved) -> dict[str, Any]:
    """One retrieved image: rank, Jaccard with its colour, and how its labels differ from the query's.

    Where nobody knows the query's labels, those of the image are given as they are.
    """
    shared = image.shared if image.compared else image.labels
    parts = [("shared" if image.compared else "", shared), ("missing", image.missing), ("extra", image.extra)]
    words = "; ".join(f"{word} {', '.join(labels)}".strip() for word, labels in parts if labels)
    split = "" if image.split == "test" else SPLITS[image.split]
    of = f" ({split} image)" if split else ""
    similar = f"Jaccard {image.jaccard:.2f}, " if image.compared else ""
    title = image.title or image.name
    return {
        "name": image.name,
        "marks": list(image.marks),
        "rank": image.rank,
        "jaccard": f"{image.jaccard:.2f}" if image.compared else "",
        "cosine": f"{image.cosine:.3f}",
        "color": border(image),
        "shared": list(shared),
        "missing": list(image.missing),
        "extra": list(image.extra),
        "split": split,
        "alt": f"Rank {image.rank}, {title}{of}: {similar}cosine {image.cosine:.3f}; {words}",
    }


def border(image: Retrieved) -> str:
    """Colour of the frame of an image, #rrggbb: of its Jaccard index."""
    return jaccard_color(image.jaccard) if image.compared else UNKNOWN


def show(
    asking: dict[str, Any],
    rows: Sequence[Row],
    uri: Callable[[str], str] | None,
    columns: int,
    on_query: Callable[[str], None],
    key: str = "gallery",
    on_why: Callable[[str, str], None] | None = None,
    actions: Sequence[Action] = (),
    on_act: Callable[[str, str], None] | None = None,
    titles: Mapping[str, str] | None = None,
) -> None:
    """Draw the grid.

    Args:
        asking: From `query`.
        rows: One for each run.
        uri: Gives the picture of an image name as a data URI, empty for none; None: no pictures at all.
        columns: Images side by side, at most.
        on_query: Called with the name of an image that a person wants as the next query.
        key: Of the component.
        on_why: Called with the run of a row and the name of an image in it whose similarity a person wants
            explained; offered for rows that are `explained`.
        actions: What a person can do with a result, beside asking with it; pressed are the `marks` of one.
        on_act: Called with the key of an action and the name of an image.
        titles: What earlier queries are called, where that is not their name.
    """
    shown = [asking["image"], *asking["earlier"], *(image.name for row in rows for image in row.images)]
    data = {
        "query": asking,
        "rows": [drawn(row) for row in rows],
        "images": {name: uri(name) for name in dict.fromkeys(shown)} if uri else {},
        "columns": columns,
        "scale": [color for _, color in JACCARD_SCALE],
        "actions": [list(action) for action in actions],
        "titles": {one.name: one.title for row in rows for one in row.images if one.title}
        | dict(titles or {}),
    }

    def chosen() -> None:
        on_query(st.session_state[key].query)

    def explained() -> None:
        if on_why:
            on_why(*st.session_state[key].why)

    def acted() -> None:
        if on_act:
            on_act(*st.session_state[key].act)

    _component(key=key, data=data, on_query_change=chosen, on_why_change=explained, on_act_change=acted)
