"""The rows of an archive, and how LanceDB keeps them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.errors import MaclError

NAME = "rows"
VECTOR = "vector"
FORMAT = "2.1"  # of new tables: single rows are read in two thirds of the time that 2.2 takes
BATCH = 1 << 16  # rows read at once; the library's own are so small that a scan takes ten times as long
SUBVECTORS = (4, 8, 5, 6, 7)  # values that the index keeps as one byte, the best first
QUERY_COLUMNS = "source, window, label, share, labels, lat, lon, crs, date"


LACKING = "an archive needs the package lancedb"
INSTALL = ".venv/bin/pip install --constraint constraints.txt --editable '.[archive]'"


def is_missing() -> bool:
    """Whether the package that keeps the rows is not installed."""
    return importlib.util.find_spec("lancedb") is None


@dataclass(frozen=True)
class Record:
    """What is kept of one image, beside its vector.

    Attributes:
        id: From its content, and its window in a scene; the same with every encoder.
        stamp: From the name, size and time of its file: what need not be read again.
        source: Path of the file, or of the archive and the place in it.
        window: Left, top, width and height in the scene it is cut from, pixels; empty for a whole image.
        lon: Longitude of its middle, degrees; None where the file has no coordinates.
        lat: Latitude.
        crs: Coordinate system of the file; empty if it has none.
        date: YYYY-MM-DD; empty if none is found.
        label: The label that most of the nearest training images hold; empty if they are gone.
        share: How many of these do.
        labels: All labels that at least half of them hold.
        thumbnail: A small JPEG.
    """

    id: int
    stamp: int
    source: str
    window: str = ""
    lon: float | None = None
    lat: float | None = None
    crs: str = ""
    date: str = ""
    label: str = ""
    share: float = 0.0
    labels: tuple[str, ...] = ()
    thumbnail: bytes = b""


COLUMNS = [
    ("id", pa.int64()),
    ("stamp", pa.int64()),
    ("source", pa.string()),
    ("window", pa.string()),
    ("lon", pa.float64()),
    ("lat", pa.float64()),
    ("crs", pa.string()),
    ("date", pa.string()),
    ("label", pa.string()),
    ("share", pa.float64()),
    ("labels", pa.list_(pa.string())),
    ("thumbnail", pa.binary()),
]
FIELDS = [name for name, _ in COLUMNS]
WHOLE = (
    "record"  # all but the thumbnail once more, as JSON: single rows of twelve columns take twice the time
)
STORED = [*FIELDS, WHOLE]


@dataclass(frozen=True)
class Hit:
    """One answer: an image and its cosine with the query."""

    cosine: float
    record: Record


@dataclass(frozen=True)
class Index:
    """An approximate index, as it was measured on rows of the archive itself.

    Attributes:
        rows: It holds the first rows; those after it are searched exactly.
        kind: Name of the method, with its sizes.
        probes: Partitions that are looked at.
        k: Of the recall.
        recall: Mean recall@k of approximate answers.
        worst: Of the worst query.
    """

    rows: int
    kind: str
    probes: int
    k: int
    recall: float
    worst: float


@dataclass(frozen=True)
class Answer:
    """The best images, best first; equal cosines in the order in which they were added.

    Attributes:
        hits: Image and cosine.
        index: What the answer rests on; None if it is exact.
    """

    hits: tuple[Hit, ...]
    index: Index | None = None

    @property
    def how(self) -> str:
        """In words."""
        return "exact" if self.index is None else f"approximate, {recall_of(self.index)}"


def recall_of(index: Index) -> str:
    """Measured recall in words; never rounded up to a perfect one."""
    if np.isnan(index.recall):
        return "recall not measured"
    return f"recall@{index.k} {np.floor(index.recall * 1000) / 1000:.3f}"


class Table:
    """The LanceDB table of one generation.

    Args:
        folder: Of the generation.
        dim: D, the embedding size.
        create: Make it.
    """

    def __init__(self, folder: Path, dim: int, create: bool = False) -> None:
        if is_missing():
            raise MaclError(f"{LACKING}: {INSTALL}")
        import lancedb  # 1 s, and only archives need it

        self.dim = dim
        # at no interval: what another process has added is seen by the next search
        database = lancedb.connect(
            str(folder),
            read_consistency_interval=timedelta(0),
            storage_options={"new_table_data_storage_version": FORMAT},
        )
        if create:
            self._lance: Any = database.create_table(NAME, schema=_schema(dim))
        else:
            self._lance = database.open_table(NAME)

    def count(self) -> int:
        """Rows, removed ones too."""
        return int(self._lance.count_rows())

    def add(self, start: int, kept: pa.Table, z: NDArray[np.float32]) -> None:
        """Commit rows numbered from `start`: all of them or none.

        Args:
            start: Number of the first.
            kept: From `to_arrow`, or the columns `STORED` of another table.
            z: Their vectors (n, D).
        """
        columns: dict[str, Any] = {name: kept[name] for name in STORED}
        columns["row"] = np.arange(start, start + len(z))
        vectors = pa.array(np.ascontiguousarray(z, np.float32).ravel())
        columns[VECTOR] = pa.FixedSizeListArray.from_arrays(vectors, self.dim)
        self._lance.add(pa.table(columns, schema=_schema(self.dim)))

    def read(self, names: Sequence[str], where: str | None = None) -> pa.Table:
        """Columns, in the order of the rows.

        Raises:
            MaclError: If the condition cannot be understood.
        """
        query = self._lance.search().select(["row", *names])
        if where is None:
            return _all_of(query)
        try:
            return _all_of(query.where(where))
        except (ValueError, RuntimeError) as error:
            if "not found" in str(error).lower() and "field" not in str(error).lower():
                raise  # a file: the table has been replaced
            why = " ".join(str(error).split()).removeprefix("Invalid input, ")[:200]
            raise MaclError(
                f"the condition {where!r} is not understood ({why}): need SQL over {QUERY_COLUMNS}, such as "
                "label = 'harbor' AND lat > 40"
            ) from None

    def span(self, names: Sequence[str], start: int, stop: int) -> pa.Table:
        """Columns of a range of rows."""
        # by position: the rows are only ever added, in their order
        query = self._lance.search().select(["row", *names]).offset(start).limit(stop - start)
        found = _all_of(query)
        if np.array_equal(found["row"].to_numpy(), np.arange(start, stop)):
            return found
        return self.read(names, f"row >= {start} AND row < {stop}")

    def take(self, names: Sequence[str], rows: Sequence[int]) -> pa.Table:
        """Columns of some rows, in ascending order."""
        if not rows:
            return _schema(self.dim).empty_table().select(["row", *names])
        ordered = sorted(set(rows))
        found = self._lance.take_offsets(ordered).select(["row", *names]).to_arrow().sort_by("row")
        if found["row"].to_pylist() == ordered:
            return found
        return self.read(names, f"row IN ({', '.join(map(str, ordered))})")

    def records(self, rows: Sequence[int]) -> dict[int, Record]:
        """What is kept of these rows."""
        found = self.take([WHOLE, "thumbnail"], rows)
        lines = zip(*(found[name].to_pylist() for name in ("row", WHOLE, "thumbnail")), strict=True)
        return {row: _record(json.loads(whole), thumbnail) for row, whole, thumbnail in lines}

    def near(self, z: NDArray[np.float32], count: int, probes: int) -> NDArray[np.int64]:
        """Rows that the index takes for the nearest, in no order."""
        query = self._lance.search(z, vector_column_name=VECTOR).select(["row", "_distance"])
        query = query.nprobes(probes).limit(count).fast_search()  # leaves rows beyond the index alone
        return np.asarray(query.to_arrow()["row"].to_numpy(), np.int64)

    def build_index(self, partitions: int) -> str:
        """Build the index of vectors anew; returns its kind in words."""
        from lancedb.index import IvfFlat, IvfPq

        width = next((width for width in SUBVECTORS if self.dim % width == 0), 0)
        config: IvfPq | IvfFlat = IvfFlat(distance_type="l2", num_partitions=partitions)
        kind = f"IVF_FLAT {partitions:,}"
        if width:
            parts = self.dim // width
            config = IvfPq(distance_type="l2", num_partitions=partitions, num_sub_vectors=parts)
            kind = f"IVF_PQ {partitions:,} × {parts}"
        self._lance.create_index(VECTOR, config=config, name="vectors", replace=True)
        return kind

    def indexed(self) -> int:
        """Rows that the index holds, the first ones."""
        found = self._lance.index_stats("vectors")
        return 0 if found is None else int(found.num_indexed_rows)

    def tidy(self) -> None:
        """Join small files, and drop versions that nobody reads any more."""
        self._lance.optimize(cleanup_older_than=timedelta(hours=1))

    @property
    def pieces(self) -> int:
        """Files that the rows are in: a search reads all of them."""
        return int(self._lance.stats()["fragment_stats"]["num_fragments"])


def to_arrow(records: Sequence[Record]) -> pa.Table:
    """Records as a table of the columns `STORED`."""
    columns: dict[str, list[Any]] = {name: [getattr(one, name) for one in records] for name in FIELDS}
    small = zip(*(columns[name] for name in FIELDS if name != "thumbnail"), strict=True)
    columns[WHOLE] = [json.dumps(values) for values in small]
    return pa.table(columns, schema=pa.schema([*COLUMNS, (WHOLE, pa.string())]))


def _record(values: list[Any], thumbnail: bytes) -> Record:
    fields = dict(zip((name for name in FIELDS if name != "thumbnail"), values, strict=True))
    return Record(**fields | {"labels": tuple(fields["labels"])}, thumbnail=thumbnail)


def vectors_of(found: pa.Table, dim: int) -> NDArray[np.float32]:
    """The vectors (n, D) of rows that were read."""
    flat = found[VECTOR].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(-1, dim)


def _all_of(query: Any) -> pa.Table:
    return query.to_batches(BATCH).read_all().sort_by("row")


def _schema(dim: int) -> pa.Schema:
    return pa.schema(
        [("row", pa.int64()), *COLUMNS, (WHOLE, pa.string()), (VECTOR, pa.list_(pa.float32(), dim))]
    )
