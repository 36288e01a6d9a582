"""Some of the images of a data set, for a first look: drawn within each part of its split, in proportion."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np

from core.data.given import left_out
from core.data.info import DatasetInfo, Found
from core.data.splits import LEAST


def limited(found: Found, info: DatasetInfo, limit: int | Fraction) -> Found:
    """At most so many of the images that can be used, or a share of them.

    They are drawn by a fixed seed, so that runs of every seed see the same images, which are prepared once; a
    larger limit adds to them. Raw output of PCG64 is sorted, as in `splits.split`.

    Args:
        found: The data set as found.
        info: The data set.
        limit: A number of images, 0 for all; or a share.
    """
    rows = np.flatnonzero((found.labels.max(axis=1, initial=0) > 0) & ~left_out(found))
    count = max(1, int(limit * len(rows))) if isinstance(limit, Fraction) else limit
    if not limit or count >= len(rows):
        return found
    parts = np.array([found.given[i] for i in rows] if found.given else [""] * len(rows))
    drawn = []
    for part, few in _in_proportion(Counter(parts.tolist()), count).items():
        of_part = rows[parts == part]
        stream = np.random.PCG64([0, zlib.crc32(f"limit {info.name} {part}".encode())])
        drawn.append(of_part[np.argsort(stream.random_raw(len(of_part)), kind="stable")[:few]])
    broken = {name for name, _ in found.broken}  # to be named, or left out by choice, all the same
    damaged = [i for i, name in enumerate(found.names) if name in broken] if broken else []
    kept = np.sort(np.concatenate([*drawn, np.array(damaged, dtype=np.int64)]))
    within = "within each part of the split" if found.given else "for every seed the same"
    return replace(
        found,
        names=tuple(found.names[i] for i in kept),
        files=tuple(found.files[i] for i in kept),
        labels=found.labels[kept],
        given=tuple(found.given[i] for i in kept) if found.given else (),
        notes=(*found.notes, f"{count:,} of {len(rows):,} usable images are drawn, {within} (--limit)"),
        whole=found.whole or len(rows),
    )


def _in_proportion(sizes: Counter[str], count: int) -> dict[str, int]:
    """How many of each part, `count` together; if it can be, at least what a split needs of each."""
    whole = sum(sizes.values())
    few = {part: count * size // whole for part, size in sizes.items()}
    rest = sorted(sizes, key=lambda part: (-(count * sizes[part] % whole), part))
    for part in rest[: count - sum(few.values())]:
        few[part] += 1
    for part, least in LEAST.items():
        while few.get(part, least) < min(least, sizes[part]):
            largest = max(few, key=lambda other: few[other])
            if few[largest] <= LEAST[largest]:
                break
            few[part] += 1
            few[largest] -= 1
    return few
