"""What all losses share at a seed: the images of a split, their chance, and where they are from."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.data import Dataset
from core.runs import Run, RunConfig
from core.training import recent

SAME = 2e-6  # chance of one and the same test split agrees to this: a summary rounds
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
    """Whether a finished run was tested on what its data set holds now: the same images, the same labels."""
    data = recent.dataset(config)
    rows, y = data.splits["test"], run.embeddings()[1]
    names = [data.names[row] for row in rows]
    return run.splits()["test"] == names and np.array_equal(data.labels[rows] > 0, y > 0)


def place(data: Dataset, config: RunConfig) -> dict[str, str]:
    """`place` of a person's own folder: its name, and a hash that tells it from another of that name.

    Empty for the other data sets: their images are the same everywhere. No path is kept.
    """
    if config.dataset != "folder" or config.data_root is None:
        return {}
    content = hashlib.sha256(json.dumps([data.classes, data.names]).encode())
    content.update(np.asarray(data.labels, np.uint8).tobytes())
    return {"place": f"{Path(config.data_root).name} {content.hexdigest()[:8]}"}


def label_counts(data: Dataset) -> dict[str, int]:
    """How many training images hold each label."""
    counts = np.asarray(data.labels[data.splits["train"]]).sum(0)
    return dict(zip(data.classes, counts.tolist(), strict=True))


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two splits are the same images: as hard for a random order, and the same labels to train on."""
    chance = [split.get("chance", {}) for split in (one, other)]
    if one.get("label_counts") != other.get("label_counts") or chance[0].keys() != chance[1].keys():
        return False
    a, b = ([math.nan if values[key] is None else values[key] for key in chance[0]] for values in chance)
    return bool(np.allclose(a, b, rtol=0, atol=SAME, equal_nan=True))


def rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """As a summary keeps them; None for nan, which JSON does not know."""
    return {
        name: None if value is None or math.isnan(value) else round(value, DIGITS)
        for name, value in values.items()
    }
