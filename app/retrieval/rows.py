"""What each chosen run answers: rows of the grid, or why there is none; and what has still to be computed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import streamlit as st

from app import cache
from app.kit import gallery, query
from app.kit.palette import loss_color
from app.kit.words import percent
from core.errors import MaclError
from core.metrics import METRICS
from core.retrieval import ask
from core.retrieval.search import Answer, Gallery, metrics_of, search, search_for
from core.runs import Run

SHORT_SECONDS = 0.5  # in which a warm embedder embeds a picture for all runs
TABLE_LIMIT = 1500  # test images up to which all queries are scored at once, in a twentieth of a second


UPLOADED = "//upload"  # in place of an image's name: no file of a data set has such a one


@dataclass(frozen=True, eq=False)
class Asked:
    """What asks.

    Attributes:
        name: Of the test image; of an upload what a person calls it.
        labels: (L,) as the reference run knows them; None where nobody does.
        upload: Key of an uploaded picture, empty for a test image.
    """

    name: str
    labels: np.ndarray | None
    upload: str = ""

    @property
    def image(self) -> str:
        """What its picture goes by: an uploaded one may be called as an image of the data set."""
        return UPLOADED if self.upload else self.name


@dataclass(eq=False)
class Row:
    """One run's answer.

    Attributes:
        run: The run.
        title: Its name among the chosen ones.
        drawn: From `gallery.row` or `gallery.note`.
        answer: None where there is none.
        gallery: What was searched.
        order: Value of the metric that rows are ordered by, nan where it has none.
        waits: What the embedder has still to answer.
        failed: What it could not answer.
        z: Embedding (D,) of the query.
        place: The query's own row of the gallery, None where it is not in it.
    """

    run: Run
    title: str
    drawn: dict[str, Any]
    answer: Answer | None = None
    gallery: Gallery | None = None
    order: float = math.nan
    waits: list[ask.Question] = field(default_factory=list)
    failed: list[ask.Question] = field(default_factory=list)
    z: np.ndarray | None = None
    place: int | None = None

    @property
    def color(self) -> str:
        """Of its loss, #rrggbb."""
        return str(self.drawn["color"])


def of_runs(
    runs: Sequence[Run], titles: Sequence[str], asked: Asked, k: int, classes: Sequence[str]
) -> list[Row]:
    """A row for each run, in the order that is asked for.

    Args:
        runs: Finished runs; the queries come from the first one's test split.
        titles: Their names among each other.
        asked: What asks.
        k: How many images.
        classes: Name of each label.
    """
    named = list(zip(runs, titles, strict=True))
    rows = [of_run(run, title, runs[0], asked, k, classes) for run, title in named]
    waits = [question for row in rows for question in row.waits]
    if waits and ask.answered_within(waits, SHORT_SECONDS):  # a look at the page less
        rows = [of_run(run, title, runs[0], asked, k, classes) for run, title in named]
    if not st.session_state[query.BY]:
        return rows
    return sorted(rows, key=lambda row: -row.order if not math.isnan(row.order) else math.inf)


def of_run(run: Run, title: str, reference: Run, asked: Asked, k: int, classes: Sequence[str]) -> Row:
    """The row of one run; arguments as in `of_runs`."""
    config = cache.config(run)
    color = loss_color(config.loss, config.params)

    def without(text: str, *waits: ask.Question) -> Row:
        return Row(run, title, gallery.note(title, color, text), waits=list(waits))

    other = gallery.foreign(run, reference)
    if other:
        return without(other)
    everything = st.session_state[query.GALLERY] == "all"
    if (asked.upload or everything) and not ask.can_answer(run):
        what = "only its own test images can ask" if asked.upload else "only its test split can be searched"
        return without(f"This run came without its weights: {what}. Runs that you train keep theirs.")
    try:
        place = cache.gallery(run, everything)
        questions = [embedding(run, asked.upload)] if asked.upload else []
        if not place:
            questions.append(cache.others(run))
        replies = [ask.ask(question) for question in questions]
        failed = {
            q: reply.error for q, reply in zip(questions, replies, strict=True) if reply.state == "failed"
        }
        if failed:
            row = without(next(iter(failed.values())))
            row.failed = list(failed)
            return row
        place = place or cache.gallery(run, everything)
        waiting = [q for q, reply in zip(questions, replies, strict=True) if reply.state == "waiting"]
        if place is None or waiting:  # not for what is answered: the page would be drawn again at once
            return without("Computing …", *(waiting or questions))
        if asked.upload:
            z, own = replies[0].arrays["z"][0], None
            answer = search_for(z, asked.labels, place.z, place.y, k)
        else:
            own = place.rows.get(asked.name)
            if own is None:
                return without(gallery.absent(run, asked.name))
            z, answer = place.z[own], search(place.z, place.y, own, k)
        value = _value(run, place, z, asked, own)
        about = _about(run, reference, place, own)
    except (MaclError, OSError) as error:
        return without(gallery.unreadable(error))

    drawn = gallery.row(title, color, answer, place.names, classes, about, place.splits)
    by = st.session_state[query.BY]
    if not math.isnan(value) and by != "map_sim":  # which is the AP that every row shows
        drawn["facts"].insert(0, f"{METRICS[by]} {percent(value)}")
    drawn |= {"key": run.id, "why": ask.can_answer(run)}
    return Row(run, title, drawn, answer, place, value, z=z, place=own)


def embedding(run: Run, upload: str) -> ask.Question:
    """What to ask for the embedding of the uploaded picture of this key."""
    return ask.Question("embed", str(run.path), ask.PICTURE + upload)


def _value(run: Run, place: Gallery, z: np.ndarray, asked: Asked, own: int | None) -> float:
    """The metric that rows are ordered by, of this query; nan without one, or without labels."""
    by = st.session_state[query.BY]
    if not by or asked.labels is None:
        return math.nan
    if own is not None and len(place.z) == len(cache.test_names(run)) <= TABLE_LIMIT:
        return float(cache.query_scores(run)[by][own])
    return metrics_of(z, asked.labels, place.z, place.y, own)[by]


def _about(run: Run, reference: Run, place: Gallery, own: int | None) -> str:
    """What is particular about this answer, and the run as a whole."""
    parts = [gallery.about(run)]
    if "train" not in place.splits and cache.test_names(run) != cache.test_names(reference):
        parts.insert(0, f"searches another test split (seed {cache.config(run).seed})")
    if own is not None and place.splits[own] != "test":
        parts.insert(0, f"the query is one of its {gallery.SPLITS[place.splits[own]]} images")
    return " · ".join(parts)
