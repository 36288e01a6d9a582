"""Training, validation and test splits of the paper's Table 2, random by seed."""

import zlib
from collections.abc import Sequence

import numpy as np

from core.data.info import DatasetInfo
from core.errors import MaclError

LEAST_TEST = 2  # a query and one other image to retrieve


def split(labels: np.ndarray, names: Sequence[str], info: DatasetInfo, seed: int) -> dict[str, np.ndarray]:
    """Assign the images at random, the same for the same seed, data set and number of images.

    The paper says only that the splits are random with the sizes of Table 2; a data set with fewer usable
    images loses test images. Raw output of PCG64 is sorted because NumPy guarantees that stream for ever, but
    not `Generator.permutation`.

    Args:
        labels: (N, L), one row per image.
        names: N image names in fixed order.
        info: The data set; its `train` and `val` are sizes, or 0 for 70/10/20 %.
        seed: Any integer from 0.

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
    count = len(names)
    train, val = (info.train, info.val) if info.train else (count * 7 // 10, count // 10)
    if train < 1 or val < 1 or count - train - val < LEAST_TEST:
        least = f"{info.train + info.val + LEAST_TEST} ({info.train} for training, {info.val} for validation)"
        raise MaclError(
            f"{info.title}: {count} usable images are too few, need at least {least if info.train else 10}: "
            f"see what is missing with `macl data check {info.name}`"
        )
    stream = np.random.PCG64([seed, zlib.crc32(info.name.encode())])
    order = np.argsort(stream.random_raw(count), kind="stable").astype(np.int64)
    parts = {"train": order[:train], "val": order[train : train + val], "test": order[train + val :]}
    return {name: np.sort(part) for name, part in parts.items()}
