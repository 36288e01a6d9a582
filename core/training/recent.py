"""The data set that a process opened last, kept for its next run: many short trainings share one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from core.data import DATASETS, Dataset, split
from core.runs import RunConfig

Progress = Callable[[int, int, str], None]
Key = tuple[object, ...]

_kept: dict[Key, Dataset] = {}  # one entry; its key holds what the files looked like


def dataset(config: RunConfig, progress: Progress | None = None) -> Dataset:
    """As `core.data.load`, from memory where it is the last one's and cannot have changed."""
    key = _key(config)
    found = _kept.get(key) if key else None
    if found is not None:
        rows = split(found.labels, found.names, DATASETS[config.dataset], config.seed)
        return replace(found, splits=rows)
    data = config.images.load(config.seed, progress=progress)
    _kept.clear()
    if key:
        _kept[key] = data
    return data


def _key(config: RunConfig) -> Key:
    """What tells two data sets apart, the state of their files included; empty if nothing can.

    That can be said of an archive, and of pictures that come with the program; the files of a person's folder
    may change unseen.
    """
    comes_along = config.data_root is None and DATASETS[config.dataset].home is not None
    if not comes_along and not Path(config.data_root or "").is_file():
        return ()
    files = config.images.fingerprint()
    return (config.images, files) if files else ()
