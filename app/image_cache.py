"""Images of data sets, and archives, cached: opened once, and looked at again when files change.

Only this module and `app.cache`, for what runs have written, use st.cache_*.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from threading import Lock

import numpy as np
import streamlit as st

from app.kit.thumbnails import Thumbnails
from core import labels, metrics
from core.archive import Archive, parts
from core.archive.encoder import FILE as ENCODER
from core.archive.labels import FILE as TRAINING
from core.archive.labels import kept
from core.data import Dataset, ImageSet, Report, examination
from core.data.duplicates import result as duplicates_of
from core.data.pair import Pair


def prepared(images: ImageSet, seed: int) -> Dataset:
    """A data set with the split of that seed, memory-mapped.

    Raises:
        MaclError: If it is not prepared, has changed since, or its folder is gone.
    """
    return _dataset(images, seed, _files(images))


def files(images: ImageSet) -> str:
    """Fingerprint of the files of a data set (`ImageSet.fingerprint`); looks again after some seconds."""
    return _files(images)


def is_prepared(images: ImageSet) -> bool:
    """Whether `prepared` opens it at once."""
    key = (images, _files(images))
    if key not in _prepared() and images.can_open(key[1]):
        _prepared().add(key)
    return key in _prepared()


def examined(images: ImageSet) -> Report | None:
    """What a look at every image of a data set found, else at its files; None if nobody has looked."""
    return examination.result(images) or examination.result(images, decode=False)


def chance(data: Dataset, seed: int) -> dict[str, float]:
    """Chance of the 7 metrics on the test split."""
    return _chance(_labels(data), seed, data)


def label_sets(data: Dataset) -> int:
    """Number of different label sets."""
    return _label_sets(_labels(data), data)


def duplicates(key: str) -> list[Pair]:
    """Pairs that show the same place among the images of that key; MaclError before they were looked for."""
    return _duplicates(key)


def is_open(images: ImageSet) -> bool:
    """Whether the pictures of this data set were opened before, so that `thumbnails` answers at once."""
    return images in _opened()


def thumbnails(images: ImageSet) -> Thumbnails:
    """Small pictures of a data set, whatever the split; MaclError if its folder is gone."""
    pictures = _thumbnails(images)
    _opened().add(images)
    return pictures


def sprite(data: str, names: tuple[str, ...], compute: Callable[[], str]) -> str:
    """A sheet of these images of a data set; only a few are kept, as each is large."""
    return _sprite(data, names, compute)


@st.cache_resource(show_spinner="Opening the images …", max_entries=20)
def _dataset(images: ImageSet, seed: int, files: str) -> Dataset:
    return images.opened(seed)


@st.cache_resource(show_spinner=False, ttl=5, max_entries=200)
def _files(images: ImageSet) -> str:
    """Fingerprint of the files, some seconds old at most: what was read from changed files is not used."""
    return images.fingerprint()


@st.cache_resource(show_spinner=False)
def _prepared() -> set[tuple[ImageSet, str]]:
    return set()


@st.cache_resource(show_spinner=False, max_entries=50)
def _chance(labels_key: str, seed: int, _data: Dataset) -> dict[str, float]:
    return metrics.chance(_data.labels[_data.splits["test"]])


@st.cache_resource(show_spinner=False, max_entries=50)
def _label_sets(labels_key: str, _data: Dataset) -> int:
    return len(labels.distinct(_data.labels)[0])


def _labels(data: Dataset) -> str:
    """Key of what chance and splits depend on: two data sets may have the same images, but other labels."""
    return f"{data.name} {data.labels.shape} {sha256(data.labels.tobytes()).hexdigest()}"


@st.cache_resource(show_spinner=False, max_entries=20)
def _duplicates(key: str) -> list[Pair]:
    return duplicates_of(key)


def archive(uri: str) -> list[tuple[Archive, Lock]]:
    """The parts of an archive, one for each encoder; a lock is held while its part is read.

    Raises:
        MaclError: If there is none, or it cannot be read.
    """
    made = tuple((str(path), path.stat().st_mtime_ns) for path in sorted(Path(uri).glob(f"*/{ENCODER}")))
    return _archive(uri, made)


def training(part: Archive) -> tuple[np.ndarray, np.ndarray] | None:
    """Embeddings (N, D) and labels (N, L) of the training images that an archive's labels come from."""
    path = part.folder / TRAINING
    return _training(part.folder, path.stat().st_mtime_ns) if path.exists() else None


@st.cache_resource(show_spinner=False)
def _opened() -> set[ImageSet]:
    return set()


@st.cache_resource(show_spinner="Opening the images …", max_entries=10)
def _thumbnails(images: ImageSet) -> Thumbnails:
    return Thumbnails(images.opened())


@st.cache_data(show_spinner=False, max_entries=12)
def _sprite(data: str, names: tuple[str, ...], _compute: Callable[[], str]) -> str:
    return _compute()


@st.cache_resource(show_spinner=False, max_entries=20)
def _archive(uri: str, made: tuple[tuple[str, int], ...]) -> list[tuple[Archive, Lock]]:
    return [(part, Lock()) for part in parts(uri)]


@st.cache_resource(show_spinner=False, max_entries=20)
def _training(folder: Path, made: int) -> tuple[np.ndarray, np.ndarray] | None:
    return kept(folder)
