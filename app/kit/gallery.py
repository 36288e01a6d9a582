"""The retrieval grid: one query, the nearest images of each run in rows, drawn by one small component."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import cache
from app.kit.component import component
from app.kit.names import dataset_title
from app.kit.palette import JACCARD_SCALE, jaccard_color
from app.kit.thumbnails import Thumbnails
from app.kit.words import percent
from core.data import DATASETS
from core.errors import MaclError
from core.retrieval.search import Answer, Neighbour
from core.runs import Run, origin

HERE = Path(__file__).parent

SPLITS = {"train": "training", "val": "validation", "test": "test"}
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
    scores = cache.scores(run)
    overall, chance = (scores[part]["map_sim"] for part in ("metrics", "chance"))
    if overall is None or chance is None:
        return "no query has a positive"
    return f"all queries: mAP(sim) {percent(overall)}, chance {percent(chance)}"


def unreadable(error: Exception) -> str:
    """Why a run has no row."""
    return f"The files of this run cannot be read: {error}"


def class_names(run: Run, images: Thumbnails | None) -> list[str]:
    """Label names of a run's data set; numbers where only its own files knew them and they are gone."""
    count = cache.embeddings(run)[1].shape[1]
    known = run.classes() or (images.classes if images else DATASETS[cache.config(run).dataset].classes)
    return list(known) if len(known) == count else [f"label {i + 1}" for i in range(count)]


def held(row: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Names of the labels that an image (L,) holds."""
    return [label for label, has in zip(classes, row, strict=True) if has]


def query(name: str, labels: Sequence[str], earlier: Iterable[str] = (), image: str = "") -> dict[str, Any]:
    """The image that is asked for, its label names, and the queries before it, latest first.

    `image` is what its picture goes by, where that is not its name.
    """
    return {
        "name": name,
        "image": image or name,
        "labels": list(labels),
        "alt": f"Query {name}: {', '.join(labels)}",
        "earlier": list(earlier),
    }


def row(
    title: str,
    color: str,
    answer: Answer,
    names: Sequence[str],
    classes: Sequence[str],
    about: str = "",
    splits: Sequence[str] = (),
) -> dict[str, Any]:
    """What one run retrieves.

    Args:
        title: The run, for people.
        color: Of its loss, #rrggbb.
        answer: From `core.retrieval.search.search`.
        names: Image name of each row of the run's gallery.
        classes: Name of each label.
        about: The run as a whole, in a few words.
        splits: Split of each image of the gallery; none: all are test images.
    """
    tiles = [tile(n, found, names, classes, splits) for n, found in enumerate(answer.neighbours, start=1)]
    labelled = not any(math.isnan(found.jaccard) for found in answer.neighbours)
    facts = []
    if labelled:
        facts.append(
            f"AP {100 * answer.ap:.1f} %" if not math.isnan(answer.ap) else "no image shares a label"
        )
    elif tiles:
        facts.append(f"cosine {answer.neighbours[0].cosine:.3f} to {answer.neighbours[-1].cosine:.3f}")
    if tiles and labelled:
        facts.append(f"precision@{len(tiles)} {100 * answer.precision:.0f} %")
        facts.append(f"mean Jaccard@{len(tiles)} {answer.jaccard:.2f}")
    ranks = {
        "precision": [round(value, 3) for value in answer.precisions],
        "jaccard": [round(value, 3) for value in answer.jaccards],
    }
    return {"title": title, "color": color, "facts": facts, "about": about, "tiles": tiles, "ranks": ranks}


def note(title: str, color: str, text: str) -> dict[str, Any]:
    """A row of a run that cannot answer, with the reason."""
    return {"title": title, "color": color, "note": text, "facts": [], "about": "", "tiles": []}


def tile(
    rank: int, found: Neighbour, names: Sequence[str], classes: Sequence[str], splits: Sequence[str] = ()
) -> dict[str, Any]:
    """One retrieved image: rank, Jaccard with its colour, and how its labels differ from the query's.

    Where nobody knows the query's labels, those of the image are given as they are.
    """
    shared, missing, extra = (
        [classes[i] for i in part] for part in (found.shared, found.missing, found.extra)
    )
    parts = [("shared", shared), ("missing", missing), ("extra", extra)]
    unknown = math.isnan(found.jaccard)
    if unknown:
        parts, shared, extra = [("", extra)], extra, []
    words = "; ".join(f"{word} {', '.join(labels)}".strip() for word, labels in parts if labels)
    name, split = names[found.row], splits[found.row] if splits else "test"
    held = f" ({SPLITS[split]} image)" if split != "test" else ""
    similar = "" if unknown else f"Jaccard {found.jaccard:.2f}, "
    return {
        "name": name,
        "rank": rank,
        "jaccard": "" if unknown else f"{found.jaccard:.2f}",
        "cosine": f"{found.cosine:.3f}",
        "color": UNKNOWN if unknown else jaccard_color(found.jaccard),
        "shared": shared,
        "missing": missing,
        "extra": extra,
        "split": "" if split == "test" else SPLITS[split],
        "alt": f"Rank {rank}, {name}{held}: {similar}cosine {found.cosine:.3f}; {words}",
    }


def show(
    asked: dict[str, Any],
    rows: list[dict[str, Any]],
    uri: Callable[[str], str] | None,
    columns: int,
    on_query: Callable[[str], None],
    key: str = "gallery",
    on_why: Callable[[str, str], None] | None = None,
) -> None:
    """Draw the grid.

    Args:
        asked: From `query`.
        rows: From `row` or `note`.
        uri: Gives the picture of an image name as a data URI, empty for none; None: no pictures at all.
        columns: Images side by side, at most.
        on_query: Called with the name of an image that a person wants as the next query.
        key: Of the component.
        on_why: Called with the `key` of a row and the name of an image in it whose similarity a person wants
            explained; offered for rows with a true `why`.
    """
    shown = [asked["image"], *asked["earlier"], *(tile["name"] for row in rows for tile in row["tiles"])]
    data = {
        "query": asked,
        "rows": rows,
        "images": {name: uri(name) for name in dict.fromkeys(shown)} if uri else {},
        "columns": columns,
        "scale": [color for _, color in JACCARD_SCALE],
    }

    def chosen() -> None:
        on_query(st.session_state[key].query)

    def explained() -> None:
        if on_why:
            on_why(*st.session_state[key].why)

    _component(key=key, data=data, on_query_change=chosen, on_why_change=explained)
