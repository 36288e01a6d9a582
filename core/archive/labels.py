"""The labels that a run predicts for an image: those of the nearest training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from core.data.prepared import Progress
from core.errors import MaclError
from core.files import write_atomic
from core.runs import Run

if TYPE_CHECKING:
    from core.encoder.trained import Trained

NEAREST = 10  # training images that vote
HELD = 0.5  # share of them that must hold a label
FILE = "training.safetensors"
BATCH = 64


@dataclass(frozen=True)
class Predicted:
    """The label that most of the nearest hold, the share of them, and all that at least half of them hold."""

    label: str = ""
    share: float = 0.0
    labels: tuple[str, ...] = ()


def predict(
    z: np.ndarray, known: tuple[np.ndarray, np.ndarray] | None, classes: Sequence[str]
) -> list[Predicted]:
    """The labels of images.

    Args:
        z: Their embeddings (n, D), unit rows.
        known: Embeddings (N, D) and labels (N, L) of the training images; None if they are gone.
        classes: Names of the labels.
    """
    if known is None or not len(known[0]):
        return [Predicted()] * len(z)
    towards, y = known
    count = min(NEAREST, len(towards))
    nearest = np.argpartition(-(z @ towards.T), count - 1, axis=1)[:, :count]  # (n, count)
    shares = y[nearest].astype(np.float64).mean(axis=1)  # (n, L)
    answers = []
    for row in shares:
        order = np.argsort(-row, kind="stable")
        held = tuple(classes[i] for i in order if row[i] >= HELD)
        answers.append(Predicted(classes[order[0]], float(row[order[0]]), held))
    return answers


def training_images(
    run: Run, network: Trained, folder: Path, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, D) and labels (N, L) of a run's training images; kept in the folder once computed.

    Raises:
        MaclError: If the images or their labels are not as they were.
    """
    if (known := kept(folder)) is not None:
        return known
    data, names = run.config.images.load(progress=progress), run.splits().get("train", [])
    if list(data.classes) != run.classes():
        raise MaclError(f"{data.name} has other labels now than when {run.id} was trained")
    at = {name: i for i, name in enumerate(data.names)}
    missing = [name for name in names if name not in at]
    if missing or not names:
        raise MaclError(f"{len(missing)} training images of {run.id} are gone from {data.name}")
    rows = np.array([at[name] for name in names], np.int64)
    parts = []
    for start in range(0, len(rows), BATCH):
        parts.append(network.embed(data.images[rows[start : start + BATCH]]))
        if progress:
            progress(min(start + BATCH, len(rows)), len(rows), "Training images")
    z, y = np.concatenate(parts), np.ascontiguousarray(data.labels[rows]).astype(np.uint8)
    write_atomic(folder / FILE, save({"z": z, "y": y}))
    return z, y


def kept(folder: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """What `training_images` has kept in the folder; None if it has not, or if it is damaged."""
    try:
        found = load_file(folder / FILE)
        return found["z"], found["y"]
    except (OSError, SafetensorError, KeyError):
        return None
