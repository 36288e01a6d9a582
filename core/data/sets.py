"""Data sets by name: images prepared once, multi-hot labels, the paper's splits. Imports no torch."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.data import bigearthnet, demo, dlrsd, folder, ml_aid, whdld
from core.data.band_files import BandFiles, Patch
from core.data.checksums import all_remembered, checksums
from core.data.decode import quiet_decoding, side
from core.data.download import fetch_archive
from core.data.given import left_out, said, settled
from core.data.info import Dataset, DatasetInfo, Found
from core.data.limit import limited
from core.data.look import LOOK
from core.data.prepared import (
    Progress,
    is_kept,
    key_of,
    prepare,
    prepared_size,
)
from core.data.reading import READ, Reading, parsed_limit
from core.data.recall import Which, remember
from core.data.report import Report, examine
from core.data.source import IMAGES, File, mark, place, scan, shown, way_out
from core.data.splits import split
from core.data.stretch import look_of
from core.data.table import some
from core.errors import MaclError

SAMPLE = 20  # files opened by `sides`

DATASETS: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        demo.DEMO,
        dlrsd.DLRSD,
        dlrsd.UCM,
        ml_aid.ML_AID,
        whdld.WHDLD,
        bigearthnet.BIGEARTHNET,
        folder.FOLDER,
    )
}

_COLLECT: dict[str, Callable[[Sequence[File], Progress | None, Reading], Found]] = {
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


def find(
    name: str,
    root: str | Path | None = None,
    progress: Progress | None = None,
    reading: Reading = READ,
    *,
    may_unpack: bool = True,
) -> Found:
    """The images and labels of a data set on disk; only masks are decoded.

    Args:
        name: Key of `DATASETS`.
        root: Folder or archive; None looks in `default_root(name)`.
        progress: Called with (done, total, what).
        reading: How its tables and images are read.
        may_unpack: Raise where an archive would have to be unpacked first, which takes long: for pages.

    Raises:
        MaclError: If the folder is missing, or holds no images of this data set or faulty labels.
    """
    found = _found(name, root, progress, reading, may_unpack)
    if found.problems:
        raise MaclError("; ".join(found.problems))
    return found


def _found(
    name: str, root: str | Path | None, progress: Progress | None, reading: Reading, may_unpack: bool = True
) -> Found:
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
    if name == "bigearthnet":  # of which not every file is listed
        return _some(bigearthnet.find(place(root), progress, reading, may_unpack), known, reading)
    if reading.country:
        raise MaclError(f"--country: {known.title} says no countries, only BigEarthNet does")
    files = scan(place(root), progress, may_unpack)
    closed = [f"{file.path} is not read{way}" for file in files if (way := way_out(file.name))]
    if closed and not any(file.suffix in IMAGES for file in files):
        raise MaclError(f"no image found in {root}, but archives: {some(closed)}")
    try:
        found = _some(_COLLECT[name](files, progress, reading), known, reading)
    except MaclError as error:
        if not closed:
            raise
        raise MaclError(f"{error}; {some(closed)}") from None
    return replace(found, notes=(*found.notes, some(closed))) if closed else found


def _some(found: Found, known: DatasetInfo, reading: Reading) -> Found:
    """With the split that counts, and no more images than wanted."""
    return limited(settled(found, reading), known, parsed_limit(reading.limit))


def fingerprint(name: str, root: str | Path | None = None) -> str:
    """A text that changes with any file (of BigEarthNet: patch) of a data set; empty if nothing is there."""
    at = place(root) if root else default_root(name)
    return bigearthnet.mark(at) if name == "bigearthnet" and at.is_dir() else mark(at)


def load(
    name: str,
    root: str | Path | None = None,
    image_size: int = 128,
    seed: int = 0,
    *,
    skip_broken: bool = False,
    reading: Reading = READ,
    only_prepared: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """A data set ready for training; prepared on the first call, later opened in well under a second.

    Args:
        name: Key of `DATASETS`.
        root: Folder (any depth) or archive with the data set; None looks in `default_root(name)`.
        image_size: Training size in pixels; images are prepared 1.25 times larger.
        seed: Seed of the split; the images are the same for every seed.
        skip_broken: Leave broken images out instead of raising.
        reading: How its tables and images are read.
        only_prepared: Raise instead of preparing, which takes minutes: for pages.
        progress: Called with (done, total, what) from this thread.

    Raises:
        MaclError: If the data set is missing, incomplete or has broken images; with `only_prepared`, if it is
            not prepared.
        ValueError: If image_size or seed is out of range.
    """
    known = dataset_info(name)
    size = prepared_size(image_size)
    files_before = fingerprint(name, root)  # a file that changes meanwhile makes what is remembered invalid
    found = find(name, root, progress, reading, may_unpack=not only_prepared)
    damaged = {name for name, _ in found.broken}
    labelled, usable = _usable(found)
    if not usable.size:
        raise MaclError(
            f"{known.title}: none of {len(labelled)} images has a label in {found.labels_from}"
            f"{' and a part of the split' if found.given else ''}"
        )
    names = [found.names[i] for i in usable]
    files = [found.files[i] for i in usable]
    if only_prepared and not all_remembered(files):
        raise not_prepared(known, image_size)
    sums = checksums(files, progress)
    look, notes = look_of(names, files, sums, reading, progress)
    key = key_of(sums, size, look)
    if only_prepared and not is_kept(key, files, size, look):
        raise not_prepared(known, image_size)
    origin = f"{name} {os.path.abspath(place(root or default_root(name)))}"
    images, kept, skipped = prepare(
        names, files, key, size, skip_broken, progress, found.broken, origin, look
    )
    if skipped:  # once these are fixed the images differ while the checksums may not
        key = key_of([key, *map(str, kept)], size)
    names = [names[i] for i in kept]
    labels = found.labels[usable[kept]]
    given = tuple(found.given[i] for i in usable[kept]) if found.given else ()
    try:
        splits = split(labels, names, known, seed, given, found.whole)
    except MaclError as error:
        raise MaclError(f"{error}: see what is missing with `macl data check {name}`") from None
    data = Dataset(
        name=name,
        images=images,
        labels=labels,
        classes=found.classes,
        names=tuple(names),
        splits=splits,
        unlabelled=int((~labelled).sum()) - len(damaged),
        key=key,
        skipped=(*found.broken, *skipped),
        missing=len(found.without_image),
        notes=(*found.notes, *said(found), *notes),
        given_by=found.given_by,
        unnamed=int((labelled & left_out(found)).sum()),
        look=look,
        given=given,
        whole=found.whole,
        sides=_sides(files),
    )
    remember(which(name, root, image_size, reading), data, seed, files_before)
    return data


def which(name: str, root: str | Path | None, image_size: int, reading: Reading) -> Which:
    """The name under which `load` keeps what it has found."""
    return Which(name, place(root) if root else default_root(name), image_size, reading)


def not_prepared(known: DatasetInfo, image_size: int) -> MaclError:
    """The error where images would have to be prepared first."""
    return MaclError(
        f"{known.title} is not prepared for {image_size} pixels, or has changed since: "
        f"prepare it on the Data page or with `macl data prepare {known.name}`"
    )


def is_prepared(
    name: str, root: str | Path | None = None, image_size: int = 128, reading: Reading = READ
) -> bool:
    """Whether `load` would open this data set at once; False if it is not found. Reads no image.

    Raises:
        MaclError: If there is no data set of that name.
        ValueError: If image_size is out of range.
    """
    dataset_info(name)
    size = prepared_size(image_size)
    try:
        found = find(name, root, reading=reading, may_unpack=False)
    except MaclError:
        return False
    usable = _usable(found)[1]
    names, files = [found.names[i] for i in usable], [found.files[i] for i in usable]
    if not files or not all_remembered(files):
        return False
    sums = checksums(files)
    try:
        look, _ = look_of(names, files, sums, reading)
    except MaclError:
        return False
    return is_kept(key_of(sums, size, look), files, size, look)


def sides(name: str, root: str | Path | None = None) -> list[tuple[int, int]]:
    """Width and height of the original images, from a sample, most frequent first.

    Raises:
        MaclError: If the data set is missing.
    """
    return list(_sides(find(name, root, may_unpack=False).files))


def _sides(files: Sequence[File | BandFiles | Patch]) -> tuple[tuple[int, int], ...]:
    seen: Counter[tuple[int, int]] = Counter()
    for file in files[:: max(1, len(files) // SAMPLE)]:
        with contextlib.suppress(Exception), quiet_decoding():  # a damaged file is reported elsewhere
            seen[side(file.read())] += 1
    return tuple(size for size, _ in seen.most_common())


def check(
    name: str,
    root: str | Path | None = None,
    decode: bool = False,
    progress: Progress | None = None,
    reading: Reading = READ,
) -> Report:
    """What was found, missing or broken in a data set; problems are reported, not raised.

    Args:
        name: Key of `DATASETS`.
        root: Folder or archive; None looks in `default_root(name)`.
        decode: Decode every image to find the broken ones.
        progress: Called with (done, total, what).
        reading: How its tables and images are read.

    Raises:
        MaclError: If there is no data set of that name.
    """
    known = dataset_info(name)
    where = shown(str(default_root(name) if root is None else root))
    try:
        found = _found(name, root, progress, reading)
    except MaclError as error:
        return Report(name, where, expected=known.images, problems=(str(error),))
    look, usable = LOOK, _usable(found)[1]
    if usable.size:
        names, files = [found.names[i] for i in usable], [found.files[i] for i in usable]
        try:
            look, notes = look_of(
                names, files, checksums(files, progress) if decode else (), reading, progress
            )
            found = replace(found, notes=(*found.notes, *notes))
        except MaclError as error:
            found = replace(found, problems=(*found.problems, str(error)))
    return examine(known, where, found, decode, progress, look)


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
    """Which images have a label, (N,) bool, and the indices of those that the split does not leave out."""
    labelled = found.labels.max(axis=1, initial=0) > 0
    return labelled, np.flatnonzero(labelled & ~left_out(found))
