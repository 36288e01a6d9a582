"""What a run began with: its configuration, and digests of its images, labels and weights.

They are kept in each checkpoint and in data.json of the run. A run is resumed only on the same ones: else its
result would mix two trainings under one name. `compare` says whether two runs saw the same images.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from core.data import Dataset
from core.data.look import STRETCH, Look
from core.data.prepared import prepared_size
from core.errors import MaclError
from core.runs import contents
from core.runs.config import RunConfig
from core.runs.folder import Run

# training does not depend on these; digests tell whether images and weights in another place are the same
FREE = {"device", "devices", "preset", "embed_every", "data_root", "skip_broken", "weights", "own"}
WAY_OUT = "or start a new run"
CHANGED = {
    "names": "the images of {} have changed since this run began (added, removed or renamed)",
    "images": "the pixels of the images of {} have changed since this run began",
    "classes": "the names of the labels of {}, or their order, have changed since this run began",
    "labels": "the labels of {} have changed since this run began",
    "splits": "the split of {} into training, validation and test has changed since this run began",
}
ROUNDED = 2e-6  # chance values of the same test split agree to this: the summary of a benchmark rounds


@dataclass(frozen=True)
class Data:
    """What is known of the images and labels behind a result; None or empty if it was not recorded.

    Attributes:
        dataset: Key of `core.data.DATASETS`.
        place: Path of a person's own images, links resolved.
        size: Side of the prepared images, and how they were seen; the image digest depends on both.
        digests: From `digests`; earlier versions did not write them.
        classes: Names of the labels, in column order.
        test: Digest of the names of the test images, in the order of the embeddings.
        labels: Digest of their labels.
        images: Number of test images.
        train_images: Number of training images.
        chance: Chance of the test split by metric, which follows from its labels.
        label_counts: Training images by label; only of a benchmark.
    """

    dataset: str
    place: str = ""
    size: tuple[str, str] = ("", "")
    digests: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    test: str = ""
    labels: str = ""
    images: int | None = None
    train_images: int | None = None
    chance: Mapping[str, float | None] = field(default_factory=dict)
    label_counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Same:
    """How far two results share their data.

    Attributes:
        images: An image name means the same image in both.
        labels: A label column means the same in both, and images tested in both have the same labels.
        split: Both were tested on the same images with the same labels, in the same order.
    """

    images: bool
    labels: bool
    split: bool


def compare(a: Data, b: Data) -> Same:
    """Whether two results share images, labels and test split, as far as both have them recorded."""
    images, labels = _same_images(a, b), _same_labels(a, b)
    return Same(images, labels, images and labels and _same_split(a, b))


def _same_images(a: Data, b: Data) -> bool:
    """Images of a published data set are known by their names; a person's own by their pixels."""
    if a.dataset != b.dataset or a.dataset != "folder":
        return a.dataset == b.dataset
    if a.digests and b.digests and a.size == b.size:
        return all(a.digests[key] == b.digests[key] for key in ("images", "names"))
    if not a.place or not b.place or a.place == b.place:
        return True
    if os.path.exists(a.place) and os.path.exists(b.place):
        return False
    return bool(a.test and a.labels) and (a.test, a.labels) == (b.test, b.labels)  # probably moved


def _same_labels(a: Data, b: Data) -> bool:
    """Whether nothing recorded for both speaks against it."""
    same_names = bool(a.digests and b.digests) and a.digests["names"] == b.digests["names"]
    tested = bool(a.test and a.labels and b.labels) and a.test == b.test
    return not (
        (a.classes and b.classes and a.classes != b.classes)
        or (same_names and a.digests["labels"] != b.digests["labels"])
        or (tested and a.labels != b.labels)
    )


def _same_split(a: Data, b: Data) -> bool:
    named = bool(a.test and b.test)
    if named and (a.test != b.test or (a.labels and b.labels) or (a.digests and b.digests)):
        return a.test == b.test
    if a.label_counts and b.label_counts and a.label_counts != b.label_counts:
        return False
    if a.images is not None and b.images is not None and a.images != b.images:
        return False
    common = [(a.chance[key], b.chance[key]) for key in a.chance if key in b.chance]
    return (bool(common) or named) and all(
        x == y or (x is not None and y is not None and abs(x - y) <= ROUNDED) for x, y in common
    )


def of_run(run: Run) -> Data:
    """What a run folder says of its data, whichever version wrote it.

    Raises:
        MaclError: If its configuration or its split cannot be read.
    """
    config, splits, y, stored = run.config, run.splits(), _tested(run), _written(run)
    classes: list[str] = []
    scores: dict[str, Any] = {}
    with suppress(MaclError):
        classes = run.classes()
    with suppress(MaclError):
        scores = run.scores()
    return Data(
        config.dataset,
        config.place,
        (stored.get("size") or _size(config), stored.get("stretch", STRETCH)),
        stored,
        tuple(classes),
        _digest(splits["test"]) if splits.get("test") else "",
        "" if y is None else _digest_of(y),
        scores.get("images"),
        len(splits.get("train", ())),
        _known(scores.get("chance", {})),
    )


def look_of(run: Run) -> Look:
    """How the images of a run were seen; as earlier versions did where it does not say so."""
    return Look.of(_written(run).get("stretch") or _with_weights(run) or STRETCH)


def of_dataset(config: RunConfig, data: Dataset) -> Data:
    """What a run of this configuration would see now."""
    test = data.splits["test"]
    return Data(
        config.dataset,
        config.place,
        (_size(config), data.look.text),
        digests(config, data, ""),
        tuple(data.classes),
        _digest(data.names[row] for row in test),
        _digest_of(np.asarray(data.labels[test])),
        len(test),
        len(data.splits["train"]),
    )


def of_scores(dataset: str, scores: Mapping[str, Any], label_counts: Mapping[str, int] | None = None) -> Data:
    """What the scores of a result say of its data; the row of a benchmark has nothing else."""
    chance = _known(scores.get("chance", {}))
    return Data(dataset, images=scores.get("images"), chance=chance, label_counts=label_counts or {})


def _known(chance: Mapping[str, float | None]) -> dict[str, float | None]:
    numbers = {key: value for key, value in chance.items() if value is None or isinstance(value, int | float)}
    return {key: None if value is None or math.isnan(value) else value for key, value in numbers.items()}


def _size(config: RunConfig) -> str:
    return str(prepared_size(config.image_size))


def _written(run: Run) -> dict[str, str]:
    """The digests in data.json; empty if an earlier version wrote none, or they cannot be read."""
    path = run.path / "data.json"
    try:
        stored = contents.fitting(contents.parsed(path.read_bytes(), path), contents.DIGESTS, path)
    except (OSError, MaclError):
        return {}
    return stored if {*CHANGED} <= stored.keys() else {}


def _with_weights(run: Run) -> str:
    """What is written with the weights, which may have been copied alone."""
    try:
        with safe_open(run.path / "model.safetensors", framework="numpy") as file:
            return str((file.metadata() or {}).get("look", ""))
    except (OSError, SafetensorError):
        return ""


def _tested(run: Run) -> np.ndarray | None:
    """Labels of the test images; None before the end of the run, or if they cannot be read."""
    try:
        with safe_open(run.path / "embeddings.safetensors", framework="numpy") as file:
            y = np.asarray(file.get_tensor("y"))
    except (OSError, SafetensorError, TypeError, ValueError):
        return None
    return y if y.ndim == 2 else None


def _digest_of(labels: np.ndarray) -> str:
    y = np.ascontiguousarray(np.asarray(labels) > 0)
    return f"{y.shape[1]} {sha256(y.tobytes()).hexdigest()[:32]}"


def digests(config: RunConfig, data: Dataset, weights: str) -> dict[str, str]:
    """Digests of everything trained on; equal contents in different places have equal digests.

    Args:
        config: Configuration of the run.
        data: Its images and labels; `Dataset.key` identifies the pixels at no cost.
        weights: From `core.encoder.weights.weights_key`.
    """
    return {
        "images": data.key,
        "names": _digest(data.names),
        "classes": _digest(data.classes),
        "labels": sha256(np.ascontiguousarray(data.labels).tobytes()).hexdigest()[:32],
        "splits": _digest(f"{name} {rows.tolist()}" for name, rows in sorted(data.splits.items())),
        "size": _size(config),
        "stretch": data.look.text,
        "weights": weights,
        "configuration": _digest([json.dumps(config.model_dump(exclude=FREE), sort_keys=True)]),
    }


def check_config(config: RunConfig, began: Mapping[str, Any]) -> None:
    """MaclError if a field that affects training differs from the configuration `began`.

    A field that only one of the two program versions has does not count.
    """
    now = config.model_dump(exclude=FREE)
    before = {name: value for name, value in began.items() if name not in FREE}
    if now["loss"] == before.get("loss"):  # with another loss all parameters differ anyway
        now, before = now | now["params"], before | before["params"]
    names = [name for name in now if name != "params" and now[name] != before.get(name, now[name])]
    if names:
        says, was = (", ".join(f"{name} {values[name]}" for name in names) for values in (now, before))
        it = "it" if len(names) == 1 else "them"
        raise MaclError(f"config.json says {says}, but this run began with {was}: put {it} back, {WAY_OUT}")


def check_data(now: Mapping[str, str], began: Mapping[str, str], title: str) -> None:
    """MaclError if images, labels or split differ from the digests `began`."""
    for name, changed in CHANGED.items():
        if now[name] != began[name]:
            it = "it" if name == "splits" else "them"
            raise MaclError(f"{changed.format(title)}: put {it} back as before, {WAY_OUT}")


def check_weights(config: RunConfig, began: Mapping[str, Any], now: str, before: str) -> None:
    """MaclError if the backbone's weights differ from those the run began with.

    Args:
        config: Configuration of the run now.
        began: The configuration it began with.
        now: Key of the weights now.
        before: Key of the weights it began with.
    """
    if now == before:
        return
    if config.weights != began["weights"]:
        what = f"config.json says weights {config.weights}, but this run began with {began['weights']}"
    elif config.weights == "imagenet":
        what = f"the ImageNet weights of {config.backbone} on this machine are not those this run began with"
    else:
        what = f"the weights in {config.weights} have changed since this run began"
    raise MaclError(f"{what}: put them back as before, {WAY_OUT}")


def _digest(parts: Iterable[str]) -> str:
    text = json.dumps(list(parts))  # not simply joined: a name may hold any character
    return sha256(text.encode()).hexdigest()[:32]
