"""What does not fit a schema, in a person's words: pydantic's own are for programmers."""

import difflib
from collections.abc import Collection
from itertools import groupby
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

KINDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}
BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "finite_number": "a finite number",
    "literal_error": "{expected}",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
}
MOST = 60  # characters of a value that are repeated


def explain(error: ValidationError, known: Collection[str] = ()) -> str:
    """What is wrong, field by field, in one line.

    Args:
        error: What pydantic says.
        known: Names of the fields that there are, for those that are misspelt.
    """
    parts = []
    for field, several in groupby(error.errors(include_url=False), _field):
        why = _why(list(several), known)
        parts.append(f"{field}: {why}" if field else why)
    return "; ".join(parts)


def unknown(error: ValidationError) -> list[str]:
    """The fields that the schema does not have."""
    return [_field(one) for one in error.errors(include_url=False) if one["type"] == "extra_forbidden"]


def nearest(word: str, known: Collection[str]) -> str:
    """A question after the name that was meant; empty if none is like it."""
    close = difflib.get_close_matches(word, list(dict.fromkeys(known)), 1)
    return f": did you mean {close[0]}?" if close else ""


def _field(one: ErrorDetails) -> str:
    """Where it is wrong; of a value that may be of several kinds, pydantic names each of them."""
    place = one["loc"]
    kind = len(place) > 1 and place[-1] in KINDS and one["type"] != "extra_forbidden"
    return ".".join(map(str, place[:-1] if kind else place))


def _why(several: list[ErrorDetails], known: Collection[str]) -> str:
    first = next((one for one in several if one["type"] == "finite_number"), several[0])
    kind, context = first["type"], first.get("ctx", {})
    got = f", got {short(first['input'])}"
    if kind == "extra_forbidden":
        return "there is no such field" + nearest(str(first["loc"][-1]), known)
    if kind == "missing":
        return "is missing"
    if kind in ("value_error", "assertion_error"):
        return first["msg"].partition(", ")[2]
    if kind == "json_invalid":
        return f"is no JSON ({context.get('error', 'cut off')})"
    if kind in BOUNDS:
        return f"need {BOUNDS[kind].format(**context).replace(chr(39), '')}{got}"
    if len(several) > 1:
        kinds = [KINDS[str(one["loc"][-1])] for one in several if one["loc"][-1] in KINDS]
        return f"need {', '.join(kinds[:-1])} or {kinds[-1]}{got}"
    return f"need {_kind(kind)}{got}"


def _kind(kind: str) -> str:
    for name, words in {**KINDS, "string": "text", "dict": "names with values", "list": "a list"}.items():
        if kind.startswith(name):
            return words
    return "names with values" if kind.startswith("model") else "another kind of value"


def short(value: Any) -> str:
    """A value as Python writes it, cut where it is longer than a person reads."""
    text = repr(value)
    return text if len(text) <= MOST else f"{text[:MOST]}…"
