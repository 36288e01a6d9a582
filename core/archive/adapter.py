"""What an archive can do, wherever it is kept: in a folder (`core.archive.store`), or in Milvus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.archive.encoder import Encoder
from core.archive.table import Answer, Index, Record


class Archive(Protocol):
    """What one encoder has embedded; the calls are described in `core.archive.store`.

    Attributes:
        encoder: The encoder.
    """

    encoder: Encoder

    def __len__(self) -> int: ...

    @property
    def folder(self) -> Path:
        """On this machine: for what an addition keeps beside the rows."""

    @property
    def removed(self) -> int:
        """Rows that only a compaction drops."""

    @property
    def index(self) -> Index | None:
        """What makes answers approximate."""

    @property
    def size(self) -> int:
        """Bytes on disk; 0 where only a server knows."""

    def add(self, records: Sequence[Record], z: ArrayLike) -> int:
        """Add images that are not there yet."""

    def remove(self, ids: ArrayLike) -> int:
        """Remove images."""

    def search(self, z: ArrayLike, k: int, where: str | None = None, exact: bool = False) -> Answer:
        """The k images nearest to a query."""

    def ids(self, where: str | None = None) -> NDArray[np.int64]:
        """Ids of the images."""

    def compact(self) -> None:
        """Drop what is removed for good."""

    def values(self, name: str, where: str | None = None) -> list[object] | NDArray[np.int64]:
        """One field of every image."""

    def records(self, ids: ArrayLike) -> dict[int, Record]:
        """What is kept of some images."""

    def vectors(self, ids: ArrayLike) -> NDArray[np.float32]:
        """Embeddings of some images."""

    def build_index(self) -> Index:
        """Build the index anew."""

    def tidy(self) -> None:
        """What is to be done after an addition."""
