"""Data sets by name: images prepared once, multi-hot labels, the paper's splits. Imports no torch."""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from core.data import demo, dlrsd, folder, ml_aid, whdld
from core.data.download import fetch_archive
from core.data.info import Dataset, DatasetInfo, Found
from core.data.prepared import (
    Progress,
    is_kept,
    key_of,
    prepare,
    prepared_size,
)
from core.data.report import Report, examine
from core.data.source import File, all_remembered, checksums, mark, place, scan, shown
from core.data.splits import split
from core.errors import MaclError

SAMPLE = 20  # files opened by `sides`

DATASETS: dict[str, DatasetInfo] = {
    info.name: info for info in (demo.DEMO, dlrsd.DLRSD, dlrsd.UCM, ml_aid.ML_AID, whdld.WHDLD, folder.FOLDER)
}

_COLLECT: dict[str, Callable[[Sequence[File], Progress | None], Found]] = {
    "demo": demo.collect,
    "dlrsd": dlrsd.collect_dlrsd,
    "ucm": dlrsd.collect_ucm,
    "ml_aid": ml_aid.collect,
    "whdld": whdld.collect,
    "folder": folder.collect,
}


def dataset_info(name: str) -> DatasetInfo:
    """What is known of a data set.

    Raises:
        MaclError: If there is none of that name.
    """
    if name not in DATASETS:
        raise MaclError(f"there is no data set {name!r}: choose one of {', '.join(DATASETS)}")
    return DATASETS[name]


def default_root(name: str) -> Path:
    """Where a data set is searched without --data-root: $MACL_DATA_ROOT/NAME, else in XDG_DATA_HOME.

    A data set that comes with the program is always in the program's own folder.
    """
    if name in DATASETS and (home := DATASETS[name].home):
        return home
    own = os.environ.get("MACL_DATA_ROOT")
    if own:
        return Path(own).expanduser() / name
    base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "macl-lab" / "data" / name


def find(name: str, root: str | Path | None = None, progress: Progress | None = None) -> Found:
    """The images and labels of a data set on disk; only masks are decoded.

    Raises:
        MaclError: If the folder is missing, or holds no images of this data set or faulty labels.
    """
    found = _found(name, root, progress)
    if found.problems:
        raise MaclError("; ".join(found.problems))
    return found


def _found(name: str, root: str | Path | None, progress: Progress | None) -> Found:
    """As `find`, but faults in the labels are listed, not raised."""
    known = dataset_info(name)
    if root is None:
        root = default_root(name)
        if not os.path.exists(root):  # Path.exists raises where a folder above cannot be read
            if name == "folder":
                raise MaclError(f"no images at {root}: give the folder of your own images with --data-root")
            raise MaclError(
                f"{known.title} is not at {root}: get it from {known.where}, "
                "or say where it is with --data-root"
            )
    return _COLLECT[name](scan(place(root)), progress)


def fingerprint(name: str, root: str | Path | None = None) -> str:
    """A text that changes with any file of a data set; empty if nothing is there."""
    return mark(place(root) if root else default_root(name))


def load(
    name: str,
    root: str | Path | None = None,
    image_size: int = 128,
    seed: int = 0,
    *,
    skip_broken: bool = False,
    only_prepared: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """A data set ready for training; prepared on the first call, later opened in well under a second.

    Args:
        name: Key of `DATASETS`.
        root: Folder (any depth) or .zip with the data set; None looks in `default_root(name)`.
        image_size: Training size in pixels; images are prepared 1.25 times larger.
        seed: Seed of the split; the images are the same for every seed.
        skip_broken: Leave broken images out instead of raising.
        only_prepared: Raise instead of preparing, which takes minutes: for pages.
        progress: Called with (done, total, what) from this thread.

    Raises:
        MaclError: If the data set is missing, incomplete or has broken images; with `only_prepared`, if it is
            not prepared.
        ValueError: If image_size or seed is out of range.
    """
    known = dataset_info(name)
    size = prepared_size(image_size)
    not_prepared = MaclError(
        f"{known.title} is not prepared for {image_size} pixels, or has changed since: "
        f"prepare it on the Data page or with `macl data prepare {name}`"
    )
    found = find(name, root, progress)
    damaged = {name for name, _ in found.broken}
    labelled, usable = _usable(found)
    if not usable.size:
        raise MaclError(f"{known.title}: none of {len(labelled)} images has a label in {found.labels_from}")
    names = [found.names[i] for i in usable]
    files = [found.files[i] for i in usable]
    key = key_of(checksums(files, progress), size)
    if only_prepared and not is_kept(key, files, size):
        raise not_prepared
    origin = f"{name} {os.path.abspath(place(root or default_root(name)))}"
    images, kept, skipped = prepare(names, files, key, size, skip_broken, progress, found.broken, origin)
    if skipped:  # once these are fixed the images differ while the checksums may not
        key = key_of([key, *map(str, kept)], size)
    names = [names[i] for i in kept]
    labels = found.labels[usable[kept]]
    return Dataset(
        name=name,
        images=images,
        labels=labels,
        classes=found.classes,
        names=tuple(names),
        splits=split(labels, names, known, seed),
        unlabelled=int((~labelled).sum()) - len(damaged),
        key=key,
        skipped=(*found.broken, *skipped),
        missing=len(found.without_image),
        notes=found.notes,
    )


def is_prepared(name: str, root: str | Path | None = None, image_size: int = 128) -> bool:
    """Whether `load` would open this data set at once; False if it is not found. Reads no image.

    Raises:
        MaclError: If there is no data set of that name.
        ValueError: If image_size is out of range.
    """
    dataset_info(name)
    size = prepared_size(image_size)
    try:
        found = find(name, root)
    except MaclError:
        return False
    files = [found.files[i] for i in _usable(found)[1]]
    return bool(files) and all_remembered(files) and is_kept(key_of(checksums(files), size), files, size)


def sides(name: str, root: str | Path | None = None) -> list[tuple[int, int]]:
    """Width and height of the original images, from a sample, most frequent first.

    Raises:
        MaclError: If the data set is missing.
    """
    files = find(name, root).files
    seen: Counter[tuple[int, int]] = Counter()
    for file in files[:: max(1, len(files) // SAMPLE)]:
        with contextlib.suppress(Exception):  # a damaged file is reported elsewhere
            seen[Image.open(io.BytesIO(file.read())).size] += 1
    return [size for size, _ in seen.most_common()]


def check(
    name: str, root: str | Path | None = None, decode: bool = False, progress: Progress | None = None
) -> Report:
    """What was found, missing or broken in a data set; problems are reported, not raised.

    Args:
        name: Key of `DATASETS`.
        root: Folder or .zip; None looks in `default_root(name)`.
        decode: Decode every image to find the broken ones.
        progress: Called with (done, total, what).

    Raises:
        MaclError: If there is no data set of that name.
    """
    known = dataset_info(name)
    where = shown(str(default_root(name) if root is None else root))
    try:
        found = _found(name, root, progress)
    except MaclError as error:
        return Report(name, where, expected=known.images, problems=(str(error),))
    return examine(known, where, found, decode, progress)


def fetch(
    name: str,
    destination: str | Path | None = None,
    progress: Progress | None = None,
    url: str | None = None,
    sha256: str | None = None,
) -> Path:
    """Download the archive of a data set and verify it; `load` reads it without unpacking.

    Args:
        name: Key of `DATASETS`.
        destination: Folder; None takes `default_root(name)`, where `load` looks.
        progress: Called with (bytes done, bytes in all or 0 when unknown, what).
        url: Another address of the same archive, or with `sha256` of any.
        sha256: Checksum of the archive, hexadecimal; None takes the published one.

    Returns:
        The archive; `DATASETS[name].download.note` says what it lacks.

    Raises:
        MaclError: If no address is known (the message says where to get it), or the download fails.
    """
    known = dataset_info(name)
    if known.home:
        raise MaclError(f"nothing to download: these images come with the program, in {known.home}")
    if name == "folder":
        raise MaclError("nothing to download: these images are your own: give their folder with --data-root")
    folder = default_root(name) if destination is None else Path(destination).expanduser()
    return fetch_archive(known, folder, progress, url, sha256)


def _usable(found: Found) -> tuple[np.ndarray, np.ndarray]:
    """Which images have a label, (N,) bool, and their indices."""
    labelled = found.labels.max(axis=1, initial=0) > 0
    return labelled, np.flatnonzero(labelled)
