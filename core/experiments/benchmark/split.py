"""What all losses share at a seed: the images of a split, their chance, and their place."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.data import Dataset
from core.runs import Run, RunConfig, origin
from core.training import recent

DIGITS = 6


def about(config: RunConfig, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of a split, its chance and oracle, and how many of its training images have each label."""
    data = recent.dataset(config)
    return place(data, config) | {
        "images": scores["images"],
        "train_images": len(data.splits["train"]),
        "chance": rounded(scores["chance"]),
        "oracle": rounded(scores["oracle"]),
        "label_counts": label_counts(data),
    }


def is_of(run: Run, config: RunConfig) -> bool:
    """Whether a finished run was tested on the images and labels that its data set holds now."""
    now = origin.of_dataset(config, recent.dataset(config))
    return origin.compare(origin.of_run(run), now).split


def place(data: Dataset, config: RunConfig) -> dict[str, str]:
    """`place` of a person's own folder: its name, and a hash that tells it from others of the same name.

    Empty for other data sets, whose images are the same everywhere. No path is kept.
    """
    if config.dataset != "folder" or config.data_root is None:
        return {}
    content = hashlib.sha256(json.dumps([data.classes, data.names]).encode())
    content.update(np.asarray(data.labels, np.uint8).tobytes())
    return {"place": f"{Path(config.data_root).name} {content.hexdigest()[:8]}"}


def label_counts(data: Dataset) -> dict[str, int]:
    """Number of training images with each label."""
    counts = np.asarray(data.labels[data.splits["train"]]).sum(0)
    return dict(zip(data.classes, counts.tolist(), strict=True))


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two splits of one data set, as kept in summaries, hold the same images."""
    a, b = (origin.of_scores("", split, split.get("label_counts")) for split in (one, other))
    return origin.compare(a, b).split


def rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Values as kept in a summary; None for nan, which JSON does not have."""
    return {
        name: None if value is None or math.isnan(value) else round(value, DIGITS)
        for name, value in values.items()
    }
