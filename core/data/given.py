"""The split that a data set gives: in a column of its table, by its tables, or by its folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from core.data.info import Found
from core.data.parts import part_of
from core.data.reading import Reading
from core.data.source import IMAGES, File
from core.data.splits import cut
from core.data.table import some
from core.data.text_table import Row
from core.errors import MaclError

OTHER_WAY = "or mix anew with --split random"


def by_folders(paths: Sequence[str]) -> list[str]:
    """For each path the part that the first of its folders says that says one.

    Nothing at all unless two parts are named, in names that are otherwise equal: `train_images` and
    `test_images`, but not the scenes `train station` and `test track`.
    """
    folders = [PurePosixPath(path).parts[:-1] for path in paths]
    shared = len(_common(folders))
    said = [next(filter(any, map(part_of, path[shared:])), ("", "")) for path in folders]
    named = {one for one in said if one[0]}
    is_split = len({part for part, _ in named}) > 1 and len({rest for _, rest in named}) == 1
    return [part if is_split else "" for part, _ in said]


def _common(folders: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders that all paths begin with."""
    first, last = min(folders, default=()), max(folders, default=())
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return first[:same]


def by_tables(tables: Sequence[File]) -> list[str]:
    """For each of several tables its part, if together they are one table with a split; else nothing.

    `train.csv` and `test.csv`, or tables of one name in the folders `train` and `test`.
    """
    said = [part_of(PurePosixPath(table.path).stem) for table in tables]
    parts, rests = [part for part, _ in said], {rest for _, rest in said}
    if not any(parts):
        parts = by_folders([table.path for table in tables])
        rests = {table.stem for table in tables}
    return parts if all(parts) and len(set(parts)) == len(parts) > 1 and len(rests) == 1 else []


def one_table(tables: Sequence[tuple[File, str, list[Row]]]) -> tuple[list[Row], list[str]]:
    """The rows of the tables of a split as those of one, and the part of each; that of a header is empty.

    Args:
        tables: Each with its part and its rows.

    Raises:
        MaclError: If they do not have the same columns.
    """
    tops = [[cell.casefold() for cell in rows[0][1]] for _, _, rows in tables]
    if all(any(PurePosixPath(cell).suffix in IMAGES for cell in top) for top in tops):  # no headers
        pairs = [(row, part) for _, part, rows in tables for row in rows]
        return [row for row, _ in pairs], [part for _, part in pairs]
    joined, parts = [tables[0][2][0]], [""]
    for (table, part, rows), top in zip(tables, tops, strict=True):
        if sorted(top) != sorted(tops[0]):
            raise MaclError(
                f"the tables {tables[0][0].path} and {table.path} have other columns, "
                f"{', '.join(joined[0][1])} and {', '.join(rows[0][1])}: need the same in each"
            )
        order = [top.index(name) for name in tops[0]] if top != tops[0] else []
        joined += [(at, _ordered(row, order)) for at, row in rows[1:]]
        parts += [part] * len(rows[1:])
    return joined, parts


def _ordered(row: list[str], order: Sequence[int]) -> list[str]:
    return (
        [row[column] if column < len(row) else "" for column in order] + row[len(order) :] if order else row
    )


def narrowed(fits: list[int], part: str, folders: Sequence[str]) -> list[int]:
    """Of several images that a row may mean those in a folder of the row's own part: `train/1.png`."""
    return [i for i in fits if folders[i] == part] or fits if part and len(fits) > 1 else fits


def with_split(
    found: Found, rows: Sequence[tuple[int, str]], by: str, folders: Sequence[str], reading: Reading
) -> Found:
    """Images with the part that their rows say, or else their folders.

    Args:
        found: The images and their labels.
        rows: For each row about an image the number of the image and the part.
        by: Where the rows say it, in words.
        folders: `by_folders` of the images.
        reading: Whether it counts.
    """
    said: list[set[str]] = [set() for _ in found.names]
    for image, part in rows:
        if part:
            said[image].add(part)
    if not any(said):
        return replace(found, given=tuple(folders), given_by="folders") if any(folders) else found
    given = tuple(min(parts, default="") for parts in said)
    other = sum(bool(folder and part) and folder != part for folder, part in zip(folders, given, strict=True))
    notes = (
        (f"{other} images lie in the folder of another part than {by} says, which counts",) if other else ()
    )
    twice = [
        f"{name} ({' and '.join(sorted(parts))})"
        for name, parts in zip(found.names, said, strict=True)
        if len(parts) > 1
    ]
    problems: tuple[str, ...] = ()
    if twice and reading.split == "given":
        problems = (f"{by} puts images into two parts: {some(twice)}: leave one of each, {OTHER_WAY}",)
    return replace(
        found, given=given, given_by=by, notes=found.notes + notes, problems=found.problems + problems
    )


def settled(found: Found, reading: Reading) -> Found:
    """The split that counts: none where only one part is named, or where it is to be mixed anew."""
    if len(set(found.given) - {""}) < 2:
        return replace(found, given=(), given_by="")
    if reading.split == "random":
        note = f"the split given by {found.given_by} does not count: mixed anew, as you say"
        return replace(found, given=(), given_by="", notes=(*found.notes, note))
    return found


def left_out(found: Found) -> np.ndarray:
    """Which images the split that the data set gives does not name, (N,) bool; none if it gives none."""
    return np.array([bool(found.given) and not part for part in found.given or found.names], dtype=bool)


def said(found: Found) -> tuple[str, ...]:
    """What is to be said of the split that the data set gives: what it lacks, and whom it leaves out."""
    if not found.given:
        return ()
    labelled = found.labels.max(axis=1, initial=0) > 0
    used = [part for part, has in zip(found.given, labelled, strict=True) if has and part]
    names = [name for name, out in zip(found.names, labelled & left_out(found), strict=True) if out]
    words = {"val": "validation", "test": "test"}
    notes = [
        f"the split given by {found.given_by} has no {words[part]} images: the seed draws {count} "
        "from its training images"
        for part, count in cut(used).items()
    ]
    if names:
        notes.append(f"{len(names)} images are in no part of the split and are left out: {some(names)}")
    return tuple(notes)
