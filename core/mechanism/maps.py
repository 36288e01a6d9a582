"""All maps of one batch under one loss, for the page and for CSV files."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.labels import jaccard, overlap
from core.losses import Value
from core.mechanism.force import MACL, WITH_PROTOTYPES, factors, forces, written
from core.mechanism.macl import PairTerms, printed_forces
from core.report.spreadsheet import to_csv

Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]
How = Literal["", "autograd", "pull-back"]

LABELWISE = (*MACL, "mulsupcon", "wg_mulsupcon")


@dataclass(frozen=True, eq=False)
class Batch:
    """Images that a loss sees in one batch.

    Attributes:
        y: (B, L) labels.
        labels: (N, L) labels of the training split.
        z: (B, D) embeddings, unit rows; None without a run.
        prototypes: (L, D) unit rows (or rows of 0), for the losses that have prototypes; None without a run.
    """

    y: Labels
    labels: Labels
    z: Floats | None = None
    prototypes: Floats | None = None

    @cached_property
    def key(self) -> str:
        """Hash of its content."""
        parts = hashlib.sha256()
        for array in (self.y, self.labels, self.z, self.prototypes):
            if array is None:
                parts.update(b"none")
            else:
                parts.update(f"{array.dtype.str}{array.shape}".encode())
                parts.update(array.tobytes())
        return parts.hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the process beside the page says of a loss that has no numpy form.

    Attributes:
        arrays: "force", and where the loss offers them "w" and "T", each (B, B).
        how: How the force was found, see `core.mechanism.worker.force`; empty if there is none.
    """

    arrays: dict[str, Floats]
    how: How = ""


@dataclass(frozen=True, eq=False)
class Maps:
    """What a loss does with a batch; K columns as in `core.mechanism.force.Factors`.

    Attributes:
        values: Name to (B, K): "T", "w", "gamma", "J", "s", "pull", "force", and for eq. 4 "printed" and
            "difference". Maps that the loss does not define, or that need missing embeddings, are left out;
            w, gamma and pull are 0 for pairs that are not positive. Values at the anchor itself mean nothing.
        images: Whether the first B columns are the batch itself.
        terms: f, h, J, w, T of MACL; None for the other losses.
        params: All parameters of the loss, as given.
        how: How the force was found, of a loss that has no numpy form.
    """

    values: dict[str, Floats]
    images: bool
    terms: PairTerms | None
    params: Mapping[str, Value]
    how: How = ""


def maps(key: str, batch: Batch, params: Mapping[str, Value], answer: Answer | None = None) -> Maps:
    """All maps of a batch under a loss.

    "T": eq. 2; τ for other losses, none for OML. "w": eq. 1; for MulSupCon 1 on positives, for other losses B
    times the pair's factor in the loss. "gamma": w/T. "pull": attraction in the unit of the force, including
    |P_l| and the mean over anchors. "force": −∂L/∂s. "printed": the force if eq. 7 held as printed.

    Args:
        key: The loss.
        batch: The images.
        params: All parameters of the loss.
        answer: For a loss that has no numpy form, see `core.mechanism.written`: from `core.mechanism.ask`.
    """
    if not written(key):
        return _asked(batch, params, answer or Answer({}))
    y = batch.y
    batch_factors = factors(key, y, batch.labels, params)
    weight, terms = batch_factors.weights, batch_factors.terms  # (B, K)
    if terms:
        w = terms.w.copy()
        np.fill_diagonal(w, 0)
    else:
        w = (weight > 0).astype(np.float64) if key in LABELWISE else weight * len(y)
    values = {"w": w}
    if batch_factors.T is not None:
        T = np.broadcast_to(batch_factors.T, weight.shape)
        values |= {"T": T, "gamma": w / T, "pull": weight / T}
    values["J"] = _overlap(key, y)
    s = _similarities(key, batch)
    if s is not None:
        values["s"] = s
        values["force"] = forces(key, s, y, params, batch_factors)
        if terms and params["denominator"] == "paper":
            values["printed"] = printed_forces(s, y, terms, key == "wg_macl")
            values["difference"] = values["printed"] - values["force"]
    return Maps(values, key != "lproto", terms, params)


def shares(
    key: str, batch: Batch, params: Mapping[str, Value], anchor: int, answer: Answer | None = None
) -> Floats:
    """What one anchor is pulled to, as shares of the total pull on it: (B+L,), images then prototypes.

    All 0 if the anchor has no positive. For OML, which has no softmax: shares of the precision's weight, the
    image itself left out. For a loss that has no numpy form: of its w/T or w, else of the forces that pull.
    """
    if not written(key):
        return _asked_shares(batch, answer or Answer({}), anchor)
    batch_factors = factors(key, batch.y, batch.labels, params)
    weight = batch_factors.weights[anchor].copy()  # (K,)
    if batch_factors.terms:  # the others have one τ, which cancels in a share
        weight /= batch_factors.terms.T[anchor]
    if batch_factors.T is None:
        weight[anchor] = 0
    b, count = len(batch.y), batch.y.shape[1]
    row = np.zeros(b + count)
    if key == "lproto":
        row[b:] = weight
    else:
        row[: len(weight)] = weight
    return row / row.sum() if row.sum() > 0 else row


def _asked(batch: Batch, params: Mapping[str, Value], answer: Answer) -> Maps:
    values = {str(name): answer.arrays[name].copy() for name in ("w", "T") if name in answer.arrays}
    if "w" in values:
        np.fill_diagonal(values["w"], 0)
    if len(values) == 2:
        values["gamma"] = values["w"] / values["T"]
    values["J"] = jaccard(batch.y, batch.y)
    s = _similarities("", batch)
    if s is not None:
        values["s"] = s
    if "force" in answer.arrays:
        values["force"] = answer.arrays["force"]
    return Maps(values, True, None, params, answer.how)


def _asked_shares(batch: Batch, answer: Answer, anchor: int) -> Floats:
    values = _asked(batch, {}, answer).values
    name = next((name for name in ("gamma", "w", "force") if name in values), "J")
    row = np.zeros(len(batch.y) + batch.y.shape[1])
    if name != "J":
        row[: len(batch.y)] = np.maximum(values[name][anchor], 0)
    row[anchor] = 0
    return row / row.sum() if row.sum() > 0 else row


def centroids(z: NDArray[np.float32], y: Labels) -> Floats:
    """Mean direction of the images with each label, in place of prototypes: (N, D), (N, L) -> (L, D).

    A label that no image holds gets a row of 0.
    """
    mean = y.astype(np.float64).T @ z  # (L, D)
    return np.asarray(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12))


def pairs_csv(maps: Maps, y: Labels, names: Sequence[str], classes: Sequence[str]) -> str:
    """One line per pair of an anchor and another image or prototype, with unrounded values of all maps."""
    keys = [*maps.values]
    head = ["anchor", "other", "anchor_labels", "other_labels", "shared"]
    if maps.terms:
        head += ["f", "h"]
    return to_csv([head + keys, *_pairs(maps, y, names, classes, keys)])


def table_csv(head: Sequence[str], columns: Sequence[Iterable[object]]) -> str:
    """A table of columns of equal length as CSV."""
    return to_csv([list(head), *zip(*columns, strict=True)])


def _pairs(
    maps: Maps, y: Labels, names: Sequence[str], classes: Sequence[str], keys: list[str]
) -> Iterator[list[object]]:
    labels = ["; ".join(name for name, has in zip(classes, row, strict=True) if has) for row in y]
    count = len(classes)
    columns = list(zip(names, labels, strict=True)) if maps.images else []
    others = y if maps.images else np.zeros((0, count), np.uint8)
    width = maps.values["J"].shape[1]
    if width > len(columns):
        columns += [(f"prototype of {name}", name) for name in classes]
        others = np.concatenate([others, np.eye(count, dtype=np.uint8)])
    shared = overlap(y, others)
    arrays = [maps.values[key].tolist() for key in keys]
    f = maps.terms.f.tolist() if maps.terms else []
    h = maps.terms.h.tolist() if maps.terms else []
    for i, name in enumerate(names):
        for a, (other, other_labels) in enumerate(columns):
            if maps.images and a == i:
                continue
            row: list[object] = [name, other, labels[i], other_labels, int(shared[i, a])]
            if maps.terms:
                row += [f[i][a], h[i]]
            yield row + [array[i][a] for array in arrays]


def _overlap(key: str, y: Labels) -> Floats:
    prototypes = np.eye(y.shape[1], dtype=np.uint8)
    if key == "lproto":
        return jaccard(y, prototypes)
    return jaccard(y, np.concatenate([y, prototypes]) if key in WITH_PROTOTYPES else y)


def _similarities(key: str, batch: Batch) -> Floats | None:
    if batch.z is None:
        return None
    z = batch.z.astype(np.float64)
    if key != "lproto" and key not in WITH_PROTOTYPES:
        return np.asarray(z @ z.T)
    if batch.prototypes is None:
        return None
    c = batch.prototypes.astype(np.float64)
    return np.asarray(z @ (c if key == "lproto" else np.concatenate([z, c])).T)
