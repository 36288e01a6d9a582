"""What each encoder of an archive answers: rows of the grid, or why there is none."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

import numpy as np
import streamlit as st

from app import cache, image_cache
from app.archive import state
from app.kit import gallery
from app.kit.names import short_labels, unique
from app.kit.palette import loss_color
from app.kit.retrieved import Retrieved, Row
from app.kit.upload import UPLOADED, embedding, picture
from app.kit.words import percent
from core.archive import Archive, Encoder, Hit, Record
from core.archive.labels import predict
from core.archive.marks import precision
from core.archive.query import combined
from core.errors import MaclError
from core.retrieval import ask
from core.runs import Run

RIGHT, WRONG = "right", "wrong"
SHORT_SECONDS = 0.5  # in which a warm embedder embeds a picture for all runs


@dataclass(frozen=True, eq=False)
class Part:
    """What one encoder has embedded.

    Attributes:
        archive: Its part of the archive.
        lock: Held while that is read.
        run: Where the encoder comes from; None if it is gone.
        title: For people.
        color: Of the run's loss, #rrggbb.
    """

    archive: Archive
    lock: Lock
    run: Run | None
    title: str
    color: str

    @property
    def id(self) -> str:
        """Of the encoder."""
        return self.archive.encoder.id

    def records(self, ids: Sequence[int]) -> dict[int, Record]:
        """What is kept of these images, as far as they are there."""
        with self.lock:
            return self.archive.records(ids)


@dataclass(frozen=True, eq=False)
class Query:
    """What asks.

    Attributes:
        key: As the address has it; `UPLOADED` for a picture.
        name: For people.
        uri: Its picture, a data URI; empty for none.
        plus: Ids of further wanted examples.
        minus: Of unwanted ones.
    """

    key: str
    name: str
    uri: str
    plus: tuple[int, ...] = ()
    minus: tuple[int, ...] = ()

    @property
    def image(self) -> int | None:
        """Id of the image of the archive that asks; None for another."""
        return number_of(self.key)

    @property
    def examples(self) -> list[int]:
        """Images of the archive that ask, and so are no results."""
        own = [] if self.image is None else [self.image]
        return list(dict.fromkeys([*own, *self.plus, *self.minus]))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What has come of asking one encoder.

    Attributes:
        part: Of the archive.
        note: Why there is no answer.
        hits: The images, best first.
        how: Whether the answer is exact, in words.
        size: Images among which it was looked.
        labels: Those that are predicted for the query.
        waits: What the embedder has still to answer.
        failed: What it could not answer.
    """

    part: Part
    note: str = ""
    hits: tuple[Hit, ...] = ()
    how: str = ""
    size: int = 0
    labels: tuple[str, ...] = ()
    waits: list[ask.Question] = field(default_factory=list)
    failed: list[ask.Question] = field(default_factory=list)


class Waiting(Exception):
    """The embedder has something still to answer, or could not.

    Attributes:
        questions: Which.
        failed: Whether it could not.
    """

    def __init__(self, text: str, questions: list[ask.Question], failed: bool = False) -> None:
        super().__init__(text)
        self.questions, self.failed = questions, failed


def parts_of(uri: str) -> list[Part]:
    """The parts of an archive; MaclError if there is none, or it cannot be read."""
    opened = image_cache.archive(uri)
    found = [run_of(archive.encoder) for archive, _ in opened]
    short = iter(short_labels([run for run in found if run is not None]))
    encoders = [archive.encoder for archive, _ in opened]
    titles = unique(
        [encoder.name if run is None else next(short) for run, encoder in zip(found, encoders, strict=True)],
        [encoder.name for encoder in encoders], [encoder.id for encoder in encoders],
    )  # fmt: skip
    parts = []
    for (archive, lock), run, title in zip(opened, found, titles, strict=True):
        color = gallery.UNKNOWN if run is None else loss_color(run.config.loss, run.config.params)
        parts.append(Part(archive, lock, run, title, color))
    return parts


def run_of(encoder: Encoder) -> Run | None:
    """The run of an encoder: where it was, or of the same name among the runs here; None if it is gone."""
    known = cache.finished_runs()
    here = [run for run in known if str(run.path) == encoder.path]
    return next(iter(here or [run for run in known if run.id == encoder.run]), None)


def number_of(key: str) -> int | None:
    """Id of the image that a query names; None if it names another."""
    text = key.removeprefix(state.LIKE)
    return int(text) if key.startswith(state.LIKE) and text.isdecimal() else None


def called(record: Record) -> str:
    """A short name of an image."""
    return f"{Path(record.source).name} {record.window}".strip()


def uri(record: Record) -> str:
    """Its picture as a data URI; empty if it has none."""
    if not record.thumbnail:
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(record.thumbnail).decode()}"


def of_parts(parts: Sequence[Part], query: Query, where: str | None) -> list[Outcome]:
    """What each part answers.

    Args:
        parts: Of one archive.
        query: What asks.
        where: Condition on what is searched.
    """
    outcomes = [of_part(part, parts[0], query, where) for part in parts]
    waits = [question for outcome in outcomes for question in outcome.waits]
    if waits and ask.answered_within(waits, SHORT_SECONDS):  # a look at the page less
        outcomes = [of_part(part, parts[0], query, where) for part in parts]
    return outcomes


def of_part(part: Part, first: Part, query: Query, where: str | None) -> Outcome:
    """What one part answers; arguments as in `of_parts`."""
    k, exact = st.session_state[state.COUNT], st.session_state[state.EXACT]
    try:
        with part.lock:
            z = combined(
                np.vstack([_own(part, first, query), part.archive.vectors(query.plus)]),
                part.archive.vectors(query.minus),
            )
            answer = part.archive.search(z, k + len(query.examples), where, exact)
            size = len(part.archive)
    except Waiting as error:
        waits, failed = ([], error.questions) if error.failed else (error.questions, [])
        return Outcome(part, str(error), waits=waits, failed=failed)
    except (MaclError, OSError) as error:
        return Outcome(part, f"No answer: {error}.")
    hits = tuple(hit for hit in answer.hits if hit.record.id not in query.examples)[:k]
    known = image_cache.training(part.archive)
    labels = predict(z[None], known, part.archive.encoder.classes)[0].labels
    note = "" if hits else "No other image fits the filter: widen it."
    return Outcome(part, note, hits, answer.how, size, labels)


def drawn(outcome: Outcome, query: Query, marks: Mapping[int, bool]) -> Row:
    """The row of an outcome; `marks` says which images a person has called right or wrong."""
    part, hits = outcome.part, outcome.hits
    facts = [outcome.how] if outcome.how else []
    if hits:
        facts.append(f"cosine {hits[0].cosine:.3f} to {hits[-1].cosine:.3f}")
    counted = precision([hit.record.id for hit in hits], marks)
    if counted.marked:
        low, high = counted.interval
        facts.append(
            f"precision@{counted.k} {percent(counted.share, 0)} "
            f"(95 %: {100 * low:.0f} to {100 * high:.0f} %; {counted.right} of {counted.marked} marked)"
        )
    return Row(
        part.title,
        part.color,
        tuple(retrieved(rank, hit, outcome.labels, marks) for rank, hit in enumerate(hits, 1)),
        note=outcome.note,
        about=f"labels predicted, {outcome.size:,} images" if outcome.size else "",
        query=query.name,
        run=part.archive.encoder.run,
        facts=tuple(facts),
    )


def retrieved(rank: int, hit: Hit, labels: Sequence[str], marks: Mapping[int, bool]) -> Retrieved:
    """A result, its predicted labels beside those predicted for the query."""
    record = hit.record
    shared = tuple(name for name in record.labels if name in labels)
    pressed = [RIGHT if marks[record.id] else WRONG] if record.id in marks else []
    found = Retrieved(
        rank, f"{state.LIKE}{record.id}", "test", hit.cosine, math.nan, record.labels,
        title=called(record), marks=tuple(pressed)
    )  # fmt: skip
    if not labels:
        return found
    return replace(
        found,
        jaccard=len(shared) / len({*labels, *record.labels}),
        shared=shared,
        missing=tuple(name for name in labels if name not in shared),
        extra=tuple(name for name in record.labels if name not in shared),
    )


def _own(part: Part, first: Part, query: Query) -> np.ndarray:
    """Embedding (1, D) of what asks, by this encoder and no other.

    Raises:
        MaclError: If this encoder has none.
        Waiting: If the embedder has to say something first.
    """
    if query.image is not None:
        return part.archive.vectors([query.image])
    run = part.run
    if run is None or not ask.can_answer(run):
        what = "The run of this encoder" if run is None else "The weights of this run"
        raise MaclError(f"{what} cannot be found here: only images of the archive can ask. Put it back")
    questions = [ask.Question("encoder", str(run.path))]
    if query.key == UPLOADED:
        asking = picture(state.PAGE) or {"key": ""}
        questions.append(embedding(run, asking["key"]))
    replies = [ask.ask(question) for question in questions]
    for question, reply in zip(questions, replies, strict=True):
        if reply.state == "failed":
            raise Waiting(reply.error, [question], failed=True)
    waits = [question for question, reply in zip(questions, replies, strict=True) if reply.state == "waiting"]
    if waits:
        raise Waiting("Computing …", waits)
    if replies[0].arrays["id"].tobytes().decode() != part.id:
        raise MaclError(
            "this run is another encoder now than the one that embedded the archive: only images of the "
            "archive can ask. Embed the images again with it, or put it back"
        )
    if query.key == UPLOADED:
        return replies[1].arrays["z"]
    name = query.key.removeprefix(state.IMAGE)
    reference = first.run or run
    if other := gallery.foreign(run, reference):
        raise MaclError(other)
    rows = cache.test_rows(run)
    if name not in rows:
        raise MaclError(gallery.absent(run, name))
    return cache.embeddings(run)[0][[rows[name]]]
