"""Which of the files in a folder is the table of labels; or whether its folders are the labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.data.band_files import BandFiles
from core.data.given import by_tables
from core.data.image_names import ImageNames
from core.data.parts import part_of
from core.data.read_table import KINDS, TEXTS, read_rows
from core.data.source import File
from core.data.table import LISTED, MASK_FOLDERS
from core.data.text_table import WHOLE, Rows, read_text
from core.errors import MaclError

ALONE = frozenset(
    {".txt", ".json", ".jsonl", ".ndjson"}
)  # may be notes and settings; a file of another kind is meant as a table
OTHER_KINDS = frozenset(
    {".xls", ".ods", ".feather", ".arrow", ".mat", ".npy", ".npz", ".pkl", ".h5", ".xml", ".yaml"}
)
TRIED = 100  # tables
NO_LABELS = re.compile(
    r"|train(ing)?|val(id|idation)?|test(ing)?|images?|imgs?|photos|pictures|data|tiles|patches|chips|jpe?g|png|tiff?"
)


@dataclass(frozen=True)
class Tables:
    """What of a folder says the labels, and the split.

    Attributes:
        labels: The table of labels and its rows, or one for each part of a split, with that part; none where
            folders are labels.
        lists: Files that only name the images of a part, that part, and what they name.
        notes: What is to be said.
    """

    labels: tuple[tuple[File, str, Rows], ...]
    lists: tuple[tuple[File, str, tuple[str, ...]], ...]
    notes: tuple[str, ...]


def find_table(files: Sequence[File], names: ImageNames) -> Tables:
    """The table that names the images, or one for each part of a split; else the folders that are labels.

    Raises:
        MaclError: If no table names the images, or several do that are not those of a split.
    """
    stems = {image.stem for image in names.images}
    beside = [file for file in files if file.suffix in KINDS]
    tables = [file for file in beside if file.suffix not in ALONE or file.stem not in stems]
    fits: list[tuple[File, Rows]] = []
    faults: list[tuple[File, MaclError]] = []
    for table in tables[:TRIED]:
        try:
            rows = read_rows(table, names)
            _check_names(table, rows, names)
            fits.append((table, rows))
        except MaclError as error:
            faults.append((table, error))
    parts = by_tables([table for table, _ in fits])
    if not parts:
        fits = [fit for fit in fits if fit[0].suffix not in ALONE] or fits
    lists = tuple(one for table, _ in faults if (one := _list(table, names)))
    listed = {file for file, _, _ in lists}
    meant = [(table, error) for table, error in faults if table.suffix not in ALONE and table not in listed]
    if parts := parts or [""] * (len(fits) == 1):
        chosen = tuple((table, part, rows) for (table, rows), part in zip(fits, parts, strict=True))
        notes = tuple(f"{table.path} is left out: {_why(table, error)}" for table, error in meant[:LISTED])
        return Tables(chosen, lists, notes)
    if fits:
        found = ", ".join(table.path for table, _ in fits)
        raise MaclError(
            f"need exactly one table with the labels, found {found}: keep one, or one for each part of "
            "the split"
        )
    if not meant and (note := _folders(names.images)):
        return Tables((), lists, (note,))
    if len(meant) == 1 and len(faults) == 1:
        raise meant[0][1]
    raise MaclError(
        "need exactly one .csv (or .tsv, .txt, .xlsx, .parquet, .json) with the labels in the folder, or one "
        f"folder per label, found {_seen(faults, files, len(beside) - len(tables), len(tables))}"
    )


def _list(file: File, names: ImageNames) -> tuple[File, str, tuple[str, ...]] | None:
    """The images that a file of one column names, if it is called by a part of a split: `val.txt`."""
    part = part_of(file.stem)[0]
    if not part or file.suffix not in TEXTS or file.size > WHOLE:
        return None
    try:
        rows = read_text(file, names).rows
    except Exception:  # that is said of it as a table
        return None
    cells = tuple(row[0] for _, row in rows if names.may_mean(row[0]))
    return (
        (file, part, cells) if all(len(row) == 1 for _, row in rows) and 2 * len(cells) >= len(rows) else None
    )


def _check_names(table: File, rows: Rows, names: ImageNames) -> None:
    """Refuse a table that names no image.

    Raises:
        MaclError: If that is so.
    """
    named = {cell for _, row in rows.rows for cell in row if names.may_mean(cell)}
    if not any(map(names.find, named)):
        first = rows.rows[min(1, len(rows.rows) - 1)][1][0]
        raise MaclError(
            f"no row of {table.path} fits an image: its first column has {first!r}, "
            f"the images are called like {names.images[0].path!r}"
        )
    about = sum(any(map(names.may_mean, row)) for _, row in rows.rows)
    if table.suffix in ALONE and 2 * about < min(len(rows.rows) + rows.left_out - 1, len(names.images)):
        raise MaclError(f"the label table {table.path} names few images in its rows")


def _folders(images: Sequence[File | BandFiles]) -> str:
    """A note that each folder is one label; empty if the folders are not labels."""
    parents = {image.folders[-1] if image.folders else "" for image in images}
    if len(parents) < 2 or parents & MASK_FOLDERS or any(map(NO_LABELS.fullmatch, parents)):
        return ""
    return f"no table: each of {len(parents)} folders is one label"


def _why(table: File, error: MaclError) -> str:
    return str(error).removeprefix("the label table ").removeprefix(f"{table.path} ")


def _seen(faults: Sequence[tuple[File, MaclError]], files: Sequence[File], beside: int, tables: int) -> str:
    """The tables that are there, and why each is none."""
    reasons = [f"{table.path} ({_why(table, error)})" for table, error in faults[:LISTED]]
    if tables > LISTED:
        reasons.append(f"{tables - LISTED:,} more")
    others = [file.path for file in files if file.suffix in OTHER_KINDS]
    reasons += [f"{path} (of a kind that is not read: save it as .csv)" for path in others[:LISTED]]
    if beside:
        reasons.append(f"{beside:,} .txt or .json called like an image")
    return "; ".join(reasons) or "none"
