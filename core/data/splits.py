"""Training, validation and test splits: as the data set gives them, or random with the paper's sizes."""

import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from core.data.info import DatasetInfo
from core.errors import MaclError

LEAST_TEST = 2  # a query and one other image to retrieve
LEAST = {"train": 1, "val": 1, "test": LEAST_TEST}


def split(
    labels: np.ndarray,
    names: Sequence[str],
    info: DatasetInfo,
    seed: int,
    given: Sequence[str] = (),
    whole: int = 0,
) -> dict[str, np.ndarray]:
    """Assign the images at random, the same for the same seed, data set and number of images.

    The paper says only that the splits are random with the sizes of Table 2; a data set with fewer usable
    images loses test images. Where the data set gives a split, only parts that it lacks are drawn, out of its
    training part. Raw output of PCG64 is sorted because NumPy guarantees that stream for ever, but
    not `Generator.permutation`.

    Args:
        labels: (N, L), one row per image.
        names: N image names in fixed order.
        info: The data set; its `train` and `val` are sizes, or 0 for 70/10/20 %.
        seed: Any integer from 0.
        given: "train", "val" or "test" for each image, if the data set says so.
        whole: Of how many images these were drawn, which makes fixed sizes smaller; 0 if they are all.

    Returns:
        "train", "val" and "test": ascending int64 indices, disjoint, together 0..N-1.

    Raises:
        MaclError: If there are too few images for the split sizes.
        ValueError: If labels and names disagree, or the seed is negative.
    """
    if len(labels) != len(names):
        raise ValueError(f"need one row of labels per name, got {len(labels)} and {len(names)}")
    if seed < 0:
        raise ValueError(f"need a seed of 0 or more, got {seed}")
    if given:
        return _as_given(np.array(given), info, seed)
    count = len(names)
    train, val = (info.train, info.val) if info.train else (count * 7 // 10, count // 10)
    if whole and info.train:
        train, val = train * count // whole, val * count // whole
    if train < 1 or val < 1 or count - train - val < LEAST_TEST:
        if whole:
            raise MaclError(
                f"{info.title}: {count} of {whole:,} images are too few for a split: draw more with --limit"
            )
        least = f"{info.train + info.val + LEAST_TEST} ({info.train} for training, {info.val} for validation)"
        raise MaclError(
            f"{info.title}: {count} usable images are too few, need at least {least if info.train else 10}"
        )
    order = _shuffled(count, info, seed)
    parts = {"train": order[:train], "val": order[train : train + val], "test": order[train + val :]}
    return {name: np.sort(part) for name, part in parts.items()}


def cut(given: Sequence[str]) -> dict[str, int]:
    """How many training images are drawn for each part that a given split lacks, as 7 to 1 to 2."""
    counts = Counter(given)
    lacking = {part: share for part, share in (("val", 1), ("test", 2)) if not counts[part]}
    whole = 7 + sum(lacking.values())
    return {part: max(counts["train"] * share // whole, LEAST[part]) for part, share in lacking.items()}


def _as_given(given: np.ndarray, info: DatasetInfo, seed: int) -> dict[str, np.ndarray]:
    parts = {part: np.flatnonzero(given == part) for part in ("train", "val", "test")}
    drawn = parts["train"][_shuffled(len(parts["train"]), info, seed)]
    for part, count in cut(given.tolist()).items():
        parts[part], drawn = np.sort(drawn[:count]), drawn[count:]
    parts["train"] = np.sort(drawn)
    few = [part for part, rows in parts.items() if len(rows) < LEAST[part]]
    if few:
        sizes = ", ".join(f"{part} {count}" for part, count in Counter(given.tolist()).items())
        raise MaclError(
            f"{info.title}: the split that the data gives has too few usable images for {' and '.join(few)} "
            f"({sizes}): need at least 1, 1 and {LEAST_TEST}: add some, or mix anew with --split random"
        )
    return parts


def _shuffled(count: int, info: DatasetInfo, seed: int) -> np.ndarray:
    stream = np.random.PCG64([seed, zlib.crc32(info.name.encode())])
    return np.argsort(stream.random_raw(count), kind="stable").astype(np.int64)
