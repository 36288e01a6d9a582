"""Conditions in SQL, as filters of Milvus: what both understand alike, and nothing that one reads otherwise.

NOT goes down to the comparisons, where it becomes the opposite one: so an image without a place meets neither
`lat > 40` nor `NOT lat > 40`, as in SQL. The start of a text becomes a range of texts: in a pattern the `_`
of a file's name would fit any letter.
"""

from __future__ import annotations

import json
import re

from core.archive.table import QUERY_COLUMNS
from core.errors import MaclError

NUMBERS = {"share", "lat", "lon"}
TEXTS = {*QUERY_COLUMNS.split(", ")} - NUMBERS - {"labels"}
OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
MIRRORED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
SAME = {"=": "==", "<>": "!="}
NONE = "id in []"
TOKEN = re.compile(
    r"\s*('(?:[^']|'')*'|-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[A-Za-z_]\w*|<>|!=|<=|>=|==|[=<>(),])\s*"
)


def filter_of(where: str) -> str:
    """A condition over `QUERY_COLUMNS` as Milvus has it; MaclError if it is not understood."""
    reader = _Reader(where)
    try:
        found = reader.either(False)
        if reader.tokens:
            raise ValueError(f"at {reader.tokens[0]}")
    except (ValueError, RecursionError) as error:
        raise MaclError(
            f"the condition {where!r} is not understood ({error}): need SQL over {QUERY_COLUMNS} with =, <>, "
            "<, <=, >, >=, IN, BETWEEN, LIKE, IS NULL, starts_with, array_has, AND, OR and NOT"
        ) from None
    return found


class _Reader:
    """Reads tokens from left to right. `no` says that the opposite of what is read is wanted."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        at = 0
        while at < len(text):
            if (found := TOKEN.match(text, at)) is None:
                self.tokens.append(text[at:].strip()[:20])  # fits nothing
                break
            self.tokens.append(found[1])
            at = found.end()

    def either(self, no: bool) -> str:
        """Parts joined by OR."""
        parts = [self.both(no)]
        while self.has("OR"):
            parts.append(self.both(no))
        return _joined(parts, "and" if no else "or")

    def both(self, no: bool) -> str:
        """Parts joined by AND."""
        parts = [self.one(no)]
        while self.has("AND"):
            parts.append(self.one(no))
        return _joined(parts, "or" if no else "and")

    def one(self, no: bool) -> str:
        """A part: in brackets, turned round, or a comparison."""
        if self.has("NOT"):
            return self.one(not no)
        if self.has("("):
            inner = self.either(no)
            self.need(")")
            return inner
        return self.comparison(no)

    def comparison(self, no: bool) -> str:
        """One test of a column."""
        first = self.next()
        if self.has("("):
            return self.function(first.lower(), no)
        if first[0] in "'-.0123456789":
            op = MIRRORED[self.operator()]
            return self.compared(self.column(self.next()), op, no, first)
        name = self.column(first)
        if self.has("IS"):
            no ^= self.has("NOT")
            self.need("NULL")
            null = f"{name} is null" if name in NUMBERS else NONE
            return null if not no else f"{name} is not null" if name in NUMBERS else f"not ({NONE})"
        no ^= self.has("NOT")
        if self.has("BETWEEN"):
            low = self.compared(name, ">=", no, self.next())
            self.need("AND")
            return _joined([low, self.compared(name, "<=", no, self.next())], "or" if no else "and")
        if self.has("IN"):
            self.need("(")
            parts = [self.compared(name, "==", no, self.next())]
            while self.has(","):
                parts.append(self.compared(name, "==", no, self.next()))
            self.need(")")
            return _joined(parts, "and" if no else "or")
        if self.has("LIKE"):
            return _turned(f"{self.column(name, TEXTS)} like {self.text(self.next())}", no)
        return self.compared(name, self.operator(), no, self.next())

    def function(self, called: str, no: bool) -> str:
        """`starts_with(column, text)` or `array_has(labels, text)`."""
        if called not in ("starts_with", "array_has", "array_contains"):
            raise ValueError(f"no function {called}")
        name = self.column(self.next(), TEXTS if called == "starts_with" else {"labels"})
        self.need(",")
        word = self.next()
        text = self.text(word)
        self.need(")")
        if called != "starts_with":
            return _turned(f"array_contains({name}, {text})", no)
        start = _plain(word)
        if not start:
            return _turned(f'{name} like "%"', no)
        last = ord(start[-1]) + 1
        after = json.dumps(start[:-1] + chr(0xE000 if last == 0xD800 else last), ensure_ascii=False)
        parts = [f"{name} {'<' if no else '>='} {text}", f"{name} {'>=' if no else '<'} {after}"]
        return _joined(parts, "or" if no else "and")

    def compared(self, name: str, op: str, no: bool, value: str) -> str:
        """A column against a value of its kind."""
        if name in NUMBERS:
            if value[0] not in "-.0123456789":
                raise ValueError(f"{name} needs a number, not {value}")
            value = repr(float(value))
        else:
            value = self.text(value)
        return f"{name} {OPPOSITE[op] if no else op} {value}"

    def column(self, word: str, among: set[str] = NUMBERS | TEXTS) -> str:
        """Name of a column."""
        name = word.lower()
        if name not in among:
            raise ValueError(
                f"no column {word}" if name not in NUMBERS | TEXTS | {"labels"} else f"at {word}"
            )
        return name

    def operator(self) -> str:
        """A comparison, as Milvus writes it."""
        op = self.next()
        if SAME.get(op, op) not in OPPOSITE:
            raise ValueError(f"at {op}")
        return SAME.get(op, op)

    def text(self, word: str) -> str:
        """A text, as Milvus quotes it."""
        if word[:1] != "'" or len(word) < 2:
            raise ValueError(f"need a text in '…', not {word}")
        return json.dumps(_plain(word), ensure_ascii=False)

    def next(self) -> str:
        """The next token, whichever it is."""
        if not self.tokens:
            raise ValueError("it ends too early")
        return self.tokens.pop(0)

    def has(self, word: str) -> bool:
        """Take the next token if it is this one."""
        fits = bool(self.tokens) and self.tokens[0].upper() == word
        if fits:
            self.tokens.pop(0)
        return fits

    def need(self, word: str) -> None:
        """Take this token."""
        if not self.has(word):
            raise ValueError(
                f"need '{word}', not {self.next()}" if self.tokens else f"need '{word}' at its end"
            )


def _joined(parts: list[str], word: str) -> str:
    return parts[0] if len(parts) == 1 else f"({f' {word} '.join(parts)})"


def _turned(test: str, no: bool) -> str:
    return f"not ({test})" if no else test


def _plain(word: str) -> str:
    return word[1:-1].replace("''", "'")
