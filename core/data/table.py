"""Label tables (.csv, .txt, .tsv, .xlsx) and label masks, matched to images by their stem."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from core.background.cache import cache_root, used, writing
from core.data.checksums import checksums
from core.data.decode import quiet_decoding, reason
from core.data.info import Found
from core.data.memory import is_short, out_of_memory
from core.data.prepared import Progress, in_parallel
from core.data.read_table import cells
from core.data.source import IMAGES, File
from core.data.text_table import Row
from core.errors import MaclError

TABLES = frozenset({".csv", ".txt", ".tsv", ".xlsx"})
MASK_FOLDERS = frozenset({"labels", "label", "masks", "mask", "imagespng", "annotations", "gt"})
YES = frozenset({"1", "1.0", "true"})
NO = frozenset({"0", "0.0", "false", ""})
FLAGS = YES | NO
FIRST = 50  # rows that tell which column names the images
LISTED = 5  # faults of one kind listed in one message


@dataclass(frozen=True)
class Table:
    """Image stems (lower case), their labels (rows, L) uint8, and problems with some of the rows."""

    stems: tuple[str, ...]
    labels: np.ndarray
    problems: tuple[str, ...] = ()


def column_key(name: str) -> str:
    """`Bare-Soil`, `baresoil` and `bare soil` are one column; so are `tree` and `trees`."""
    return re.sub(r"[^a-z0-9]", "", name.lower()).removesuffix("s")


def image_column(rows: Sequence[Row], pattern: re.Pattern[str]) -> int:
    """The column that names images in most rows after the first: pandas puts an index before it."""
    sample = [row for _, row in rows[1 : FIRST + 1]]
    return max(
        range(max(map(len, sample), default=1)),
        key=lambda k: sum(k < len(row) and bool(pattern.fullmatch(stem_of(row[k]))) for row in sample),
    )


def read_table(file: File, rows: list[Row], classes: Sequence[str], pattern: re.Pattern[str]) -> Table:
    """A table with one 0/1 column per class, in any order.

    Cells that are neither 0 nor 1, and rows of one image that disagree, are collected and reported together.

    Args:
        file: The table, for messages.
        rows: Its `cells`, header first.
        classes: Names of the columns in the order wanted.
        pattern: Matches the stems of the images.

    Raises:
        MaclError: If a class has no column.
    """
    image = image_column(rows, pattern)
    (_, header), *rows = rows
    column_of = {column_key(name): column for column, name in enumerate(header) if column != image}
    missing = [name for name in classes if column_key(name) not in column_of]
    if missing:
        raise MaclError(
            f"the label table {file.path} has no column for {', '.join(missing)}: "
            f"need one column for each of {', '.join(classes)}"
        )
    columns = [column_of[column_key(name)] for name in classes]
    read, problems = flags(rows, columns, header, file.path)
    labels_of: dict[str, list[int]] = {}
    contradictory: list[str] = []
    for (_, row), flagged in zip(rows, read, strict=True):
        name = row[image] if image < len(row) else ""
        if labels_of.setdefault(stem_of(name), flagged) != flagged:
            contradictory.append(name)
    if contradictory:
        problems += (
            f"the label table {file.path} has two rows for {some(contradictory)} that disagree: keep one",
        )
    labels = np.array(list(labels_of.values()), dtype=np.uint8).reshape(-1, len(classes))
    return Table(tuple(labels_of), labels, problems)


def flags(
    rows: Sequence[Row], columns: Sequence[int], header: Sequence[str], path: str
) -> tuple[list[list[int]], tuple[str, ...]]:
    """The 0/1 cells of some columns as numbers, one list per row.

    Returns:
        The numbers, 0 for a cell that is neither, and one sentence about all such cells.
    """
    faults: list[str] = []

    def number(cell: str, row: int, column: int) -> int:
        value = cell.lower()
        if value not in FLAGS:
            faults.append(f"{cell!r} in row {row}, column {header[column]}")
        return int(value in YES)

    numbers = [
        [number(row[column] if column < len(row) else "", at, column) for column in columns]
        for at, row in rows
    ]
    return numbers, ((f"the label table {path} has {some(faults, '; ')}: need 0 or 1",) if faults else ())


def some(faults: Sequence[str], between: str = ", ") -> str:
    """The first few, and how many more there are."""
    more = f" and {len(faults) - LISTED:,} more" if len(faults) > LISTED else ""
    return between.join(faults[:LISTED]) + more


def stem_of(cell: str) -> str:
    """The image name in a table as a lower-case stem, without folders and a known extension."""
    name = PurePosixPath(cell.replace("\\", "/")).name.lower()
    path = PurePosixPath(name)
    return path.stem if path.suffix in IMAGES else name


def images_and_masks(
    files: Sequence[File], pattern: re.Pattern[str]
) -> tuple[dict[str, File], dict[str, File], tuple[str, ...]]:
    """Images and label masks whose lower-case stem fits `pattern`, by stem, and notes on duplicates.

    A mask is a .png in a folder of `MASK_FOLDERS`, or beside an image of another kind with the same stem.
    """
    fitting = [file for file in files if file.suffix in IMAGES and pattern.fullmatch(file.stem)]
    others = {file.stem for file in fitting if file.suffix != ".png"}
    images: dict[str, File] = {}
    masks: dict[str, File] = {}
    doubles = 0
    for file in sorted(fitting, key=lambda file: (file.member is not None, file.path)):
        is_mask = file.suffix == ".png" and (file.stem in others or MASK_FOLDERS.intersection(file.folders))
        into = masks if is_mask else images
        doubles += file.stem in into
        into.setdefault(file.stem, file)
    notes = (f"{doubles} files are there twice: the unpacked, then the first path counts",) if doubles else ()
    return images, masks, notes


def choose_table(
    files: Sequence[File], accepts: Callable[[str], bool], known: str, pattern: re.Pattern[str]
) -> tuple[File, list[Row]] | None:
    """The one label table among `files`, with its rows; None if there is none.

    Args:
        files: All files found.
        accepts: Whether a lower-case file name fits this data set.
        known: The published file name in lower case, which is preferred.
        pattern: Matches the stems of this data set; tables about other images are ignored.

    Raises:
        MaclError: If several differing tables fit equally well, or the known one cannot be read.
    """
    tables = [file for file in files if file.suffix in TABLES and accepts(file.name)]
    tables.sort(key=lambda file: (file.name != known, file.path.count("/")))
    fitting = []
    for table in tables:
        try:
            rows = cells(table)
        except MaclError:
            if table.name == known:
                raise
            continue  # a note or a licence beside the images
        image = image_column(rows, pattern)
        fits = sum(image < len(row) and bool(pattern.fullmatch(stem_of(row[image]))) for _, row in rows[1:])
        if 2 * fits > len(rows) - 1:
            if table.name == known:
                return table, rows
            fitting.append((table, rows))
    if len(fitting) > 1 and len(set(checksums([table for table, _ in fitting]))) > 1:
        raise MaclError(
            f"several label tables fit: {', '.join(table.path for table, _ in fitting)}: "
            f"keep one, or name it {known}"
        )
    return fitting[0] if fitting else None


def tables_seen(files: Sequence[File], pattern: re.Pattern[str]) -> str:
    """The tables that are there, and why each is none of a data set: for a message that one is missing."""
    reasons = []
    for table in [file for file in files if file.suffix in TABLES][:LISTED]:
        try:
            rows = cells(table)
        except MaclError as error:
            reasons.append(str(error).removeprefix("the label table ").partition(": ")[0])
            continue
        named = sum(any(pattern.fullmatch(stem_of(cell)) for cell in row) for _, row in rows[1:])
        reasons.append(f"{table.path} names images in {named} of {len(rows) - 1} rows")
    return f" ({'; '.join(reasons)})" if reasons else ""


def match(
    classes: tuple[str, ...], images: dict[str, File], table: Table, labels_from: str, notes: tuple[str, ...]
) -> Found:
    """Images joined with the rows of a table, in ascending order of their stems."""
    rows = dict(zip(table.stems, table.labels, strict=True))
    stems = tuple(sorted(images))
    nothing = np.zeros(len(classes), dtype=np.uint8)
    return Found(
        classes=classes,
        names=stems,
        files=tuple(images[stem] for stem in stems),
        labels=np.array([rows.get(stem, nothing) for stem in stems], dtype=np.uint8).reshape(
            -1, len(classes)
        ),
        labels_from=labels_from,
        without_row=tuple(stem for stem in stems if stem not in rows),
        without_image=tuple(sorted(set(rows) - set(images))),
        notes=notes,
        problems=table.problems,
    )


def without_broken(found: Found, broken: tuple[tuple[str, str], ...]) -> Found:
    """List images with a damaged mask as broken, not as without a label."""
    names = {name for name, _ in broken}
    return replace(
        found, broken=broken, without_row=tuple(stem for stem in found.without_row if stem not in names)
    )


def read_masks(
    masks: dict[str, File], classes: tuple[str, ...], progress: Progress | None
) -> tuple[Table, tuple[tuple[str, str], ...]]:
    """Labels of palette masks: class k is present if any pixel has index k (1 to L); 0 is background.

    Read once and cached by content.

    Returns:
        The table of the readable masks, and (stem, reason) of the others.
    """
    stems = tuple(sorted(masks))
    files = [masks[stem] for stem in stems]
    sums = checksums(files, progress)
    key = sha256("\n".join([f"masks 1 {len(classes)}", *sums]).encode()).hexdigest()[:32]
    cached = cache_root() / "masks" / f"{key}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):  # missing or damaged: read again
        labels = np.load(cached)
        used(cached)
        if labels.shape == (len(stems), len(classes)):
            return Table(stems, labels), ()

    def one(file: File) -> list[int] | str:
        try:
            return _mask_labels(file.read(), len(classes))
        except Exception as error:  # Pillow's readers raise almost anything on a damaged file
            if is_short(error):
                raise out_of_memory("Reading masks", file.path) from None
            return f"mask {file.path}: {reason(error)}"

    with quiet_decoding():
        results = in_parallel(one, files, progress, "Reading masks")
    pairs = list(zip(stems, results, strict=True))
    good = {stem: labels for stem, labels in pairs if not isinstance(labels, str)}
    labels = np.array(list(good.values()), dtype=np.uint8).reshape(-1, len(classes))
    broken = tuple((stem, why) for stem, why in pairs if isinstance(why, str))
    if not broken:
        with writing(cached) as partial, partial.open("wb") as stream:
            np.save(stream, labels)
    return Table(tuple(good), labels), broken


def _mask_labels(data: bytes, count: int) -> list[int]:
    with Image.open(io.BytesIO(data), formats=("PNG",)) as mask:
        if mask.mode not in ("P", "L"):  # a grey mask may hold the indices themselves
            raise ValueError(f"a {mask.mode} image, need a palette")
        present = np.flatnonzero(mask.histogram()[:256])
    if present.max() > count:
        raise ValueError(f"index {present.max()}, need 0 to {count}")
    return [int(k in present) for k in range(1, count + 1)]
