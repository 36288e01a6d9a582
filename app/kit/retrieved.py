"""What one run retrieves for one query, as facts; grid, table, picture and captions are made from them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.kit.words import percent
from core.metrics import METRICS
from core.retrieval.search import Answer, Gallery

SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Retrieved:
    """One image of a ranking; labels by name.

    Attributes:
        rank: From 1.
        name: Of the image.
        split: train, val or test.
        cosine: Similarity with the query, −1 … 1.
        jaccard: Jaccard index with the query's labels; nan where nobody knows them.
        labels: All that the image holds.
        shared: Those that the query holds as well.
        missing: Those that only the query holds.
        extra: Those that only the image holds. Of an unknown query all three are empty.
        title: What it is called, where that is not its name.
        marks: What a person has said of it: keys of the actions of the grid.
    """

    rank: int
    name: str
    split: str
    cosine: float
    jaccard: float
    labels: tuple[str, ...]
    shared: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    title: str = ""
    marks: tuple[str, ...] = ()

    @property
    def compared(self) -> bool:
        """Whether the query's labels are known."""
        return not math.isnan(self.jaccard)


@dataclass(frozen=True)
class Row:
    """One run's answer to one query.

    Attributes:
        title: The run's name for people.
        color: Of its loss, #rrggbb.
        images: The nearest to the query, best first; none where the run has no answer.
        note: Why it has none.
        answer: The figures of this query; None where there is none.
        by: Metric that rows are ordered by, a key of METRICS; empty for none.
        value: That metric of this query, nan where it has none.
        about: What is particular about the answer, and the run as a whole.
        query: Name of the image that asks.
        loss: Key of the run's loss.
        run: Name of the run folder.
        explained: Whether the run can say why an image is similar.
        facts: Its figures in words, where there is no `answer`.
    """

    title: str
    color: str
    images: tuple[Retrieved, ...] = ()
    note: str = ""
    answer: Answer | None = None
    by: str = ""
    value: float = math.nan
    about: str = ""
    query: str = ""
    loss: str = ""
    run: str = ""
    explained: bool = False
    facts: tuple[str, ...] = ()

    @property
    def captions(self) -> list[str]:
        """Its figures in words."""
        if self.answer is None:
            return list(self.facts)
        captions, k = [], len(self.images)
        if self.by not in ("", "map_sim") and not math.isnan(self.value):  # map_sim is the AP
            captions.append(f"{METRICS[self.by]} {percent(self.value)}")
        if not all(image.compared for image in self.images):
            first, last = self.images[0].cosine, self.images[-1].cosine
            return [*captions, f"cosine {first:.3f} to {last:.3f}"]
        ap = self.answer.ap
        captions.append("no image shares a label" if math.isnan(ap) else f"AP {percent(ap)}")
        if self.images:
            captions.append(f"precision@{k} {percent(self.answer.precision, 0)}")
            captions.append(f"mean Jaccard@{k} {self.answer.jaccard:.2f}")
        return captions


def row(title: str, color: str, answer: Answer, gallery: Gallery, classes: Sequence[str]) -> Row:
    """The row of an answer.

    Args:
        title: The run, for people.
        color: Of its loss, #rrggbb.
        answer: From `core.retrieval.search`.
        gallery: What was searched.
        classes: Name of each label.
    """
    return Row(title, color, images(answer, gallery, classes), answer=answer)


def images(answer: Answer, gallery: Gallery, classes: Sequence[str]) -> tuple[Retrieved, ...]:
    """The images of an answer, best first; arguments as in `row`."""

    def names(columns: Sequence[int]) -> tuple[str, ...]:
        return tuple(classes[column] for column in columns)

    ranking = []
    for rank, neighbour in enumerate(answer.neighbours, start=1):
        parts = (neighbour.shared, neighbour.missing, neighbour.extra)
        ranking.append(
            Retrieved(
                rank,
                gallery.names[neighbour.row],
                gallery.splits[neighbour.row],
                neighbour.cosine,
                neighbour.jaccard,
                names(np.flatnonzero(gallery.y[neighbour.row]).tolist()),
                *(() if math.isnan(neighbour.jaccard) else map(names, parts)),
            )
        )
    return tuple(ranking)
