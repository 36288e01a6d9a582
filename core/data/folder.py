"""A person's own images: a folder (or .zip) of images with one CSV of labels in it."""

from __future__ import annotations

import csv
import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from unicodedata import normalize

import numpy as np

from core.data.info import DatasetInfo, Found
from core.data.prepared import Progress
from core.data.source import IMAGES, File
from core.data.table import FLAGS, Row, decode_text, flags, some, split_rows
from core.errors import MaclError

FOLDER = DatasetInfo(
    name="folder",
    title="Your own images",
    summary="A folder of images and a CSV: the image first, then 0/1 columns or one column of labels.",
    classes=(),
    images=0,
    train=0,
    val=0,
    terms="Yours.",
    where="your own folder, given with --data-root",
)
NAMES = {";": "semicolons", "|": "bars", ",": "commas", " ": "spaces", "\t": "tabs", "\n": "line breaks"}


def collect(files: Sequence[File], progress: Progress | None = None) -> Found:
    """Images in any sub-folders, matched to the first column of the only CSV.

    The column may hold a path, the end of one, or either without extension. A whole path is preferred to an
    end, and a match in upper and lower case to one without.

    Raises:
        MaclError: If there is no image, not exactly one CSV, or it is not a table of labels of these images.
    """
    images = [file for file in files if file.suffix in IMAGES]
    tables = [file for file in files if file.suffix in (".csv", ".tsv")]
    if not images:
        raise MaclError(f"no image found: need files ending in {', '.join(sorted(IMAGES))}")
    if len(tables) != 1:
        fault = f"found {', '.join(table.path for table in tables)}: keep one" if tables else "found none"
        raise MaclError(f"need exactly one .csv with the labels in the folder, {fault}")
    rows, delimiter = _rows(tables[0])
    index = _index(images)
    header, rows = _header(rows, index)
    problems: tuple[str, ...] = ()
    if _is_flags(rows):
        classes, labels, problems = _flags(rows, header, tables[0].path)
        note = f"columns separated by {NAMES[delimiter]}, {len(classes)} columns of 0 and 1"
    else:
        classes, labels, separator = _separated(rows, header, delimiter, tables[0].path)
        between = f"labels separated by {NAMES[separator]}" if separator else "one label per row"
        note = f"columns separated by {NAMES[delimiter]}, one column of labels, {between}"
    joined = _join(images, index, rows, labels, tuple(classes), tables[0].path)
    return replace(joined, notes=(note, *joined.notes), problems=problems + joined.problems)


def _rows(table: File) -> tuple[list[Row], str]:
    try:
        text = decode_text(table.read())
    except Exception as error:  # a damaged file or zip may raise almost anything
        raise MaclError(f"the label table {table.path} cannot be read ({error})") from None
    line = next((line for line in text.splitlines() if line.strip(" ,;\t")), "")
    if not line:
        raise MaclError(f"the label table {table.path} is empty: need one row per image")
    # The first separator after the image name separates columns; later ones may separate labels.
    match = re.match(r'(?:"(?:[^"]|"")*"|[^,;\t"]*)([,;\t])', line)
    if match is None:
        raise MaclError(f"the label table {table.path} has one column only: need the image, then its labels")
    delimiter = match.group(1)
    try:
        return split_rows(text, delimiter, spaces=True), delimiter
    except csv.Error as error:
        raise MaclError(f"the label table {table.path} cannot be read ({error})") from None


@dataclass(frozen=True)
class _Index:
    """Every name a row may use for an image, with and without extension, in lower case.

    Attributes:
        images: The images.
        whole: Indices of the images by whole path.
        ends: The same by whole path and by every path without its first folders.
        folders: Names of all folders.
    """

    images: Sequence[File]
    whole: dict[str, list[int]]
    ends: dict[str, list[int]]
    folders: frozenset[str]

    def find(self, cell: str) -> list[int]:
        """Images that a row may mean: one, none, or several if it is ambiguous.

        Folders above the data set, from other machines, are dropped one by one. What remains must be a whole
        path: a row about a missing image must not label one of the same name elsewhere.
        """
        parts = [part for part in cell.replace("\\", "/").split("/") if part not in ("", ".")]
        for start in range(len(parts)):
            if start and _folded(parts[start - 1]) in self.folders:
                continue  # this folder is part of the data set: do not drop it
            text = "/".join(parts[start:])
            fits = self.whole.get(_folded(text)) or ([] if start else self.ends.get(_folded(text), []))
            if fits:
                return [i for i in fits if self._as_written(i, text)] or fits
        return []

    def _as_written(self, i: int, text: str) -> bool:
        path = f"/{self.images[i].path}"
        return path.endswith(f"/{text}") or posixpath.splitext(path)[0].endswith(f"/{text}")


def _folded(text: str) -> str:
    """Lower case, accents in one form: macOS decomposes them in file names, tables do not."""
    return normalize("NFC", text).lower()


def _index(images: Sequence[File]) -> _Index:
    whole: dict[str, list[int]] = {}
    ends: dict[str, list[int]] = {}
    for number, image in enumerate(images):
        path = _folded(image.path)
        for name in {path, posixpath.splitext(path)[0]}:
            whole.setdefault(name, []).append(number)
            parts = name.split("/")
            for start in range(len(parts)):
                ends.setdefault("/".join(parts[start:]), []).append(number)
    return _Index(images, whole, ends, frozenset(_folded(part) for image in images for part in image.folders))


def _header(rows: list[Row], index: _Index) -> tuple[list[str], list[Row]]:
    """The header (empty if the first row is already about an image), and the other rows."""
    header = rows[0][1]
    first = header[0]
    is_image = PurePosixPath(first.lower()).suffix in IMAGES or (index.find(first) and _is_like_others(rows))
    return ([], rows) if is_image else (header, rows[1:])


def _is_like_others(rows: list[Row]) -> bool:
    """Whether the first row has labels that other rows have: a header `image` may match an image.png."""
    labels_of_first = set(_parts(rows[0][1][1:]))
    return any(labels_of_first.intersection(_parts(row[1:])) for _, row in rows[1:])


def _is_flags(rows: list[Row]) -> bool:
    """Whether the columns after the first hold mostly 0 and 1: an odd cell is then a mistake to report."""
    if all(len(row) <= 2 for _, row in rows) and any(_is_class_number(*row[1:]) for _, row in rows):
        return False  # 0, 1 and 2 in a single column are labels
    cells = [cell.lower() for _, row in rows[:200] for cell in row[1:] if cell]
    return bool(cells) and 2 * sum(cell in FLAGS for cell in cells) > len(cells)


def _is_class_number(cell: str = "") -> bool:
    return re.fullmatch(r"\d+(\.0)?", cell) is not None and cell not in FLAGS


def _flags(
    rows: list[Row], header: list[str], path: str
) -> tuple[list[str], list[list[int]], tuple[str, ...]]:
    """Classes, labels, and problems with some of the cells."""
    width = max(len(row) for _, row in rows)
    classes = [" ".join(name.split()) for name in header[1:]]  # a cell may hold several lines
    if len(classes) < width - 1 or not all(classes) or len(set(classes)) < len(classes):
        raise MaclError(
            f"the label table {path} needs a first row that names each of its {width - 1} label columns once"
        )
    labels, problems = flags(rows, range(1, len(header)), header, path)
    return classes, labels, problems


def _separated(
    rows: list[Row], header: list[str], delimiter: str, path: str
) -> tuple[list[str], list[list[int]], str]:
    """Labels of one column, separated by the first of ; | , that occurs, else perhaps by a space.

    Line breaks separate them too; the brackets and quotes of a printed list are removed.
    """
    unquoted = any(len(row) > 2 for _, row in rows)  # a.jpg,field,trees
    if unquoted and len(header) > 2:
        odd = next((cell for _, row in rows for cell in row[1:] if cell.lower() not in FLAGS), "")
        raise MaclError(
            f"the label table {path} has {len(header) - 1} columns after the image, with {odd!r} in one: "
            "need 0 and 1 in all of them, or a single column of labels"
        )
    texts = [_unlisted(delimiter.join(row[1:])) for _, row in rows]
    marks = delimiter if unquoted else ";|,\n"
    separator = next((mark for mark in marks if any(mark in text for text in texts)), "")
    if not separator and any(" " in text for text in texts):
        # "bare soil" is one label, "field trees" two: split only if that gives fewer labels than combinations
        words = {word for text in texts for word in text.split()}
        separator = " " if len(words) <= len(set(texts) - {""}) else ""
    parts = [_parts([text], f"{separator}\n") for text in texts]
    classes = sorted({part for labels in parts for part in labels})
    if FLAGS.issuperset(classes) and any(len(set(labels)) < len(labels) for labels in parts):  # [1, 0, 1]
        raise MaclError(
            f"the label table {path} has the 0 and 1 of all labels in one column, which does not say which "
            "label each is of: need one column for each label, or the names of those that an image has"
        )
    column_of = {name: column for column, name in enumerate(classes)}
    labels = [[0] * len(classes) for _ in rows]
    for row, names in zip(labels, parts, strict=True):
        for name in names:
            row[column_of[name]] = 1
    return classes, labels, separator


def _unlisted(cell: str) -> str:
    """A cell without the brackets of a list as Python, JSON or numpy prints it."""
    match = re.fullmatch(r"\[(.*)\]|\(([^()]*)\)|\{(.*)\}", cell.strip(), re.DOTALL)
    if match is None:
        return cell
    return re.sub(r"(?<=['\"])\s+(?=['\"])", ", ", match[match.lastindex or 0])  # numpy: ['field' 'trees']


def _parts(cells: Sequence[str], separators: str = ";|,\t\n") -> list[str]:
    """The names in the cells, without spaces and quotes around them."""
    split = (part for cell in cells for part in re.split(f"[{re.escape(separators)}]", _unlisted(cell)))
    bare = (re.sub(r"""^(['"])(.*)\1$""", r"\2", part.strip(), flags=re.DOTALL).strip() for part in split)
    return [part for part in bare if part]


def _join(
    images: Sequence[File],
    index: _Index,
    rows: list[Row],
    labels: list[list[int]],
    classes: tuple[str, ...],
    path: str,
) -> Found:
    """One row of labels per image; the labels of several rows about one image are joined."""
    matrix = np.zeros((len(images), len(classes)), dtype=np.uint8)
    times: Counter[int] = Counter()
    missing: list[str] = []
    unclear: list[str] = []
    for (_, row), flagged in zip(rows, labels, strict=True):
        fits = index.find(row[0])
        if len(fits) > 1:
            unclear.append(f"{row[0]} fits {' and '.join(images[i].path for i in fits[:2])}")
        elif fits:
            times[fits[0]] += 1
            matrix[fits[0]] |= np.array(flagged, dtype=np.uint8)
        else:
            missing.append(row[0])
    problems: tuple[str, ...] = ()
    if unclear:
        problems = (
            f"the label table {path} leaves open which image it means: {some(unclear, '; ')}: "
            "give the sub-folder too, and the name as it is on the disk, with its extension",
        )
    elif not times:
        raise MaclError(
            f"no row of {path} fits an image: its first column has {rows[0][1][0] if rows else 'nothing'!r}, "
            f"the images are called like {images[0].path!r}"
        )
    several = tuple(images[i].path for i in sorted(times) if times[i] > 1)
    return Found(
        classes=classes,
        names=tuple(image.path for image in images),
        files=tuple(images),
        labels=matrix,
        labels_from=path,
        without_row=tuple(image.path for i, image in enumerate(images) if i not in times),
        without_image=tuple(missing),
        notes=(f"{len(several)} images have several rows: their labels were joined",) if several else (),
        several_rows=several,
        problems=problems,
    )
