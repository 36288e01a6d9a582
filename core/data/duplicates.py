"""Images that show the same place: copies, turned or recompressed ones, and crops that overlap.

Where one of a pair is trained on and the other is tested on, the test is easier than it looks. Found by phase
correlation (Kuglin and Hines, 1975), from coarse to fine, in a detached process:

1. All pairs at 32 × 32 pixels. The peak of the phase correlation says how well one image, moved, fits the
   other: 1 for a copy, below 0.2 for most unrelated ones. Mirrored and quarter-turned copies are looked for
   without a move, by the correlation of 16 × 16 pixels.
2. The promising ones at 64 × 64 pixels, and the best of them at the prepared size: the similarity of a pair
   is the correlation of the fine structure (details against their local contrast) where the two overlap.
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
SAME = 0.7  # from which two images are taken for the same place
PAIR_SECONDS = 1e-5  # per pair of images, on two cores: 119 s for the 12.2 million of WHDLD
IMAGE_BYTES, PAIR_BYTES = (
    100_000,
    1.5,
)  # in memory: spectra of each image, and the promising ones of all pairs


def start(images: ImageSet, key: str) -> None:
    """Look for pairs in a process of its own, unless that is going on; returns at once.

    Args:
        images: Must be prepared.
        key: Their hash, `Dataset.key`.

    Raises:
        MaclError: If the cache cannot be written.
    """
    process(key).start("core.data.duplicates", images.to_json(), key)


def effort(count: int) -> tuple[float, float]:
    """About how many seconds and bytes the search among that many images takes."""
    pairs = count * (count - 1) / 2
    return PAIR_SECONDS * pairs, IMAGE_BYTES * count + PAIR_BYTES * pairs


def stop(key: str) -> None:
    """Let the search for these images end at its next step, with nothing kept.

    Raises:
        MaclError: If the cache cannot be written.
    """
    process(key).stop()


def is_stopping(key: str) -> bool:
    """Whether the search was told to end."""
    return process(key).is_stopping


def status(key: str) -> Status:
    """What the last `start` for these images has come to."""
    return Status("done") if _path(key).is_file() else process(key).status()


def result(key: str) -> list[Pair]:
    """The pairs that were found, most similar first.

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
    """The pairs of a data set, here and now; kept, so that nobody looks twice at the same images."""
    if not _path(data.key).is_file():
        from core.data.twins import find  # scipy; every page imports this module

        pairs = find(data.images, progress)
        with writing(_path(data.key)) as partial:
            partial.write_text(json.dumps([astuple(pair) for pair in pairs]))
    return result(data.key)


def across(pairs: Sequence[Pair], splits: Mapping[str, NDArray[np.int64]]) -> dict[tuple[str, str], int]:
    """Number of pairs for any two splits (in their order) that their images lie in; 0 included."""
    held = split_of(splits)
    order = list(splits)
    found = Counter(tuple(sorted((held[p.a], held[p.b]), key=order.index)) for p in pairs)
    return {both: found[both] for both in combinations_with_replacement(order, 2)}


def leaked(pairs: Sequence[Pair], splits: Mapping[str, NDArray[np.int64]]) -> int:
    """Number of test images that show the same place as a training image."""
    held, first = split_of(splits), _first_copies(pairs)
    both = [{held[p.a]: p.a, held[p.b]: p.b} for p in pairs]
    found = {rows["test"] for rows in both if rows.keys() >= {"train", "test"}}
    trained = {first[row] for row in first if held[row] == "train"}
    return len(found | {row for row in first if held[row] == "test" and first[row] in trained})


def _first_copies(pairs: Sequence[Pair]) -> dict[int, int]:
    """The first of all exact copies of a row; of three without structure, only two pairs are kept."""
    first: dict[int, int] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.a, pair.b)):
        if pair.similarity == pair.overlap == 1 and not pair.turn:
            start = first.setdefault(pair.a, pair.a)
            first.setdefault(pair.b, start)
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
