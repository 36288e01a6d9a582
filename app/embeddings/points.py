"""The images that the embeddings page shows, as one list that all pictures share. numpy only.

A run has its own test split, in its own order; a lasso in one picture has to find the same images in the
others. So points are numbered once, over the images of all runs that pass the filter, and every picture
says which point each of its dots is. A selection is kept by name, so that it survives other runs and other
filters.
"""

import base64
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.retrieval.search import Gallery

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Points:
    """Numbered images.

    Attributes:
        names: Of the n images.
        y: Their labels (n, L).
        own: For each run the rows of its gallery that are shown.
        rows: For each run the point that each of those is.
        version: Of the numbering: equal for the same names in the same order.
    """

    names: tuple[str, ...]
    y: NDArray[np.uint8]
    own: tuple[Ints, ...]
    rows: tuple[Ints, ...]
    version: str

    def where(self, names: Collection[str]) -> NDArray[np.bool_]:
        """Which points have one of these names, (n,)."""
        chosen = set(names)
        return np.fromiter((name in chosen for name in self.names), bool, len(self.names))


def number(galleries: Sequence[Gallery], columns: Sequence[int] = ()) -> Points:
    """Number the images of all runs that hold all labels of these columns of y."""
    index: dict[str, int] = {}
    own, rows, labels = [], [], []
    for gallery in galleries:
        shown = np.flatnonzero(gallery.y[:, list(columns)].astype(bool).all(axis=1))
        points = np.empty(len(shown), np.int64)
        for dot, row in enumerate(shown.tolist()):
            name = gallery.names[row]
            if name not in index:
                index[name] = len(index)
                labels.append(gallery.y[row])
            points[dot] = index[name]
        own.append(shown)
        rows.append(points)
    y = np.array(labels, dtype=np.uint8).reshape(len(index), galleries[0].y.shape[1])
    version = hashlib.sha256("\0".join(index).encode()).hexdigest()[:16]
    return Points(tuple(index), y, tuple(own), tuple(rows), version)


def origin(gallery: Gallery, reference: Gallery) -> Ints:
    """Row of each image of a gallery in another one, −1 where it is not there."""
    return np.array([reference.rows.get(name, -1) for name in gallery.names], dtype=np.int64)


def to_bits(chosen: NDArray[np.bool_]) -> str:
    """(n,) as base64, eight points a byte, the first in the lowest bit."""
    return base64.b64encode(np.packbits(chosen, bitorder="little").tobytes()).decode()


def from_bits(text: str, n: int) -> NDArray[np.bool_]:
    """What `to_bits` made, (n,).

    Raises:
        ValueError: If it is not that long.
    """
    packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    if len(packed) != -(-n // 8):
        raise ValueError(f"need bits of {n} points, got {len(packed)} bytes")
    return np.unpackbits(packed, count=n, bitorder="little").astype(bool)
