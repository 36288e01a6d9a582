"""The retrieval grid: one query, the nearest images of each run in rows, drawn by one small component."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import cache
from app.names import dataset_title
from app.palette import JACCARD_SCALE, jaccard_color, loss_color
from app.thumbnails import Thumbnails
from core.data import DATASETS
from core.errors import MaclError
from core.retrieve import Answer, Neighbour, search
from core.runs import Run

HERE = Path(__file__).parent

_component = st.components.v2.component(
    "macl_gallery",
    html='<div class="gallery" role="group" aria-label="Query and retrieved images"></div>',
    css=(HERE / "gallery.css").read_text(),
    js=(HERE / "gallery.js").read_text(),
)


SPLITS = {"train": "training", "val": "validation", "test": "test"}


def of_run(run: Run, title: str, reference: Run, name: str, k: int, classes: Sequence[str]) -> dict[str, Any]:
    """The row of one run for a query of the reference run's test split, or why it has none.

    Args:
        run: A finished run.
        title: Its name among the chosen ones.
        reference: The run whose test split the queries come from.
        name: Image name of the query.
        k: How many images.
        classes: Name of each label.
    """
    config, wanted = cache.config(run), cache.config(reference).dataset
    color = loss_color(config.loss)
    if config.dataset != wanted:
        return note(
            title,
            color,
            f"Trained on {dataset_title(config.dataset)}; the query is from {dataset_title(wanted)}.",
        )
    try:
        rows = cache.test_rows(run)
        if name not in rows:
            held = SPLITS.get(cache.split_of(run, name), "")
            where = f"it was one of its {held} images" if held else "it never saw it"
            text = f"{name} is not in the test split of this run (seed {config.seed}): {where}."
            return note(title, color, text + " Runs of one seed share their test split.")
        z, y = cache.embeddings(run)
        scores = cache.scores(run)
        names = cache.test_names(run)
        overall, chance = (100 * scores[part]["map_sim"] for part in ("metrics", "chance"))
        about = f"all queries: mAP(sim) {overall:.1f} %, chance {chance:.1f} %"
        if names != cache.test_names(reference):
            about = f"searches another test split (seed {config.seed}) · {about}"
        return row(title, color, search(z, y, rows[name], k), names, classes, about)
    except (MaclError, OSError) as error:
        return note(title, color, f"The files of this run cannot be read: {error}")


def class_names(run: Run, images: Thumbnails | None) -> list[str]:
    """Label names of a run's data set; numbers where only its own files knew them and they are gone."""
    count = cache.embeddings(run)[1].shape[1]
    known = run.classes() or (images.classes if images else DATASETS[cache.config(run).dataset].classes)
    return list(known) if len(known) == count else [f"label {i + 1}" for i in range(count)]


def held(row: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Names of the labels that an image (L,) holds."""
    return [label for label, has in zip(classes, row, strict=True) if has]


def query(name: str, labels: Sequence[str], earlier: Iterable[str] = ()) -> dict[str, Any]:
    """The image that is asked for, its label names, and the queries before it, latest first."""
    return {
        "name": name,
        "labels": list(labels),
        "alt": f"Query {name}: {', '.join(labels)}",
        "earlier": list(earlier),
    }


def row(
    title: str, color: str, answer: Answer, names: Sequence[str], classes: Sequence[str], about: str = ""
) -> dict[str, Any]:
    """What one run retrieves.

    Args:
        title: The run, for people.
        color: Of its loss, #rrggbb.
        answer: From `core.retrieve.search`.
        names: Image name of each row of the run's gallery.
        classes: Name of each label.
        about: The run as a whole, in a few words.
    """
    tiles = [tile(n, found, names, classes) for n, found in enumerate(answer.neighbours, start=1)]
    facts = ["no test image shares a label" if math.isnan(answer.ap) else f"AP {100 * answer.ap:.1f} %"]
    if tiles:
        facts.append(f"precision@{len(tiles)} {100 * answer.precision:.0f} %")
        facts.append(f"mean Jaccard@{len(tiles)} {answer.jaccard:.2f}")
    return {"title": title, "color": color, "facts": facts, "about": about, "tiles": tiles}


def note(title: str, color: str, text: str) -> dict[str, Any]:
    """A row of a run that cannot answer, with the reason."""
    return {"title": title, "color": color, "note": text, "facts": [], "about": "", "tiles": []}


def tile(rank: int, found: Neighbour, names: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """One retrieved image: rank, Jaccard with its colour, and how its labels differ from the query's."""
    shared, missing, extra = (
        [classes[i] for i in part] for part in (found.shared, found.missing, found.extra)
    )
    parts = [("shared", shared), ("missing", missing), ("extra", extra)]
    words = "; ".join(f"{word} {', '.join(labels)}" for word, labels in parts if labels)
    name = names[found.row]
    return {
        "name": name,
        "rank": rank,
        "jaccard": f"{found.jaccard:.2f}",
        "color": jaccard_color(found.jaccard),
        "shared": shared,
        "missing": missing,
        "extra": extra,
        "alt": f"Rank {rank}, {name}: Jaccard {found.jaccard:.2f}, cosine {found.cosine:.3f}; {words}",
    }


def show(
    asked: dict[str, Any],
    rows: list[dict[str, Any]],
    uri: Callable[[str], str] | None,
    columns: int,
    on_query: Callable[[str], None],
    key: str = "gallery",
) -> None:
    """Draw the grid.

    Args:
        asked: From `query`.
        rows: From `row` or `note`.
        uri: Gives the picture of an image name as a data URI, empty for none; None: no pictures at all.
        columns: Images side by side, at most.
        on_query: Called with the name of an image that a person wants as the next query.
        key: Of the component.
    """
    shown = [asked["name"], *asked["earlier"], *(tile["name"] for row in rows for tile in row["tiles"])]
    data = {
        "query": asked,
        "rows": rows,
        "images": {name: uri(name) for name in dict.fromkeys(shown)} if uri else {},
        "columns": columns,
        "scale": [color for _, color in JACCARD_SCALE],
    }

    def chosen() -> None:
        on_query(st.session_state[key].query)

    _component(key=key, data=data, on_query_change=chosen)
