"""What a run began with: its configuration, and digests of its images, labels and weights.

They are kept in each checkpoint and in data.json of the run. A run is resumed on nothing else: what comes out
would be two trainings under one name.
"""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from core.data import Dataset
from core.errors import MaclError
from core.runs import RunConfig

# nothing that is trained depends on these; whether images and weights in another place are the same, their
# digests tell
FREE = {"device", "preset", "embed_every", "data_root", "skip_broken", "weights"}
WAY_OUT = "or start a new run"
CHANGED = {
    "names": "the images of {} have changed since this run began (added, removed or renamed)",
    "images": "the pixels of the images of {} have changed since this run began",
    "classes": "the names of the labels of {}, or their order, have changed since this run began",
    "labels": "the labels of {} have changed since this run began",
    "splits": "the split of {} into training, validation and test has changed since this run began",
}


def digests(config: RunConfig, data: Dataset, weights: str) -> dict[str, str]:
    """What is trained on, each in short; equal contents in another place are equal.

    Args:
        config: Of the run.
        data: Its images and labels; `Dataset.key` says the pixels, and costs nothing.
        weights: From `core.encoder.weights.weights_key`.
    """
    return {
        "images": data.key,
        "names": _digest(data.names),
        "classes": _digest(data.classes),
        "labels": sha256(np.ascontiguousarray(data.labels).tobytes()).hexdigest()[:32],
        "splits": _digest(f"{name} {rows.tolist()}" for name, rows in sorted(data.splits.items())),
        "weights": weights,
        "configuration": _digest([json.dumps(config.model_dump(exclude=FREE), sort_keys=True)]),
    }


def check_config(config: RunConfig, began: Mapping[str, Any]) -> None:
    """MaclError if a field that decides the training is another than that of the configuration `began`.

    A field that only one of the two versions of the program knows says nothing.
    """
    now = config.model_dump(exclude=FREE)
    before = {name: value for name, value in began.items() if name not in FREE}
    if now["loss"] == before.get("loss"):  # else all parameters are others, too
        now, before = now | now["params"], before | before["params"]
    names = [name for name in now if name != "params" and now[name] != before.get(name, now[name])]
    if names:
        said, was = (", ".join(f"{name} {values[name]}" for name in names) for values in (now, before))
        it = "it" if len(names) == 1 else "them"
        raise MaclError(f"config.json says {said}, but this run began with {was}: put {it} back, {WAY_OUT}")


def check_data(now: Mapping[str, str], began: Mapping[str, str], title: str) -> None:
    """MaclError if images, labels or split are others than those of the digests `began`."""
    for name, changed in CHANGED.items():
        if now[name] != began[name]:
            it = "it" if name == "splits" else "them"
            raise MaclError(f"{changed.format(title)}: put {it} back as before, {WAY_OUT}")


def check_weights(config: RunConfig, began: Mapping[str, Any], now: str, before: str) -> None:
    """MaclError if the backbone's weights are others than those that the run began with.

    Args:
        config: Of the run now.
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
    text = json.dumps(list(parts))  # not joined: a name may hold any letter
    return sha256(text.encode()).hexdigest()[:32]
