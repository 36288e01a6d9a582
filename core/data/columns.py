"""Which column of a table is what: the image, labels, a part of the split, or nothing of that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

from core.data.cells import SAYS_NO, SAYS_YES, UNKNOWN, are_words, cells_of, is_missing
from core.data.image_names import ImageNames, folded
from core.data.parts import NUMBER, PART_FLAGS, is_part_of_split, key, listed, part_flags
from core.data.reading import Reading
from core.data.source import IMAGES
from core.data.table import FLAGS
from core.data.text_table import Row
from core.errors import MaclError

SAMPLE = 2000  # rows that tell what a column is
FEW = 0.5  # a text with more different values than this share of the rows is no label...
ENOUGH = 10  # ...where there are so many rows
MOSTLY = 0.25  # share of other numbers from which on a column is no flag with some mistakes

IMAGE = re.compile(r"(image|img|file|patch|tile)?(name|path|id)?|images|imgs|files|filenames")
LABELS = re.compile(r"(multi)?(label|tag|class|classe|categor(y|ie)|annotation)(name|text)?s?")
NUMBERED = re.compile(r"(label|tag|class|category|annotation)\d+")
NAMELESS = re.compile(r"|unnamed\d+")  # what pandas calls the numbers of the rows
INDEX = re.compile(NAMELESS.pattern + r"|index|idx|id|no|nr|row|rowid|rownumber")
# measures are no labels even where all are 0 or 1, if other columns can be labels
MEASURES = re.compile(
    r"lat|latitude|lon|lng|long|longitude|(acquisition)?(date|datetime|time|timestamp)|year|month|day|hour|"
    r"width|height|resolution|gsd|crs|epsg|srs|confidence|score|probability|cloud(cover|percent|percentage)|"
    r"(n|num|number|count)(of)?(labels|classes|tags|objects)|count"
)
OTHERS = re.compile(
    MEASURES.pattern + r"|country|city|region|state|place|location|url|uri|link|licen[cs]e|author|sensor|"
    r"satellite|platform|geometry|bbox|bounds|wkt|area|md5|sha256|checksum|comments?|notes?|description|"
    r"caption|title"
)
NUMBERS = ("class numbers", "numbers")
DATE = re.compile(r"\d{4}[-/.]?\d{2}[-/.]?\d{2}([Tt ].*)?|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}")


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are.

    Attributes:
        image: The column that names the images.
        labels: The columns of labels.
        are_flags: Whether these hold 0 and 1, one label each; else names of labels.
        open_end: Whether rows go on after the last column that has a name, as in `a.png,field,trees`.
        said: Of each column its name and what it was taken as.
    """

    image: int
    labels: tuple[int, ...]
    are_flags: bool
    open_end: bool
    said: tuple[tuple[str, str], ...]


def image_column(rows: Sequence[Row], names: ImageNames, given: str, path: str) -> int:
    """The column that names most images; of equal ones that with extensions, or called so, or the first.

    Raises:
        MaclError: If the column that the person gives is not there, or none names an image.
    """
    if given:
        return _column(given, rows[0][1], path)
    sample = rows[:SAMPLE]
    width = max(len(row) for _, row in sample)

    def score(column: int) -> tuple[int, bool, bool]:
        hits = {folded(cell) for cell in cells_of(sample, column) if names.may_mean(cell)}
        extended = any(PurePosixPath(cell).suffix in IMAGES for cell in hits)
        header = rows[0][1][column] if column < len(rows[0][1]) else ""
        is_called_so = bool(hits) and bool(IMAGE.fullmatch(key(header)))
        if hits <= FLAGS and column and not is_called_so:
            return 0, False, False  # 1.png is not meant by a flag
        return len(hits), extended, is_called_so

    return max(range(width), key=score)


def _column(name: str, header: Sequence[str], path: str) -> int:
    for same in (str, key):
        for column, title in enumerate(header):
            if same(title) == same(name.strip()):
                return column
    raise MaclError(
        f"the label table {path} has no column {name.strip()!r}: "
        f"its first row has {', '.join(filter(None, header))}"
    )


def has_header(rows: Sequence[Row], image: int, names: ImageNames) -> bool:
    """Whether the first row names the columns: it does not if it is about an image."""
    first = rows[0][1]
    name = first[image] if image < len(first) else ""
    if PurePosixPath(name.lower()).suffix in IMAGES:
        return False
    return not (names.find(name) and _is_like_others(rows, image))


def _is_like_others(rows: Sequence[Row], image: int) -> bool:
    """Whether the first row has labels that other rows have: a header `image` may match an image.png."""

    def words(row: Sequence[str]) -> set[str]:
        text = ";".join(cell for column, cell in enumerate(row) if column != image)
        return set(re.split(r"[;|,\t\n\s\[\]'\"]+", text)) - {""}

    first = words(rows[0][1])
    return any(first & words(row) for _, row in rows[1:])


def sort_columns(
    header: Sequence[str], rows: Sequence[Row], image: int, reading: Reading, path: str
) -> Columns:
    """What each column is, as the person says, else by its name and its values.

    Args:
        header: Names of the columns; empty if the table has none.
        rows: The rows without it.
        image: The column that names the images.
        reading: What the person says.
        path: The table, for messages.

    Raises:
        MaclError: If a column that the person names is not there, or it is not clear which hold labels.
    """
    width = max([len(header), *(len(row) for _, row in rows)])
    if header and image >= len(header):
        raise MaclError(f"the label table {path} needs a first row that names each of its {width} columns")
    columns = range(len(header) or width)
    chosen, ignored = ({_column(name, header, path) for name in listed(text)}
                       for text in (reading.label_columns, reading.ignore_columns))  # fmt: skip
    others = [column for column in columns if column not in {image} | ignored]
    if chosen:
        others = [column for column in others if column in chosen]
    titles = [header[column] if header else "" for column in columns]
    values = {column: cells_of(rows[:SAMPLE], column) for column in others}
    # pandas writes the numbers of the rows before everything else, under an empty name
    names = {
        column: "label" if not titles[column] and column > image else titles[column] for column in others
    }
    parts = part_flags(titles, rows)
    kinds = {
        column: "split" if column in parts else _kind(names[column], values[column], only=False)
        for column in others
    }
    flags = {column for column, kind in kinds.items() if kind == "flags"}
    measures = {column for column in flags if MEASURES.fullmatch(key(names[column]))}
    if (
        any(
            not OTHERS.fullmatch(name) and not INDEX.fullmatch(name)
            for name in (key(names[k]) for k in flags)
        )
        and not chosen
    ):
        kinds |= dict.fromkeys(measures, "other")
    if len(usable := [column for column, kind in kinds.items() if kind in ("flags", "text", *NUMBERS)]) == 1:
        kinds |= {column: _kind(names[column], values[column], only=True) for column in usable}
    if chosen:
        _refuse_numbers(titles, values, kinds, path)
        kinds = {column: kind if kind == "flags" else "text" for column, kind in kinds.items()}
    labels, are_flags = _labels(titles, rows, kinds, chosen, path) if header else _nameless(kinds)
    said = {column: "left out, as you say" for column in columns}
    rest = (
        set(columns) - {image} - ignored - set(others)
    )  # the split counts beside the labels that are chosen
    splits = {
        column
        for column in rest
        if column in parts or _kind(titles[column], cells_of(rows[:SAMPLE], column), False) == "split"
    }
    said |= {column: _said("split", False, False) for column in splits}
    said |= {column: _said(kind, column in labels, are_flags) for column, kind in kinds.items()}
    said[image] = "names the images"
    return Columns(
        image,
        tuple(sorted(labels)),
        are_flags,
        width > (len(header) or max(labels) + 1),
        tuple((titles[column] or f"column {column + 1}", what) for column, what in sorted(said.items())),
    )


def _refuse_numbers(
    titles: Sequence[str], values: dict[int, list[str]], kinds: dict[int, str], path: str
) -> None:
    """Refuse numbers that are neither flags nor the numbers of classes in columns that are to be labels.

    Raises:
        MaclError: If there are some.
    """
    for column, kind in kinds.items():
        ids = kind == "class numbers" and (len(kinds) == 1 or NUMBERED.fullmatch(key(titles[column])))
        if kind in NUMBERS and not ids:
            odd = next(value for value in values[column] if value and value.lower() not in FLAGS)
            raise MaclError(
                f"the label table {path} has {odd!r} in {titles[column] or column + 1}: need 0 and 1, or "
                "names of labels: make 0 and 1 of amounts first"
            )


def _kind(title: str, values: Sequence[str], only: bool) -> str:
    """Flags, text, or what else the values of a column are.

    Args:
        title: Its name.
        values: Its cells.
        only: Whether no other column can be labels: 0, 1 and 2 in it are labels then.
    """
    name = key(title)
    filled = [value.lower() for value in values if value]
    known = [value for value in filled if not is_missing(value)]
    if not known and not (filled and only):
        return "empty"
    if is_part_of_split(name, known) or (name in PART_FLAGS and {*known} <= FLAGS | SAYS_YES | SAYS_NO):
        return "split"
    numbers = bool(known) and all(NUMBER.fullmatch(value) for value in known)
    whole = numbers and all(float(value).is_integer() for value in known)
    if whole and (NAMELESS.fullmatch(name) or (INDEX.fullmatch(name) and _counts_up(known))):
        return "index"
    others = [value for value in filled if value not in FLAGS and value not in UNKNOWN]
    certain = any(value in FLAGS for value in filled)
    class_ids = (only or LABELS.fullmatch(name)) and any(
        re.fullmatch(r"\d+(\.0)?", value) for value in others
    )
    counts = len(filled) >= ENOUGH and sum(map(is_number, others)) > MOSTLY * len(filled)
    if certain and 2 * len(others) <= len(filled) and not class_ids and not counts:
        return "flags"
    if are_words(filled) and not LABELS.fullmatch(name):
        return "flags"
    if whole and all(float(value) >= 0 for value in known):
        return "numbers" if OTHERS.fullmatch(name) or INDEX.fullmatch(name) else "class numbers"
    if numbers:
        return "numbers"
    if known and all(DATE.fullmatch(value) for value in known):
        return "dates"
    if known and all(PurePosixPath(value).suffix in IMAGES for value in known):
        return "file names"
    return "other" if OTHERS.fullmatch(name) else "text"


def is_number(text: str) -> bool:
    """Whether a cell is a number."""
    return NUMBER.fullmatch(text) is not None


def _counts_up(values: Sequence[str]) -> bool:
    numbers = [float(value) for value in values]
    return all(after > before for before, after in pairwise(numbers))


def _labels(
    header: Sequence[str], rows: Sequence[Row], kinds: dict[int, str], chosen: set[int], path: str
) -> tuple[set[int], bool]:
    """The columns of labels, and whether they are flags.

    Raises:
        MaclError: If that is not clear.
    """
    flags = {column for column, kind in kinds.items() if kind == "flags"}
    texts = {column for column, kind in kinds.items() if kind == "text"}
    if chosen:
        if flags and texts:
            raise MaclError(
                f"the label table {path} has 0 and 1 in {header[min(flags)]}, "
                f"names in {header[min(texts)]}: need one of the two in all --label-columns"
            )
        return chosen, bool(flags)

    def named(column: int) -> bool:
        return bool(LABELS.fullmatch(key(header[column])))

    few = {column for column in texts if named(column) or _has_few(cells_of(rows[:SAMPLE], column))}
    if flags and not (few and len(flags) == 1) and not any(map(named, few)):
        return flags, True
    if not flags and len(few) == 1:
        return few, False
    if not flags and few and all(NUMBERED.fullmatch(key(header[column])) for column in few):
        return few, False
    if not flags and not few:
        ids = {column for column, kind in kinds.items() if kind == "class numbers"}
        ids = {column for column in ids if named(column)} or ids
        if len(ids) == 1:
            return ids, False
        few = texts
        if ids and not few:
            shown = ", ".join(f"{cells_of(rows, column)[0]!r} in {header[column]}" for column in sorted(ids))
            raise MaclError(
                f"the label table {path} has amounts, {shown}: need 0 and 1, or one column with the number "
                "or name of the class: name it with --label-columns"
            )
    candidates = sorted(flags | few)
    if not candidates:
        raise MaclError(
            f"the label table {path} has no column that can be labels: {_each(header, kinds)}: "
            "name those that are with --label-columns"
        )
    odd = next(
        (cell for column in sorted(few) for cell in cells_of(rows, column) if cell.lower() not in FLAGS), ""
    )
    raise MaclError(
        f"the label table {path} has {len(kinds)} columns after the image, with {odd!r} in one: "
        "need 0 and 1 in all of them, or a single column of labels: name those that are labels, "
        f'for example with --label-columns "{header[min(few or candidates, key=lambda c: not named(c))]}"'
    )


def _nameless(kinds: dict[int, str]) -> tuple[set[int], bool]:
    """The columns of labels of a table without names: all flags, or from the first text on."""
    flags = {column for column, kind in kinds.items() if kind == "flags"}
    texts = [column for column, kind in kinds.items() if kind == "text"]
    return (set(texts[:1] or list(kinds)[:1]), False) if texts or not flags else (flags, True)


def _has_few(values: Sequence[str]) -> bool:
    """Whether a text has few different values, so that they can be labels."""
    known = [value for value in values if not is_missing(value)]
    words = {part for value in known for part in re.split(r"\s*(?:[;|,+/\n]|__)\s*", value)}
    return len(known) < ENOUGH or len(words) <= FEW * len(known)


def _each(header: Sequence[str], kinds: dict[int, str]) -> str:
    return ", ".join(f"{header[column]} ({kind})" for column, kind in kinds.items())


def _said(kind: str, is_label: bool, are_flags: bool) -> str:
    if is_label:
        return "a label, 0 or 1" if are_flags else "names of labels"
    return {
        "split": "the split: no label",
        "index": "numbers the rows: no label",
        "empty": "empty: left out",
        "other": "no label, by its name",
        "text": "text: no label",
        "class numbers": "numbers: no label",
    }.get(kind, f"{kind}: no label")
