"""The names of labels in one cell, and what separates them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from core.data.text_table import Row
from core.errors import MaclError

MISSING = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>", "-", "–", "—"})
UNKNOWN = frozenset({"", "-1", "-1.0", "nan", "none", "null", "na", "n/a", "<na>"})  # of flags
# flags in words, where nothing else is in a column
SAYS_YES = frozenset({"yes", "y", "t", "x"})
SAYS_NO = frozenset({"no", "n", "f"})
# What labels are joined by; those that are sure occur in no names, the others in some.
SURE = (";", "|", "\uff1b", "\u3001", "\n", "\t")  # also as Chinese writes them
JOINING = (";", "|", "\uff1b", "\u3001", ",", "\uff0c", "\n", "\t", "+", "/", "__", "&")
RARE = (" and ", ":", "-", "_", "\\", "~", "#", ".")  # these belong to names more often than they join some
MARKS = (*JOINING, *RARE, " ")
WORDS = {  # what is hard to write on a command line, and what people call it
    "space": " ", "blank": " ", "tab": "\t", "\\t": "\t", "\\n": "\n", "comma": ",", "semicolon": ";",
    "colon": ":", "bar": "|", "pipe": "|", "slash": "/", "plus": "+", "hyphen": "-", "underscore": "_",
}  # fmt: skip
ONE = "none"  # one label in each cell
RECURRING = 0.75  # share of the parts that have to be in two combinations
NAMING = ("name", "label", "class", "category", "tag")  # what has the name in an object of a list
QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""

NAMES = {
    ";": "semicolons",
    "|": "bars",
    ",": "commas",
    " ": "spaces",
    "\t": "tabs",
    "\n": "line breaks",
    "/": "slashes",
    "__": "double underscores",
    "+": "plus signs",
    "&": "ampersands",
}


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value, as pandas, numpy, R, SQL and people write it."""
    return cell.lower() in MISSING


def are_words(values: Sequence[str]) -> bool:
    """Whether cells, in small letters, are flags in words: yes and no, y and n, t and f, or x."""
    return {*values} <= UNKNOWN | SAYS_YES | SAYS_NO and bool(SAYS_YES.intersection(values))


def labels_of(cells: Sequence[str], separator: str, given: str, path: str) -> tuple[list[list[str]], str]:
    """The labels in each cell of a column.

    Args:
        cells: All cells of the column.
        separator: What separates them for sure; empty: what the cells show.
        given: What the person says separates them; it may be `none`; empty: nothing was said.
        path: The table, for messages.

    Returns:
        The labels of each cell, and what separates them; empty if each cell is one label or a list.

    Raises:
        MaclError: If the cells do not show clearly what separates the labels, or hold flags without a name.
    """
    lists = [_listed(cell, path) for cell in cells]
    texts = [
        _bare_list(cell)
        for cell, names in zip(cells, lists, strict=True)
        if names is None and not is_missing(cell)
    ]
    bare = [" ".join(_parts(text, "")) for text in texts]
    count = max((len("".join(text.split())) for text in bare), default=0)
    if given != ONE and count > 1 and all(re.fullmatch(r"[01](\s*[01])*", text) for text in bare):
        raise _unnamed(count, path)
    if given:
        separator = "" if given == ONE else WORDS.get(given.lower(), given)
        separator = f" {separator} " if separator.isalpha() else separator
    else:
        separator = separator or _separator(texts, path)
    parts = [
        _parts(_bare_list(cell), separator, not given) if names is None else names
        for cell, names in zip(cells, lists, strict=True)
    ]
    parts = [[name for name in names if not is_missing(name)] for names in parts]
    if {name for row in parts for name in row} == {"0", "1"} and any(
        len(set(row)) < len(row) for row in parts
    ):
        raise _unnamed(max(map(len, parts)), path)
    if not given and separator:
        _refuse_two_marks({name for row in parts for name in row}, separator, path)
    return parts, separator


def are_lists(cells: Sequence[str], path: str) -> bool:
    """Whether all cells that are not empty are lists with names in quotes."""
    known = [cell for cell in cells if not is_missing(cell)]
    return bool(known) and all(_listed(cell, path) is not None for cell in known)


def _refuse_two_marks(names: set[str], separator: str, path: str) -> None:
    """Refuse labels that are joined by a mark in some cells, and by another one in others.

    Raises:
        MaclError: If a name is made of others with a mark between.
    """
    for mark in JOINING:
        for name in sorted(names):
            parts = _parts(name, mark)
            if mark != separator and len(parts) > 1 and names.issuperset(parts):
                raise MaclError(
                    f"the label table {path} has {name!r} in a column of labels, and {parts[0]!r} too, while "
                    f"others are separated by {_said(separator)}: use one mark in all cells, or say "
                    f"--separator {_said(separator)} where that is one label"
                )


def _listed(cell: str, path: str) -> list[str] | None:
    """The names of a list as JSON, Python or numpy prints it; None for any other cell, also `[field, tree]`.

    A comma within quotes is a part of the name.

    Raises:
        MaclError: If it is a list of objects that have no name.
    """
    match = re.fullmatch(r"\[(.*)\]|\((.*)\)|\{(.*)\}", cell.strip(), re.DOTALL)
    if match is None:
        return None
    inside = match[match.lastindex or 0].strip()
    if cell.lstrip().startswith("["):
        try:
            values = json.loads(cell)
        except (ValueError, RecursionError):
            pass
        else:
            return [" ".join(_name(value, path).split()) for value in values if value is not None]
    if not re.fullmatch(rf"(?:(?:{QUOTED})[\s,]*)*", inside):
        return None
    return [" ".join(re.sub(r"\\(.)", r"\1", text[1:-1]).split()) for text in re.findall(QUOTED, inside)]


def _name(value: Any, path: str) -> str:
    if isinstance(value, dict):
        named = [str(value[name]) for name in NAMING if isinstance(value.get(name), str)]
        if not named:
            raise MaclError(
                f"the label table {path} has {str(value)[:80]} in a list of labels: need names, "
                f"or objects with one of {', '.join(NAMING)}"
            )
        return named[0]
    return str(value)


def _bare_list(cell: str) -> str:
    """A cell without the brackets of a list."""
    match = re.fullmatch(r"\[(.*)\]|\(([^()]*)\)|\{(.*)\}", cell.strip(), re.DOTALL)
    return cell if match is None else match[match.lastindex or 0]


def _parts(text: str, separator: str, lines: bool = True) -> list[str]:
    """The names in a text, without spaces and quotes around them."""
    marks = [mark for mark in (separator, "\n" if lines else "") if mark]
    split = re.split("|".join(map(re.escape, marks)), text) if marks else [text]
    bare = (re.sub(r"""^(['"])(.*)\1$""", r"\2", part.strip(), flags=re.DOTALL).strip() for part in split)
    return [" ".join(part.split()) for part in bare if part]


def _separator(texts: list[str], path: str) -> str:
    """What separates the labels: a mark that is in few names, or one whose parts recur in other cells."""
    for mark in MARKS:
        if not any(mark in text for text in texts):
            continue
        if mark in SURE or (mark == "," and all(", " not in text for text in texts)):
            return mark
        combinations = {frozenset(_parts(text, mark)) for text in texts}
        of_part: dict[str, int] = defaultdict(int)
        for combination in combinations:
            for part in combination:
                of_part[part] += 1
        recurring = sum(count > 1 for count in of_part.values())
        is_clear = len(of_part) <= len(combinations) and recurring >= RECURRING * len(of_part)
        if is_clear and mark not in RARE:
            return mark
        if mark in RARE and not (is_clear and any(len(combination) == 1 for combination in combinations)):
            continue
        if mark == " " and not recurring and any(len(combination) == 1 for combination in combinations):
            return ""  # "bare soil" is one label beside "field"
        example = next(text for text in texts if mark in text)
        raise MaclError(
            f"the label table {path} has {example!r} in a column of labels, which may be one or several: "
            f"say so with --separator {_said(mark)} (several), or --separator {ONE} (one label in each cell)"
        )
    return ""


def _said(mark: str) -> str:
    """A separator as a person writes it on a command line."""
    return "space" if mark == " " else f'"{mark}"'


def _unnamed(count: int, path: str) -> MaclError:
    """Flags without the names of their labels: [1, 0, 1], 1;0;1 or 101."""
    return MaclError(
        f"the label table {path} has the 0 and 1 of all labels in one column, {count} flags in one cell, "
        "which does not say which label each is of: need one column for each label, "
        f"or the names of those that an image has; --separator {ONE} where it is the number of a class"
    )


def near_equal(classes: Iterable[str]) -> list[list[str]]:
    """Labels that differ in case, blanks, hyphens and underscores only, in groups of two and more."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        groups[re.sub(r"[\W_]+", "", name.casefold()) or name].append(name)
    return [group for group in groups.values() if len(group) > 1]


def cells_of(rows: Sequence[Row], column: int) -> list[str]:
    """The cells of one column; empty where a row is shorter."""
    return [row[column] if column < len(row) else "" for _, row in rows]
