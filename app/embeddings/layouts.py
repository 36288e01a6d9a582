"""Where the images of each run lie: PCA at once, UMAP as soon as it is in the cache, laid over the first run.

The first run begins with its principal components. Every other run begins where the first one has put the
same images, and is turned onto it at the end (Procrustes): what two losses have in common stays in place,
what differs moves. AlignedUMAP would bend every picture towards its neighbours instead. Through training,
each epoch begins with the next later one in the same way. No streamlit but the cache.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app import cache
from app.embeddings.points import origin
from core import projection
from core.errors import MaclError
from core.metrics import space
from core.projection import Step, Umap
from core.retrieval.search import Gallery
from core.runs import Run

Floats = NDArray[np.float64]
MOST_DOTS = 3_000_000  # of all epochs of a run; beyond, some epochs are left out


@dataclass(frozen=True, eq=False)
class Moment:
    """A space to lay out: a run's final one or that after an epoch.

    Attributes:
        epoch: After which it was saved.
        step: How UMAP gets it.
        onto: Number of the moment, of its run, that it is laid over; −1: the final one of the first run.
    """

    epoch: int
    step: Step
    onto: int


@dataclass(frozen=True, eq=False)
class Picture:
    """Where the images of one run lie.

    Attributes:
        epochs: One, or several through training.
        positions: Of each epoch, (N, dims).
        final: Number of the epoch whose embeddings are the run's own.
        method: umap or pca.
    """

    epochs: tuple[int, ...]
    positions: tuple[Floats, ...]
    final: int
    method: str


def saved(run: Run) -> list[int]:
    """Epochs whose saved embeddings can be read and are those of the run's test images, ascending."""
    images, epochs = len(cache.embeddings(run)[0]), []
    for epoch in cache.frames(run):
        with suppress(MaclError):
            z = cache.frame(run, epoch)
            if z.ndim == 2 and len(z) == images and np.isfinite(z).all():
                epochs.append(epoch)
    return epochs


def moments(
    chosen: Sequence[Run], galleries: Sequence[Gallery], umap: Umap, training: bool
) -> list[list[Moment]]:
    """What is to be laid out of each run, in the order in which one may begin with another."""
    by_run: list[list[Moment]] = []
    first: Step | None = None
    for run, gallery in zip(chosen, galleries, strict=True):
        back = origin(gallery, galleries[0])
        final = Step(gallery.z, umap, first, back) if first is not None else Step(gallery.z, umap)
        first = first or final
        last = int(cache.scores(run).get("epoch", cache.config(run).epochs))
        of_run = [Moment(last, final, -1)]
        if training:
            of_run += _through_training(run, gallery, umap, of_run[0])
        by_run.append(of_run)
    return by_run


def _through_training(run: Run, gallery: Gallery, umap: Umap, final: Moment) -> list[Moment]:
    """Earlier epochs from the last one back, then later ones (where the best epoch was kept) onward."""
    epochs = [epoch for epoch in saved(run) if epoch != final.epoch]
    spare = max(1, MOST_DOTS // max(1, len(gallery.z)))
    if len(epochs) > spare:
        epochs = [epochs[i] for i in np.unique(np.linspace(0, len(epochs) - 1, spare).astype(int))]
    before = [epoch for epoch in epochs if epoch < final.epoch][::-1]
    after = [epoch for epoch in epochs if epoch > final.epoch]
    moments: list[Moment] = []
    same = np.arange(len(gallery.z))
    for part in (before, after):
        beside, number = final.step, 0
        for epoch in part:
            beside = Step(cache.frame(run, epoch), umap, beside, same)
            moments.append(Moment(epoch, beside, number))
            number = len(moments)  # the final one is number 0
    return moments


def pictures(
    by_run: Sequence[Sequence[Moment]], galleries: Sequence[Gallery], method: str, dims: int
) -> list[Picture]:
    """The pictures that can be drawn now: UMAP where all epochs of a run are there, else PCA."""
    drawn: list[Picture] = []
    reference: tuple[Floats, str] | None = None
    for of_run, gallery in zip(by_run, galleries, strict=True):
        raw = [projection.layout(moment.step) for moment in of_run] if method == "umap" else []
        ready = bool(raw) and all(layout is not None for layout in raw)
        positions: list[Floats] = []
        marks: list[str] = []
        for number, moment in enumerate(of_run):
            layout = raw[number] if ready else None
            mark = moment.step.key if ready else f"pca {dims} {_content(moment.step)}"
            if moment.onto < 0:
                onto, back, mark_onto = None, None, ""
                if reference is not None:
                    onto, mark_onto = reference
                    back = origin(gallery, galleries[0])
            else:
                onto, back, mark_onto = positions[moment.onto], None, marks[moment.onto]
            mark = hashlib.sha256(f"{mark} onto {mark_onto} {_rows(back)}".encode()).hexdigest()
            z = moment.step.z

            def lay_out(
                layout: object = layout, z: object = z, onto: object = onto, back: object = back
            ) -> Floats:
                shape = projection.pca(z, dims) if layout is None else layout  # type: ignore[arg-type]
                return projection.align(shape, onto, back)  # type: ignore[arg-type]

            positions.append(cache.remembered(f"places {mark}", lay_out))
            marks.append(mark)
        if reference is None:
            reference = positions[0], marks[0]
        order = sorted(range(len(of_run)), key=lambda number: of_run[number].epoch)
        drawn.append(
            Picture(
                tuple(of_run[number].epoch for number in order),
                tuple(positions[number] for number in order),
                order.index(0),
                "umap" if ready else "pca",
            )
        )
    return drawn


def trust(gallery: Gallery, picture: Picture) -> float:
    """Trustworthiness of a run's final picture."""
    positions = picture.positions[picture.final]
    mark = hashlib.sha256(np.ascontiguousarray(positions).tobytes()).hexdigest()
    return float(cache.remembered(f"trust {mark}", lambda: space.trustworthiness(gallery.z, positions)))


def _content(step: Step) -> str:
    return hashlib.sha256(np.ascontiguousarray(step.z).tobytes()).hexdigest()


def _rows(rows: NDArray[np.int64] | None) -> str:
    return "" if rows is None else hashlib.sha256(rows.tobytes()).hexdigest()
