"""Images that show the same place: copies, turned or recompressed ones, and crops that overlap.

If one of a pair is trained on and the other tested on, the test is easier than it looks. Pairs are found by
phase correlation (Kuglin and Hines, 1975), from coarse to fine, in a detached process:

1. All pairs at 32 × 32 pixels. The peak of the phase correlation says how well one image, shifted, fits the
   other: 1 for a copy, below 0.2 for most unrelated ones. Mirrored and quarter-turned copies are found
   without a shift, by the correlation of 16 × 16 pixels.
2. The promising ones at 64 × 64 pixels, and the best of them at the prepared size: the similarity of a pair
   is the correlation of the fine structure (details relative to local contrast) where the two overlap.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.background.cache import cache_root, used, writing
from core.background.process import Process, Running, Status
from core.data.image_set import ImageSet
from core.data.info import Dataset
from core.data.pair import Pair
from core.data.prepared import Progress
from core.errors import MaclError

VERSION = 1
SAME = 0.7  # similarity from which two images count as the same place
PAIR_SECONDS = 1e-5  # per pair of images, on two cores: 119 s for the 12.2 million of WHDLD
IMAGE_BYTES, PAIR_BYTES = (
    100_000,
    1.5,
)  # of memory: the spectra of each image, and the promising pairs among all


def start(images: ImageSet, key: str) -> None:
    """Look for pairs in a process of its own, unless one is at it already; returns at once.

    Args:
        images: Must be prepared.
        key: Their hash, `Dataset.key`.

    Raises:
        MaclError: If the cache cannot be written.
    """
    process(key).start("core.data.duplicates", images.to_json(), key)


def effort(count: int) -> tuple[float, float]:
    """Roughly how many seconds and bytes of memory the search among this many images takes."""
    pairs = count * (count - 1) / 2
    return PAIR_SECONDS * pairs, IMAGE_BYTES * count + PAIR_BYTES * pairs


def stop(key: str) -> None:
    """Let the search among these images end at its next step, keeping nothing.

    Raises:
        MaclError: If the cache cannot be written.
    """
    process(key).stop()


def is_stopping(key: str) -> bool:
    """Whether the search was asked to end."""
    return process(key).is_stopping


def status(key: str) -> Status:
    """State of the last `start` for these images."""
    return Status("done") if _path(key).is_file() else process(key).status()


def result(key: str) -> list[Pair]:
    """The pairs found, most similar first.

    Raises:
        MaclError: If nobody has looked for them yet.
    """
    try:
        rows = json.loads(_path(key).read_text())
        used(_path(key))
    except (OSError, ValueError):
        raise MaclError("nobody has looked for duplicates among these images yet") from None
    return [Pair(*row) for row in rows]


def look(data: Dataset, progress: Progress | None = None) -> list[Pair]:
    """Find the pairs of a data set in this process; cached, so that no images are searched twice."""
    if not _path(data.key).is_file():
        from core.data.twins import find  # scipy; every page imports this module

        pairs = find(data.images, progress)
        with writing(_path(data.key)) as partial:
            partial.write_text(json.dumps([astuple(pair) for pair in pairs]))
    return result(data.key)


def across(pairs: Sequence[Pair], splits: Mapping[str, NDArray[np.int64]]) -> dict[tuple[str, str], int]:
    """Number of pairs between any two splits, or within one, in the order of `splits`; zeros included."""
    split_by_row = split_of(splits)
    order = list(splits)
    counts = Counter(tuple(sorted((split_by_row[p.a], split_by_row[p.b]), key=order.index)) for p in pairs)
    return {
        pair_of_splits: counts[pair_of_splits] for pair_of_splits in combinations_with_replacement(order, 2)
    }


def leaked(pairs: Sequence[Pair], splits: Mapping[str, NDArray[np.int64]]) -> int:
    """Number of test images that show the same place as a training image."""
    split_by_row, first = split_of(splits), _first_copies(pairs)
    rows_by_split = [{split_by_row[p.a]: p.a, split_by_row[p.b]: p.b} for p in pairs]
    leaked_rows = {rows["test"] for rows in rows_by_split if rows.keys() >= {"train", "test"}}
    trained = {first[row] for row in first if split_by_row[row] == "train"}
    return len(leaked_rows | {row for row in first if split_by_row[row] == "test" and first[row] in trained})


def _first_copies(pairs: Sequence[Pair]) -> dict[int, int]:
    """Map exact copies to the first of them; of three copies without structure only two pairs are kept."""
    first: dict[int, int] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.a, pair.b)):
        if pair.similarity == pair.overlap == 1 and not pair.turn:
            original = first.setdefault(pair.a, pair.a)
            first.setdefault(pair.b, original)
    return first


def split_of(splits: Mapping[str, NDArray[np.int64]]) -> dict[int, str]:
    """The split of each row."""
    return {int(row): split for split, rows in splits.items() for row in rows}


def main(running: Running, which: str, key: str) -> None:
    """Look for the pairs of one data set."""
    data = replace(ImageSet.from_json(which), skip_broken=True).load()
    if data.key != key:
        raise MaclError("the images have changed since the page was opened: open it again")
    look(data, running.tell)


def _path(key: str) -> Path:
    return cache_root() / "duplicates" / f"{key}-{VERSION}.json"


def process(key: str) -> Process:
    """The process that looks for the pairs of these images."""
    return Process(cache_root() / "duplicates" / f"{key}-{VERSION}.search")
