"""Images into an archive: read and decoded beside the network, embedded, and committed every few seconds.

What is committed is never embedded again, so that after a kill the same call goes on where it was.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from core.archive import folder, labels, reading
from core.archive.adapter import Archive
from core.archive.catalogue import Catalogue
from core.archive.encoder import Encoder
from core.archive.images import Item
from core.archive.reading import Kind, Known, Read, Reader
from core.archive.table import Record
from core.data.decode import quiet_decoding
from core.data.look import Look
from core.data.prepared import Progress, prepared_size
from core.errors import MaclError
from core.runs import Run

if TYPE_CHECKING:
    from core.encoder.model import Backbone
    from core.encoder.trained import Trained

COMMIT_ROWS, COMMIT_SECONDS = 2048, 5.0  # what a kill costs at most
TOLD = 1000  # images that are there already, between two words of progress

_SYSTEM = re.compile(r"([A-Z][^():]*) \(os error \d+\)")
Rows = tuple[list[Record], list[np.ndarray]]
Result = TypeVar("Result")


@dataclass(eq=False)
class _Part:
    """A run's part of the archive.

    Attributes:
        archive: Its part.
        network: Its network.
        training: Embeddings and labels of its training images; None if they are gone.
        kind: How its images are prepared.
        ids: Images that are there, or about to be.
        was_empty: Whether nothing was there at the beginning: then nothing is outdated.
        records: Read and embedded, not committed yet.
        z: Their embeddings.
    """

    archive: Archive
    network: Trained
    training: tuple[np.ndarray, np.ndarray] | None
    kind: Kind
    ids: Known
    was_empty: bool
    records: list[Record] = field(default_factory=list)
    z: list[np.ndarray] = field(default_factory=list)


@dataclass
class Report:
    """What came of an addition.

    Attributes:
        added: New images, by the name of the run.
        there: Images that were there already with every run, under this or another name.
        outdated: Images removed because their file has another content now.
        gaps: Tiles left out because most of them has no data.
        scenes: Files that were cut into tiles.
        broken: Name and reason of what cannot be read.
        notes: What else to say.
    """

    added: dict[str, int] = field(default_factory=dict)
    there: int = 0
    outdated: int = 0
    gaps: int = 0
    scenes: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def add(
    uri: str | Path,
    runs: Sequence[Run],
    sources: Sequence[str],
    tile: int | None = None,
    stride: int | None = None,
    shard: tuple[int, int] = (1, 1),
    progress: Progress | None = None,
) -> Report:
    """Embed all images of the sources that are not there yet, with each of the runs.

    Args:
        uri: The archive, made if it is not there.
        runs: Finished runs.
        sources: As `core.archive.catalogue.Catalogue`.
        tile: As `core.archive.scene.tiles`.
        stride: As there.
        shard: As the sources.
        progress: Called with (done, total, what).

    Raises:
        MaclError: If a run has no weights, a source is not there, or memory or disk is short.
    """
    catalogue = Catalogue(sources, progress, shard)
    report = Report(broken=list(catalogue.broken))
    parts = _parts(uri, runs, report, progress)
    kinds = list(dict.fromkeys(part.kind for part in parts))
    stamps = [Known(part.archive.values("stamp")) for part in parts]
    done, total, last = 0, len(catalogue), time.monotonic()

    def told(more: int) -> None:
        nonlocal done, total
        done += more
        total = max(done, total)
        if progress:
            progress(done, total, "Embedding images")

    with quiet_decoding(), reading.room() as room, ThreadPoolExecutor(1) as beside:
        reader = Reader(kinds, tile, stride, stamps, [part.ids for part in parts], room)
        commit: Future[None] | None = None
        with closing(reading.in_order(_tasks(catalogue, reader, report, told), reader)) as reads:
            for read in reads:
                report.broken += read.broken
                report.gaps += read.gaps
                report.there += read.there + _embed(parts, read)
                report.scenes += len(read.scenes)
                total += sum(scene.left - 1 for scene in read.scenes)
                told(read.done)
                rows = len(parts[0].records)
                if rows >= COMMIT_ROWS or time.monotonic() - last > COMMIT_SECONDS:
                    if commit:
                        commit.result()
                    commit, last = beside.submit(_commit, parts, _taken(parts), report), time.monotonic()
        if commit:
            commit.result()
        _commit(parts, _taken(parts), report)
    report.broken = list(dict.fromkeys(report.broken))  # a scene is read in many parts
    for part in parts:
        _written(part.archive.folder, part.archive.tidy)
    return report


def _parts(uri: str | Path, runs: Sequence[Run], report: Report, progress: Progress | None) -> list[_Part]:
    """The part of each run, with its network; of runs with the same encoder only one."""
    from core import device
    from core.encoder import trained  # torch

    device.keep_memory()
    backbones: dict[tuple[str, str, int], Backbone] = {}
    parts: dict[str, _Part] = {}
    for run in runs:
        network = trained.read(run, backbones)
        encoder = Encoder.of(run, network)
        if encoder.id in parts:
            continue
        archive = _written(Path(uri), lambda: folder.create(uri, encoder))  # noqa: B023  called at once
        training = _written(archive.folder, lambda: _training(run, network, archive, report, progress))  # noqa: B023
        kind = prepared_size(encoder.image_size), Look.of(encoder.look)
        ids = Known(archive.ids())
        parts[encoder.id] = _Part(archive, network, training, kind, ids, not len(ids))
        report.added[archive.encoder.name] = 0
    return list(parts.values())


def _training(
    run: Run, network: Trained, archive: Archive, report: Report, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """What labels are predicted from; None, which is noted, if it is gone."""
    try:
        return labels.training_images(run, network, archive.folder, progress)
    except MaclError as error:
        report.notes.append(f"no labels are predicted by {run.id}: {error}")
        return None


def _tasks(
    catalogue: Catalogue, reader: Reader, report: Report, told: Callable[[int], None]
) -> Iterator[list[Item]]:
    """The images that have to be read, some at a time."""
    some: list[Item] = []
    size = there = 0
    for item in catalogue:
        if reader.is_known(item.stamp()):
            there += 1
            if there % TOLD == 0:
                told(TOLD)
            continue
        if some and size + item.size > reading.HELD:
            yield some
            some, size = [], 0
        some.append(item)
        size += item.size
        if len(some) == reading.CHUNK:
            yield some
            some, size = [], 0
    report.there += there
    told(there % TOLD)
    if some:
        yield some


def _embed(parts: Sequence[_Part], read: Read) -> int:
    """Embed what is new to each run; returns how many images are new to none."""
    wanted: set[int] = set()
    for part in parts:
        new = []
        for i, record in enumerate(read.records):
            if record.id not in part.ids:
                part.ids.add(record.id)
                new.append(i)
        if new:
            pixels = read.pixels[part.kind]
            part.z.append(part.network.embed(pixels if len(new) == len(pixels) else pixels[new]))
            part.records += [read.records[i] for i in new]
            wanted.update(new)
    return len(read.records) - len(wanted)


def _taken(parts: Sequence[_Part]) -> list[Rows]:
    """What has been embedded for each part, which begins anew."""
    taken = [(part.records, part.z) for part in parts]
    for part in parts:
        part.records, part.z = [], []
    return taken


def _commit(parts: Sequence[_Part], taken: Sequence[Rows], report: Report) -> None:
    """Add what has been embedded, with its labels; before it, what it replaces is removed."""
    for part, (records, some) in zip(parts, taken, strict=True):
        if not records:
            continue
        z, archive = np.concatenate(some), part.archive
        predicted = labels.predict(z, part.training, archive.encoder.classes)
        rows = [replace(record, **asdict(p)) for record, p in zip(records, predicted, strict=True)]
        if not part.was_empty and (outdated := _outdated(archive, rows)):
            report.outdated += _written(archive.folder, lambda: archive.remove(outdated))  # noqa: B023  called at once
        added = _written(archive.folder, lambda: archive.add(rows, z))  # noqa: B023
        report.added[archive.encoder.name] += added
        if part is parts[0]:  # added by another process meanwhile
            report.there += len(rows) - added


def _outdated(archive: Archive, rows: Sequence[Record]) -> list[int]:
    """Ids of the images that were at the places of these, and are others."""
    names = sorted({"'" + row.source.replace("'", "''") + "'" for row in rows})
    where = f"source IN ({', '.join(names)})"
    columns = [archive.values(name, where) for name in ("source", "window", "id")]
    now = {(row.source, row.window): row.id for row in rows}
    found = (
        (now.get((source, window)), int(number)) for source, window, number in zip(*columns, strict=True)
    )
    return [before for after, before in found if after is not None and after != before]


def _written(place: Path, work: Callable[[], Result]) -> Result:
    """What `work` gives; MaclError if the disk is full, or may not be written."""
    try:
        return work()
    except (OSError, RuntimeError) as error:
        said = _SYSTEM.search(str(error))  # of the table: it has the system's error in its text
        if not isinstance(error, OSError) and said is None:
            raise
        why = said[1] if said else getattr(error, "strerror", None) or error
        raise MaclError(
            f"{place} cannot be written ({why}): mend that, then give the same command again; what was "
            "embedded up to a few seconds ago is kept"
        ) from error
