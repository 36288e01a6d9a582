"""What each chosen run answers: rows of the grid, or why there is none; and what has still to be computed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import streamlit as st

from app import cache
from app.kit import gallery, retrieved
from app.kit.palette import loss_color
from app.kit.query import BY, GALLERY
from app.kit.retrieved import Retrieved, Row
from app.kit.upload import UPLOADED, embedding
from core.errors import MaclError
from core.retrieval import ask
from core.retrieval.search import Answer, Gallery, metrics_of, search_for
from core.runs import Run

SHORT_SECONDS = 0.5  # in which a warm embedder embeds a picture for all runs
TABLE_LIMIT = 1500  # test images up to which all queries are scored at once, in a twentieth of a second


@dataclass(frozen=True, eq=False)
class Query:
    """The image that asks.

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


@dataclass(frozen=True, eq=False)
class Searched:
    """A query as one run sees it, and what that run searches.

    Attributes:
        z: Embedding (D,) of the query.
        labels: (L,) of the query as this run knows them; None where nobody does.
        gallery: What is searched.
        position: The query's own row of the gallery, None where it is not in it.
    """

    z: np.ndarray
    labels: np.ndarray | None
    gallery: Gallery
    position: int | None = None

    @property
    def size(self) -> int:
        """How many images are searched: the query is never among them."""
        return len(self.gallery.z) - (self.position is not None)

    def nearest(self, k: int) -> Answer:
        """The k nearest images."""
        z, y = self.gallery.z, self.gallery.y
        return search_for(self.z, self.labels, z, y, k, self.position)

    def ranking(self, classes: Sequence[str]) -> tuple[Retrieved, ...]:
        """The whole gallery, best first; `classes` names each label."""
        return retrieved.images(self.nearest(len(self.gallery.z)), self.gallery, classes)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What has come of asking one run.

    Attributes:
        run: The run.
        row: Its answer, or why there is none.
        searched: Where the answer comes from; None without one.
        waits: What the embedder has still to answer.
        failed: What it could not answer.
    """

    run: Run
    row: Row
    searched: Searched | None = None
    waits: list[ask.Question] = field(default_factory=list)
    failed: list[ask.Question] = field(default_factory=list)


def of_runs(
    runs: Sequence[Run], titles: Sequence[str], query: Query, k: int, classes: Sequence[str]
) -> list[Outcome]:
    """What each run answers, in the order chosen on the page.

    Args:
        runs: Finished runs; the queries come from the first one's test split.
        titles: Their names among each other.
        query: The image that asks.
        k: How many images.
        classes: Name of each label.
    """
    named = list(zip(runs, titles, strict=True))
    outcomes = [of_run(run, title, runs[0], query, k, classes) for run, title in named]
    waits = [question for outcome in outcomes for question in outcome.waits]
    if waits and ask.answered_within(waits, SHORT_SECONDS):  # a look at the page less
        outcomes = [of_run(run, title, runs[0], query, k, classes) for run, title in named]
    if not st.session_state[BY]:
        return outcomes
    return sorted(outcomes, key=lambda one: math.inf if math.isnan(one.row.value) else -one.row.value)


def of_run(run: Run, title: str, reference: Run, query: Query, k: int, classes: Sequence[str]) -> Outcome:
    """What one run answers; arguments as in `of_runs`."""
    config = cache.config(run)
    color = loss_color(config.loss, config.params)

    def without(
        text: str, waits: Sequence[ask.Question] = (), failed: Sequence[ask.Question] = ()
    ) -> Outcome:
        return Outcome(run, Row(title, color, note=text), None, list(waits), list(failed))

    other = gallery.foreign(run, reference)
    if other:
        return without(other)
    everything = st.session_state[GALLERY] == "all"
    if (query.upload or everything) and not ask.can_answer(run):
        what = "only its own test images can ask" if query.upload else "only its test split can be searched"
        return without(f"This run came without its weights: {what}. Runs that you train keep theirs.")
    try:
        images = cache.gallery(run, everything)
        questions = [embedding(run, query.upload)] if query.upload else []
        if not images:
            questions.append(cache.others(run))
        replies = {question: ask.ask(question) for question in questions}
        errors = {question: reply.error for question, reply in replies.items() if reply.state == "failed"}
        if errors:
            return without(next(iter(errors.values())), failed=list(errors))
        images = images or cache.gallery(run, everything)
        waiting = [question for question, reply in replies.items() if reply.state == "waiting"]
        if images is None or waiting:  # not for what is answered: the page would be drawn again at once
            return without("Computing …", waiting or questions)
        if query.upload:
            searched = Searched(replies[questions[0]].arrays["z"][0], query.labels, images)
        elif (position := images.rows.get(query.name)) is None:
            return without(gallery.absent(run, query.name))
        else:
            searched = Searched(images.z[position], images.y[position], images, position)
        row = replace(
            retrieved.row(title, color, searched.nearest(k), images, classes),
            by=st.session_state[BY],
            value=_value(run, searched, query),
            about=_about(run, reference, searched),
            query=query.name,
            loss=config.loss,
            run=run.id,
            explained=ask.can_answer(run),
        )
    except (MaclError, OSError) as error:
        return without(gallery.unreadable(error))
    return Outcome(run, row, searched)


def _value(run: Run, searched: Searched, query: Query) -> float:
    """The metric that rows are ordered by, of this query; nan without one, or without labels."""
    by, images, position = st.session_state[BY], searched.gallery, searched.position
    if not by or query.labels is None:
        return math.nan
    if position is not None and len(images.z) == len(cache.test_names(run)) <= TABLE_LIMIT:
        return float(cache.query_scores(run)[by][position])
    return metrics_of(searched.z, query.labels, images.z, images.y, position)[by]


def _about(run: Run, reference: Run, searched: Searched) -> str:
    """What is particular about this answer, and the run as a whole."""
    parts, splits = [gallery.about(run)], searched.gallery.splits
    if "train" not in splits and cache.test_names(run) != cache.test_names(reference):
        parts.insert(0, f"searches another test split (seed {cache.config(run).seed})")
    if searched.position is not None and splits[searched.position] != "test":
        split = retrieved.SPLITS[splits[searched.position]]
        parts.insert(0, f"the query is one of its {split} images")
    return " · ".join(parts)
