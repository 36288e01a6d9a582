"""An archive in Milvus, the open cluster, behind the same calls as one in a folder.

`milvus:http://HOST:19530/NAME`, or `milvus:FILE.db/NAME` for Milvus Lite, which works in this process and
lets no other open the file meanwhile. Tried with Milvus Lite, on small data: no server could be had for it.

Of an archive there is one collection of its name, with a row for each encoder, and for each of these one of
images, `NAME_ENCODER`. Its index is FLAT, so answers are exact. Whoever runs the cluster may replace it:
answers are approximate then, and say that their recall is not measured. What is removed is gone at once.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.archive.condition import filter_of
from core.archive.encoder import Encoder
from core.archive.nearest import query_of
from core.archive.server import SCHEME, SECONDS, Fields, Server, no_archive
from core.archive.table import FIELDS, Answer, Hit, Index, Record
from core.background.cache import cache_root, make_folder
from core.errors import MaclError
from core.retrieval.search import best_of

MOST = 16_384  # answers that Milvus gives at once
MORE = 16  # that are asked for beyond k: equal cosines may come in any order
BATCH = 1000  # rows with all that is kept of them
TEXT: tuple[str, dict[str, object]] = ("VARCHAR", {"max_length": 65_535})
PLACE: tuple[str, dict[str, object]] = ("DOUBLE", {"nullable": True})

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Milvus:
    """What one encoder has embedded; as `core.archive.store.Archive` where nothing else is said.

    Args:
        server: Where, and the name of the archive.
        encoder: The encoder.
    """

    removed = 0
    size = 0

    def __init__(self, server: Server, encoder: Encoder) -> None:
        self.encoder = encoder
        self.folder = cache_root() / "archives" / encoder.id
        self._server, self._name = server, f"{server.name}_{encoder.id}"

    def __len__(self) -> int:
        with self._server.asked():
            found = self._server.client.query(
                self._name, filter="", output_fields=["count(*)"], timeout=SECONDS
            )
        return int(found[0]["count(*)"])

    @property
    def index(self) -> Index | None:
        """None while it is FLAT."""
        with self._server.asked():
            names = self._server.client.list_indexes(self._name, "vector", timeout=SECONDS)
            about = self._server.client.describe_index(self._name, names[0], timeout=SECONDS) if names else {}
        kind = str(about.get("index_type", "FLAT"))
        return None if kind == "FLAT" else Index(len(self), kind, 0, 0, nan, nan)

    def ids(self, where: str | None = None) -> Ints:
        """Ids of the images, in the order in which they were added by the clocks of who added them."""
        return np.asarray(self.values("id", where), np.int64)

    def values(self, name: str, where: str | None = None) -> list[object] | Ints:
        """One field of every image, in the order of `ids`."""
        found = self._server.read(self._name, ["added", name], _filter(where))
        kept = [one[name] for one in sorted(found, key=lambda one: int(one["added"]))]
        return np.asarray(kept, np.int64) if name in ("id", "stamp") else list(kept)

    def records(self, ids: ArrayLike) -> dict[int, Record]:
        """What is kept of these images, by id."""
        return {one["id"]: _record(one) for one in self._of(_numbers(ids), FIELDS)}

    def vectors(self, ids: ArrayLike) -> Floats:
        """Embeddings (n, D) of some images; MaclError if one is not there."""
        wanted = _numbers(ids)
        at = {one["id"]: one["vector"] for one in self._of(wanted, ["vector"])}
        if missing := [number for number in wanted if number not in at]:
            raise MaclError(f"{len(missing)} images are not in the archive (any more): search again")
        return np.asarray([at[number] for number in wanted], np.float32).reshape(-1, self.encoder.dim)

    def add(self, records: Sequence[Record], z: ArrayLike) -> int:
        """Add images that are not there yet, some at a time: what an error leaves is there."""
        vectors = np.asarray(z, np.float32)
        if vectors.shape != (len(records), self.encoder.dim):
            raise ValueError(f"need z ({len(records)}, {self.encoder.dim}), got {vectors.shape}")
        if not np.all(np.abs(np.linalg.norm(vectors, axis=1) - 1) < 1e-3):  # false for nan, too
            raise ValueError("need unit rows in z")
        seen = {one["id"] for one in self._of([record.id for record in records], [])}
        now = time.time_ns()
        rows: list[dict[str, object]] = []
        for record, vector in zip(records, vectors, strict=True):
            if record.id not in seen:
                seen.add(record.id)
                picture = base64.b64encode(record.thumbnail).decode()
                rows.append(
                    asdict(record)
                    | {"labels": list(record.labels), "thumbnail": picture, "vector": vector.tolist()}
                    | {"added": now + len(rows)}
                )
        for start in range(0, len(rows), BATCH):
            with self._server.asked():  # upsert: of two who add the same image, one row stays
                self._server.client.upsert(self._name, rows[start : start + BATCH], timeout=SECONDS)
        return len(rows)

    def remove(self, ids: ArrayLike) -> int:
        """Remove images; returns how many there were."""
        there = [one["id"] for one in self._of(_numbers(ids), [])]
        for start in range(0, len(there), BATCH):
            with self._server.asked():
                self._server.client.delete(self._name, ids=there[start : start + BATCH], timeout=SECONDS)
        return len(there)

    def search(self, z: ArrayLike, k: int, where: str | None = None, exact: bool = False) -> Answer:
        """The k images nearest to a query; cosines are computed here, from the vectors that Milvus finds.

        Raises:
            MaclError: If k is more than Milvus gives, or its index cannot give an exact answer.
        """
        query = query_of(z, self.encoder.dim, k)
        if k > MOST:
            raise MaclError(f"Milvus gives at most {MOST:,} answers at once, not {k:,}: ask for fewer")
        index = self.index
        if index is not None and exact:
            raise MaclError(
                f"{self._name} has the index {index.kind}, which gives no exact answers: leave it out"
            )
        with self._server.asked():
            (found,) = self._server.client.search(
                self._name, [query.tolist()], limit=min(k + MORE, MOST), filter=_filter(where),
                output_fields=["added", "vector"], search_params={"metric_type": "IP"}, timeout=SECONDS,
            )  # fmt: skip
        if not found:
            return Answer((), index)
        near = sorted(found, key=lambda one: int(one["entity"]["added"]))
        vectors = np.asarray([one["entity"]["vector"] for one in near], np.float32)
        best, cosines = best_of(query, vectors, vectors @ query, min(k, len(near)))
        numbers = [int(near[at]["id"]) for at in best]
        records = self.records(numbers)
        pairs = zip(numbers, cosines.tolist(), strict=True)
        return Answer(tuple(Hit(c, records[number]) for number, c in pairs if number in records), index)

    def compact(self) -> None:
        """Ask the server to compact; it does so by itself, too."""
        with self._server.asked():
            self._server.client.compact(self._name, timeout=SECONDS)

    def build_index(self) -> Index:
        """Not from here: while another index is built, nobody can search."""
        raise MaclError(
            f"an archive in Milvus is searched exactly: for another index, replace that of the field vector "
            f"of {self._name} with the tools of Milvus"
        )

    def tidy(self) -> None:
        """Nothing: the server does it."""

    def _of(self, ids: Sequence[int], names: Iterable[str]) -> list[dict[str, Any]]:
        """Id and these fields of the images that are there."""
        found: list[dict[str, Any]] = []
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), BATCH):
            with self._server.asked():
                found += self._server.client.query(
                    self._name, filter=f"id in {wanted[start : start + BATCH]}",
                    output_fields=list(dict.fromkeys(["id", *names])), timeout=SECONDS,
                )  # fmt: skip
        return found


def is_address(uri: str | Path) -> bool:
    """Whether an archive is in Milvus, by its address."""
    return str(uri).startswith(SCHEME)


def create(uri: str | Path, encoder: Encoder) -> Milvus:
    """The part of this encoder, made if it is not there yet."""
    server = Server(uri, make=True)
    part = Milvus(server, encoder)
    make_folder(part.folder)
    if not server.has(server.name, "encoder"):
        server.make(server.name, {"id": TEXT, "encoder": TEXT, "vector": ("FLOAT_VECTOR", {"dim": 2})})
    if not server.has(part._name, "added"):
        server.make(part._name, _fields(encoder.dim))
    if encoder.id not in [known.id for known in _encoders(server)]:
        row = {"id": encoder.id, "encoder": json.dumps(asdict(encoder)), "vector": [1.0, 0.0]}  # it needs one
        with server.asked():
            server.client.upsert(server.name, [row], timeout=SECONDS)
    return part


def encoders(uri: str | Path) -> list[Encoder]:
    """Of an archive, in the order of their runs."""
    return _encoders(Server(uri))


def parts(uri: str | Path) -> list[Milvus]:
    """One for each encoder; MaclError if there is no archive."""
    server = Server(uri)
    if not (found := _encoders(server)):
        raise no_archive(uri)
    held = [Milvus(server, encoder) for encoder in found]
    return [part for part in held if server.has(part._name, "added")]


def _encoders(server: Server) -> list[Encoder]:
    if not server.has(server.name, "encoder"):
        return []
    texts = [one["encoder"] for one in server.read(server.name, ["encoder"])]
    try:
        fields = [json.loads(text) for text in texts]
        found = [Encoder(**one | {"classes": tuple(one["classes"])}) for one in fields]
    except (ValueError, TypeError, KeyError) as error:
        raise MaclError(f"{server.uri} cannot be read ({error}): it is of another version") from None
    return sorted(found, key=lambda encoder: (encoder.run, encoder.id))


def _fields(dim: int) -> Fields:
    """Of the images: those of `Record`, when they were added, and the embedding."""
    number: tuple[str, dict[str, object]] = ("INT64", {})
    kinds = dict.fromkeys(FIELDS, TEXT) | {"id": number, "stamp": number, "lon": PLACE, "lat": PLACE}
    kinds |= {"share": ("DOUBLE", {}), "added": number, "vector": ("FLOAT_VECTOR", {"dim": dim})}
    kinds["labels"] = ("ARRAY", {"element_type": "VARCHAR", "max_capacity": 4096, "max_length": 65_535})
    return kinds


def _record(row: dict[str, Any]) -> Record:
    kept = {name: row[name] for name in FIELDS}
    return Record(
        **kept | {"labels": tuple(kept["labels"]), "thumbnail": base64.b64decode(kept["thumbnail"])}
    )


def _filter(where: str | None) -> str:
    return filter_of(where) if where is not None and where.strip() else ""


def _numbers(ids: ArrayLike) -> list[int]:
    return [int(one) for one in np.asarray(ids, np.int64).tolist()]
