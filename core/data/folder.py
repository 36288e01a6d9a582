"""A person's own images: a folder (or archive) of images with tables of labels, or one folder per label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from core.data.band_files import BandFiles, grouped
from core.data.cells import (
    NAMES,
    SAYS_NO,
    SAYS_YES,
    UNKNOWN,
    are_lists,
    are_words,
    cells_of,
    labels_of,
    near_equal,
)
from core.data.columns import ENOUGH, Columns, has_header, image_column, sort_columns
from core.data.find_table import find_table
from core.data.given import by_folders, narrowed, one_table, with_split
from core.data.image_names import ImageNames
from core.data.info import DatasetInfo, Found
from core.data.parts import split_column, unclear_split
from core.data.prepared import Progress
from core.data.reading import READ, Reading
from core.data.source import IMAGES, File
from core.data.table import FLAGS, YES, some
from core.data.text_table import Row, Rows
from core.errors import MaclError

FOLDER = DatasetInfo(
    name="folder",
    title="Your own images",
    summary="A folder of images and a table: 0/1 columns or a column of labels; or one folder per label.",
    classes=(),
    images=0,
    train=0,
    val=0,
    terms="Yours.",
    where="your own folder, given with --data-root",
)
NAMED = 10_000  # rows without image that are named; the others are counted


def collect(files: Sequence[File], progress: Progress | None = None, reading: Reading = READ) -> Found:
    """Images in any sub-folders, matched to the rows of a table, or of one for each part of a split.

    Without a table each folder is a label.

    A row may name a path, the end of one, or either without extension. A whole path is preferred to an
    end, and a match in upper and lower case to one without.

    Raises:
        MaclError: If there is no image, not exactly one table or one for each part of a split, or it is not
            one of labels of these images.
    """
    images = [file for file in files if file.suffix in IMAGES]
    if not images:
        raise MaclError(f"no image found: need files ending in {', '.join(sorted(IMAGES))}")
    joined, note = grouped(images)
    try:
        found = _collect(joined, files, reading)
    except MaclError:
        if not note:
            raise
        with suppress(MaclError):
            return _collect(images, files, reading)  # the table may name each of these files
        raise
    return replace(found, notes=(*note, *found.notes))


def _collect(images: Sequence[File | BandFiles], files: Sequence[File], reading: Reading) -> Found:
    names = ImageNames.of(images)
    chosen = find_table(files, names)
    folders = by_folders([f"{image.archive}/{image.path}" for image in images])
    listed = [
        (fits[0], part)
        for _, part, cells in chosen.lists
        for fits in (narrowed(names.find(cell), part, folders) for cell in cells)
        if len(fits) == 1
    ]
    lists = f"the names in {', '.join(file.path for file, _, _ in chosen.lists)}"
    if not chosen.labels:
        return with_split(_by_folder(images, chosen.notes, reading), listed, lists, folders, reading)
    path = ", ".join(file.path for file, _, _ in chosen.labels)
    if len(chosen.labels) == 1:
        table, parts = chosen.labels[0][2], list[str]()
    else:
        rows, parts = one_table([(file, part, table.rows) for file, part, table in chosen.labels])
        every = [table for _, _, table in chosen.labels]
        table = replace(
            every[0],
            rows=rows,
            left_out=sum(table.left_out for table in every),
            notes=tuple(dict.fromkeys(note for table in every for note in table.notes)),
            problems=tuple(problem for table in every for problem in table.problems),
        )
    found, about, by = _by_table(path, table, parts, names, folders, reading)
    found = replace(found, notes=(*found.notes, *chosen.notes))
    if listed and any(part for _, part in about):
        found = replace(found, notes=(*found.notes, f"{lists} do not count: the split is given by {by}"))
    elif listed:
        about, by = listed, lists
    return with_split(found, about, by, folders, reading)


def _by_table(
    path: str, table: Rows, parts: list[str], names: ImageNames, folders: Sequence[str], reading: Reading
) -> tuple[Found, list[tuple[int, str]], str]:
    """Images with the labels of the rows of a table; the part that it says of each; and where, in words.

    Args:
        path: The table, for messages; several of a split.
        table: Its rows.
        parts: The part of the split of each; empty if it is one table.
        names: What each image may be called.
        folders: The part of the split that the folder of each image says.
        reading: What the person says.
    """
    image = image_column(table.rows, names, reading.image_column, path)
    is_named = bool(reading.image_column) or has_header(table.rows, image, names)
    header = table.rows[0][1] if is_named else []
    rows = table.rows[1:] if is_named else table.rows
    if header and image == 1 and rows and all(len(row) == len(header) + 1 for _, row in rows):
        header = ["", *header]  # R writes the numbers of the rows without a name for them
    columns = sort_columns(header, rows, image, reading, path)
    notes = (*table.notes, *_left_out(table, path))
    between = f"columns separated by {NAMES[table.delimiter]}, " if table.delimiter in NAMES else ""
    if columns.are_flags:
        classes, labels, more, problems = _flags(rows, header, columns, reading, path)
        note = f"{between}{len(classes)} columns of 0 and 1"
        more += _in_every_row(classes, labels)
    else:
        classes, labels, separator = _names(rows, columns, table.delimiter, reading, path)
        problems, more = (), _unused(rows, columns, separator, reading)
        mark = NAMES.get(separator, f'"{separator}"')
        lists = not separator and all(are_lists(cells_of(rows, k), path) for k in columns.labels)
        how = f"labels separated by {mark}" if separator else "in lists" if lists else "one label per row"
        note = f"{between}one column of labels, {how}"
    classes, labels, joined = _near_equal(classes, labels, reading)
    cells = cells_of(rows, image)
    by = f"the tables {path}" if parts else f"a column of {path}"
    parts = parts[len(parts) - len(rows) :] or split_column(header, rows, reading) or []
    if not parts:
        parts = [""] * len(rows)
        if not any(folders):
            said, asked = unclear_split(header, rows, reading, path)
            more, problems = (*more, *said), (*problems, *asked)
    means = [narrowed(names.find(cell), part, folders) for cell, part in zip(cells, parts, strict=True)]
    if garbled := [name for name in classes if "\ufffd" in name]:
        problems += (
            f"the label table {path} has characters that cannot be read in {some(garbled)}: save it as UTF-8",
        )
    found = _join(names.images, means, cells, labels, classes, path)
    problems = (*(f"{path}: {problem}" for problem in table.problems), *problems)
    found = replace(
        found,
        notes=(note, *notes, *more, *joined, *found.notes),
        problems=(*problems, *found.problems),
        columns=columns.said,
    )
    about = [(fits[0], part) for fits, part in zip(means, parts, strict=True) if len(fits) == 1]
    return found, about, by


def _left_out(table: Rows, path: str) -> tuple[str, ...]:
    if not table.left_out:
        return ()
    return (f"{table.left_out:,} rows of {path} name no image here and were not read",)


def _unused(rows: Sequence[Row], columns: Columns, separator: str, reading: Reading) -> tuple[str, ...]:
    """A note on a separator that the person gives and no cell has."""
    has = any(separator in cell for k in columns.labels for cell in cells_of(rows, k))
    return (
        (f"no cell of labels has the separator {reading.separator!r}",)
        if reading.separator and not has
        else ()
    )


def _in_every_row(classes: Sequence[str], labels: np.ndarray) -> tuple[str, ...]:
    """A note on labels that tell no image from another: they may be marks of something else."""
    if len(labels) < ENOUGH:
        return ()
    names = [name for name, column in zip(classes, labels.T, strict=True) if column.all()]
    return (
        (f"every row has {some(names)}: leave out what is no label with --ignore-columns",) if names else ()
    )


def _flags(
    rows: Sequence[Row], header: Sequence[str], columns: Columns, reading: Reading, path: str
) -> tuple[list[str], np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Classes, labels (rows, L), notes, and problems with some of the cells."""
    classes = [" ".join(header[k].split()) if header else "" for k in columns.labels]  # a cell may hold lines
    if columns.open_end or not all(classes) or len(set(classes)) < len(classes):
        count = len(classes) + columns.open_end * (max(len(row) for _, row in rows) - len(header))
        raise MaclError(
            f"the label table {path} needs a first row that names each of its {count} label columns once"
        )
    labels = np.zeros((len(rows), len(classes)), dtype=np.uint8)
    words = {
        label
        for label, column in enumerate(columns.labels)
        if are_words([cell.lower() for cell in cells_of(rows, column)])
    }
    faults: list[str] = []
    unknown: list[str] = []
    for at, (number, row) in enumerate(rows):
        for label, column in enumerate(columns.labels):
            cell = row[column].lower() if column < len(row) else ""
            if cell in YES or (label in words and cell in SAYS_YES):
                labels[at, label] = 1
            elif label in words and cell in SAYS_NO:
                continue
            elif cell in UNKNOWN:
                unknown.append(f"{cell or 'nothing'} in row {number}, column {classes[label]}")
            elif cell not in FLAGS:
                faults.append(f"{row[column]!r} in row {number}, column {classes[label]}")
    problems: tuple[str, ...] = ()
    if faults:
        problems = (f"the label table {path} has {some(faults, '; ')}: need 0 or 1",)
    if not unknown:
        return classes, labels, (), problems
    if reading.unknown == "no":
        return classes, labels, (f"{len(unknown):,} flags are -1 or empty: taken as no",), problems
    unsure = (
        f"the label table {path} has {some(unknown, '; ')}, which may mean unknown or no: "
        "write 0 or 1, or take all of them as no with --unknown no"
    )
    return classes, labels, (), (*problems, unsure)


def _names(
    rows: Sequence[Row], columns: Columns, delimiter: str, reading: Reading, path: str
) -> tuple[list[str], np.ndarray, str]:
    """Classes, labels (rows, L), and what separates the labels of one cell; empty for one label per cell."""
    parts: list[list[str]] = [[] for _ in rows]
    separator = ""
    for column in columns.labels:
        if columns.open_end and column == max(columns.labels):
            cells = [delimiter.join(row[column:]) for _, row in rows]
            sure = delimiter
        else:
            cells, sure = cells_of(rows, column), ""
        more, mark = labels_of(cells, sure, reading.separator, path)
        separator = separator or mark
        parts = [[*one, *other] for one, other in zip(parts, more, strict=True)]
    classes = sorted({name for names in parts for name in names})
    column_of = {name: column for column, name in enumerate(classes)}
    labels = np.zeros((len(rows), len(classes)), dtype=np.uint8)
    for at, names in enumerate(parts):
        labels[at, [column_of[name] for name in names]] = 1
    return classes, labels, separator


def _near_equal(
    classes: list[str], labels: np.ndarray, reading: Reading
) -> tuple[list[str], np.ndarray, tuple[str, ...]]:
    """Classes and labels with nearly equal names joined, if the person says so, and a note on them."""
    groups = near_equal(classes)
    if not groups:
        return classes, labels, ()
    said = "; ".join(" and ".join(group) for group in groups)
    if reading.near_equal == "keep":
        return classes, labels, (f"labels that are nearly equal: {said}: join them with --near-equal join",)
    counts = dict(zip(classes, labels.sum(axis=0, dtype=np.int64).tolist(), strict=True))
    name_of = {name: max(group, key=lambda name: counts[name]) for group in groups for name in group}
    kept = [name for name in classes if name_of.get(name, name) == name]
    joined = np.zeros((len(labels), len(kept)), dtype=np.uint8)
    for column, name in enumerate(classes):
        joined[:, kept.index(name_of.get(name, name))] |= labels[:, column]
    return kept, joined, (f"labels that are nearly equal were joined: {said}",)


def _join(
    images: Sequence[File | BandFiles],
    means: Sequence[list[int]],
    cells: Sequence[str],
    labels: np.ndarray,
    classes: Sequence[str],
    path: str,
) -> Found:
    """One row of labels per image; the labels of several rows about one image are joined.

    Args:
        images: The images.
        means: Of each row the images it may mean.
        cells: Of each row what it calls its image.
        labels: (rows, L).
        classes: L names.
        path: The table, for messages.
    """
    matrix = np.zeros((len(images), len(classes)), dtype=np.uint8)
    times: Counter[int] = Counter()
    missing: list[str] = []
    unclear: list[str] = []
    for cell, fits, flagged in zip(cells, means, labels, strict=True):
        if len(fits) > 1:
            unclear.append(f"{cell} fits {' and '.join(images[i].path for i in fits[:2])}")
        elif fits:
            times[fits[0]] += 1
            matrix[fits[0]] |= flagged
        else:
            missing.append(cell)
    problems: tuple[str, ...] = ()
    if unclear:
        problems = (
            f"the label table {path} leaves open which image it means: {some(unclear, '; ')}: "
            "give the sub-folder too, and the name as it is on the disk, with its extension",
        )
    elif not times:
        raise MaclError(
            f"no row of {path} fits an image: its column of images has {cells[0] if cells else 'nothing'!r}, "
            f"the images are called like {images[0].path!r}: say which column names them with --image-column"
        )
    several = tuple(images[i].path for i in sorted(times) if times[i] > 1)
    notes: tuple[str, ...] = ()
    if several:
        notes = (f"{len(several)} images have several rows: their labels were joined",)
    if len(missing) > NAMED:
        notes += (f"{len(missing):,} rows have no image; the first {NAMED:,} are named",)
    return Found(
        classes=tuple(classes),
        names=tuple(image.path for image in images),
        files=tuple(images),
        labels=matrix,
        labels_from=path,
        without_row=tuple(image.path for i, image in enumerate(images) if i not in times),
        without_image=tuple(missing[:NAMED]),
        notes=notes,
        several_rows=several,
        problems=problems,
    )


def _by_folder(images: Sequence[File | BandFiles], said: tuple[str, ...], reading: Reading) -> Found:
    """Each image with the name of its folder as its only label.

    Args:
        images: All in folders of labels.
        said: What is to be said of the way the labels were read.
        reading: Whether nearly equal names are joined.
    """
    folders = [image.path.split("/")[-2] for image in images]
    classes = sorted(set(folders))
    labels = np.array([[name == folder for name in classes] for folder in folders], dtype=np.uint8)
    classes, labels, joined = _near_equal(classes, labels, reading)
    return Found(
        classes=tuple(classes),
        names=tuple(image.path for image in images),
        files=tuple(images),
        labels=labels,
        labels_from="the folders",
        notes=(*said, *joined),
    )
