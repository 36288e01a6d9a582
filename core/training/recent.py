"""The data set a process opened last, kept for its next run: many short runs share one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from core.data import DATASETS, Dataset, split
from core.runs import RunConfig

Progress = Callable[[int, int, str], None]
Key = tuple[object, ...]

_kept: dict[Key, Dataset] = {}  # one entry; its key holds a fingerprint of the files


def dataset(config: RunConfig, progress: Progress | None = None) -> Dataset:
    """As `core.data.load`, but from memory if it is the last one opened and cannot have changed."""
    key = _key(config)
    cached = _kept.get(key) if key else None
    if cached is not None:
        known = DATASETS[config.dataset]
        rows = split(cached.labels, cached.names, known, config.seed, cached.given, cached.whole)
        return replace(cached, splits=rows)
    data = config.images.load(config.seed, progress=progress)
    _kept.clear()
    if key:
        _kept[key] = data
    return data


def _key(config: RunConfig) -> Key:
    """What tells two data sets apart, including the state of their files; empty if nothing can.

    An archive and the images that come with the program can be told apart; the files of a person's folder may
    change unseen.
    """
    comes_along = config.data_root is None and DATASETS[config.dataset].home is not None
    if not comes_along and not Path(config.data_root or "").is_file():
        return ()
    files = config.images.fingerprint()
    return (config.images, files) if files else ()
