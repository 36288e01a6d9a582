"""Which part of a split a word, a name or a column says: train, val or test."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from statistics import mode

from core.data.cells import MISSING, SAYS_NO, SAYS_YES, cells_of, is_missing
from core.data.reading import READ, Reading
from core.data.table import FLAGS, NO, YES
from core.data.text_table import Row

PARTS = {
    "train": "train", "training": "train", "tr": "train", "trn": "train", "trainset": "train",
    "trainval": "train", "训练": "train", "训练集": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val", "dev": "val", "valset": "val",
    "eval": "val", "evaluation": "val", "验证": "val", "验证集": "val",
    "test": "test", "testing": "test", "tst": "test", "te": "test", "testset": "test",
    "query": "test", "gallery": "test", "测试": "test", "测试集": "test",
}  # fmt: skip
PART_FLAGS = {
    f"{start}{name}": PARTS[name]
    for start in ("is", "in", "isin")
    for name in ("train", "training", "trainset", "val", "valid", "validation", "valset", "test", "testing",
                 "testset")
} | {"isholdout": "test", "holdout": "test"}  # fmt: skip
# flags under these names say a part where there are two of them; `valid` and `train` alone may be labels
BARE = {name: PARTS[name] for name in ("train", "training", "val", "valid", "validation", "test", "testing")}
ALONE = frozenset({"val", "validation", "test", "testing"})
NAMED = re.compile(r"(data)?(split|subset|set|partition)s?(name)?")  # columns that are there to say a part
FOLDS = re.compile(r"(k|cv|train|val|test)?folds?(id|no|nr|number|index)?\d*|cv\d*")
SPLITS = re.compile(rf"{NAMED.pattern}|{FOLDS.pattern}|usage|phase")
IN_ORDER = {"0": "train", "1": "val", "2": "test"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def key(name: str) -> str:
    """`is_train`, `Is Train` and `isTrain` are one name."""
    return re.sub(r"[\W_]+", "", name.casefold())


def listed(text: str) -> list[str]:
    """Names with commas between; one with a comma in it stands in double quotes."""
    return [name.strip() for row in csv.reader([text], skipinitialspace=True) for name in row if name.strip()]


def part_of(name: str) -> tuple[str, str]:
    """The part of the split that a name says, and what remains of it: `train_2017` is train and `2017`.

    Both empty if it says none, or two.
    """
    words = re.findall(r"[^\W\d_]+|\d+", name.lower())
    parts = [PARTS[word] for word in words if word in PARTS]
    if len(parts) != 1:
        return "", ""
    return parts[0], " ".join(word for word in words if word not in PARTS)


def part_in(value: str) -> str:
    """The part that a cell says, such as `Train`, `test set` or `val1`; empty if it says none."""
    return PARTS.get(value.lower()) or part_of(value)[0]


def is_part_of_split(name: str, values: Sequence[str]) -> bool:
    """Whether a column of words or numbers says which part of the split, or which fold, an image belongs to.

    Args:
        name: Its name, in small letters without marks.
        values: Its cells that are not empty.
    """
    different = set(values)
    if len(different) > max(10, 0.1 * len(values)):
        return False
    if different <= PARTS.keys() and len({PARTS[value] for value in different}) > 1:
        return True
    return SPLITS.fullmatch(name) is not None and all(
        NUMBER.fullmatch(value) or value.isidentifier() or part_in(value) for value in different
    )


def part_flags(header: Sequence[str], rows: Sequence[Row]) -> dict[int, str]:
    """Columns of flags such as `is_valid`, or `train` and `test` side by side, and the part of each."""
    names = [key(title) for title in header]
    bare = {column: BARE[name] for column, name in enumerate(names) if name in BARE}
    if len(set(bare.values())) < 2:
        bare = {column: part for column, part in bare.items() if names[column] in ALONE}
    said = bare | {column: PART_FLAGS[name] for column, name in enumerate(names) if name in PART_FLAGS}
    return {
        column: part
        for column, part in said.items()
        if all(cell in FLAGS | SAYS_YES | SAYS_NO | MISSING for cell in _lower(rows, column))
    }


def split_column(header: Sequence[str], rows: Sequence[Row], reading: Reading = READ) -> list[str] | None:
    """For each row "train", "val", "test" or "" as the table says itself; None if no column says it.

    A column of words comes before flags such as `is_valid`; the number of a fold says no part, but 0, 1 and 2
    under a name such as `partition` are the three parts in order, as they are published. A column that the
    person ignores, or takes as labels, says none.
    """
    free = _free(header, reading)
    numbers: list[str] | None = None
    for column, title in free.items():
        values = _lower(rows, column)
        known = [value for value in values if not is_missing(value)]
        if not is_part_of_split(key(title), known):
            continue
        if any(map(part_in, known)):
            return [part_in(value) for value in values]
        values = [value.removesuffix(".0") for value in values]
        if NAMED.fullmatch(key(title)) and {*values} - MISSING == {*IN_ORDER} and mode(values) == "0":
            numbers = [IN_ORDER.get(value, "") for value in values]
    flags = {part: column for column, part in part_flags(header, rows).items() if column in free}
    if not flags:
        return numbers
    # the part that a row without any flag is in: validation or test only where the others have flags
    rest = "train" if "train" not in flags else "test" if "test" not in flags else "val"
    cells = {part: _lower(rows, column) for part, column in flags.items()}
    # an empty cell is no only where no is not written
    open_ = {part for part, column in cells.items() if any(cell in (NO | SAYS_NO) - {""} for cell in column)}

    def part_at(k: int) -> str:
        if said := next((part for part in flags if cells[part][k] in YES | SAYS_YES), ""):
            return said
        return "" if any(is_missing(cells[part][k]) for part in open_) else rest

    return [part_at(k) for k in range(len(rows))]


def _lower(rows: Sequence[Row], column: int) -> list[str]:
    return [cell.lower() for cell in cells_of(rows, column)]


def _free(header: Sequence[str], reading: Reading) -> dict[int, str]:
    """The columns that the person neither ignores nor takes as labels, and their names."""
    taken = {key(name) for name in listed(f"{reading.ignore_columns},{reading.label_columns}")}
    return {column: title for column, title in enumerate(header) if key(title) not in taken}


def unclear_split(
    header: Sequence[str], rows: Sequence[Row], reading: Reading, path: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is to be said, and asked, of columns of a split where none of them says the parts."""
    notes: tuple[str, ...] = ()
    for column, title in _free(header, reading).items():
        values = list(dict.fromkeys(cell for cell in cells_of(rows, column) if not is_missing(cell)))
        if len(values) < 2 or not is_part_of_split(key(title), [value.lower() for value in values]):
            continue
        shown = ", ".join(map(repr, values[:3]))
        if NAMED.fullmatch(key(title)) and reading.split == "given":
            asked = (
                f"the label table {path} has {shown} in the column {title}, which do not say the parts of "
                "the split: write train, val and test in it, or mix anew with --split random"
            )
            return notes, (asked,)
        notes += (f"{title} has {shown}, which say no part of the split: no image is kept apart by it",)
    return notes, ()
