"""What a class says of its parameters: the signature of `__init__` and the docstring's "Args:", no torch.

`Annotated[float, Field(ge=0, le=10, title="α")]` gives the range and the letter of the paper, a `Literal` the
choices, "Args:" one line of help for each. Without a `Field` the range may stand in that line: "≥ 0" or
"-1 to 1". A parameter without an annotation is of the kind of its default.
"""

import ast
import inspect
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import Field

from core.errors import MaclError
from core.losses.parameters import Kind, Parameter, Tau

GIVEN = ("labels", "classes", "dim")  # handed over by `make_loss`, no settings
_KNOWN = {"Annotated": Annotated, "Field": Field, "Literal": Literal, "Tau": Tau}
_KINDS: dict[Any, Kind] = {bool: "bool", int: "int", float: "float"}
_NEED = 'need float, int, bool or Literal["one", "another"]'
_NUMBER = r"([-−]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-−]?\d+)?)"
_END = r"(?=\s*(?:[.,;:)\]]|and\b|$)(?!\.?\d))"  # of a clause: "2 to 3 times" is no range
_FROM_TO = rf"(?:^|[,;:(]\s*|\b(?:from|in|of)\s+){_NUMBER}\s*(?:\.\.\.?|…|–|to)\s*{_NUMBER}{_END}"
_BETWEEN = rf"\bbetween\s+{_NUMBER}\s+and\s+{_NUMBER}{_END}"
_INTERVAL = rf"\bin\s+([\[(]){_NUMBER}\s*,\s*{_NUMBER}([\])])"
_INSIDE = rf"{_NUMBER}\s*(<=|≤|<)\s*\w+\s*(<=|≤|<)\s*{_NUMBER}"
_BOUND = rf"(>=|≥|>|<=|≤|<)\s*{_NUMBER}{_END}"


@cache
def built_in(cls: str) -> tuple[Parameter, ...]:
    """Parameters of a class of this package, read from its file, which is not run: that would load torch.

    Args:
        cls: Its file without the ending, a dot, and its name.
    """
    module, name = cls.split(".")
    source = Path(__file__).with_name(f"{module}.py").read_text()
    skeleton = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == name)
    init = next(n for n in skeleton.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    settings = init.args.args[
        len(init.args.args) - len(init.args.defaults) :
    ]  # those without a default: GIVEN
    init.args.args, init.body = [init.args.args[0], *settings], [ast.Pass()]
    skeleton.bases, skeleton.body = [], [skeleton.body[0], init]
    names: dict[str, Any] = dict(_KNOWN)
    exec(compile(ast.fix_missing_locations(ast.Module([skeleton], [])), module, "exec"), names)
    return parameters(names[name])


def parameters(cls: Any) -> tuple[Parameter, ...]:
    """The settings of a class in the order of its signature.

    Raises:
        MaclError: If a parameter is of no kind that a form can show, has no default, or one out of its range.
    """
    init = inspect.unwrap(cls.__init__)
    if init.__module__ == "torch.nn.modules.module":  # the class has none of its own
        return ()
    helps = _helps(inspect.cleandoc(cls.__doc__ or "")) | _helps(inspect.getdoc(init) or "")
    return tuple(
        _parameter(p, _annotation(p, init), helps.get(p.name, ""))
        for p in list(inspect.signature(init).parameters.values())[1:]
        if p.name not in GIVEN or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    )


def _annotation(p: inspect.Parameter, init: Any) -> Any:
    """The annotation itself where it is written as a string: `from __future__ import annotations`."""
    if not isinstance(p.annotation, str):
        return p.annotation
    try:
        return eval(p.annotation, init.__globals__)
    except Exception:
        raise MaclError(f"{p.name}: the annotation {p.annotation} means nothing: {_NEED}") from None


def _parameter(p: inspect.Parameter, annotation: Any, text: str) -> Parameter:
    name, default = p.name, p.default
    marks: list[Any] = []
    if p.kind not in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
        raise MaclError(f"{name}: need parameters that are given by name, got {p}: write them out one by one")
    if not name.isascii() or name == "key":  # which names the loss itself in `make_loss`
        raise MaclError(f"{name}: need a name of plain letters a–z, digits and _, and not key: rename it")
    if default is p.empty:
        raise MaclError(f"{name}: only {', '.join(GIVEN)} are handed over: give it a default")
    if get_origin(annotation) is Annotated:
        annotation, *marks = get_args(annotation)
    kind = type(default) if annotation is p.empty else annotation
    symbol = next((mark.title for mark in marks if getattr(mark, "title", None)), "")
    if get_origin(kind) is Literal and all(isinstance(word, str) for word in get_args(kind)):
        made = Parameter(name, "choice", default, text, symbol, choices=get_args(kind))
    elif kind in (int, float):
        low, high, above, below = _bounds(marks) or _said(text) or (None, None, False, False)
        if kind is float and type(default) is int:
            default = float(default)
        made = Parameter(name, _KINDS[kind], default, text, symbol, low, high, (), above, below)
    elif kind is bool:
        made = Parameter(name, "bool", default, text, symbol)
    else:
        shown = (
            inspect.formatannotation(annotation) if annotation is not p.empty else f"the default {default!r}"
        )
        raise MaclError(f"{name}: {_NEED}, got {shown}")
    try:
        made.check(default)
    except (TypeError, ValueError) as error:
        raise MaclError(f"{error} as its default: correct the default, its kind or its range") from None
    return made


def _bounds(marks: Any) -> tuple[float | None, float | None, bool, bool] | None:
    """Lowest and highest value, and whether they are left out, of marks such as `Field(gt=0, le=1)`."""
    found: dict[str, float] = {}
    for mark in marks:
        for part in (mark, *getattr(mark, "metadata", ())):
            found |= {
                key: value
                for key in ("ge", "gt", "le", "lt")
                if (value := getattr(part, key, None)) is not None
            }
    if not found:
        return None
    low, high = found.get("gt", found.get("ge")), found.get("lt", found.get("le"))
    return low, high, "gt" in found, "lt" in found


def _said(text: str) -> tuple[float | None, float | None, bool, bool] | None:
    """The range in a line of help, as `_bounds`; None if it names none."""
    if match := re.search(_FROM_TO, text) or re.search(_BETWEEN, text):
        return _number(match[1]), _number(match[2]), False, False
    if match := re.search(_INTERVAL, text):
        return _number(match[2]), _number(match[3]), match[1] == "(", match[4] == ")"
    if match := re.search(_INSIDE, text):
        return _number(match[1]), _number(match[4]), match[2] == "<", match[3] == "<"
    found = {sign: _number(value) for sign, value in re.findall(_BOUND, text)}
    words = {"≥": "ge", ">=": "ge", ">": "gt", "≤": "le", "<=": "le", "<": "lt"}
    return _bounds([SimpleNamespace(**{words[sign]: value for sign, value in found.items()})])


def _number(text: str) -> float:
    return float(text.replace("−", "-"))


def _helps(text: str) -> dict[str, str]:
    """Each argument's text in a docstring, on one line: of its "Args:", of Sphinx' or NumPy's kind."""
    items = re.findall(r"^:param (?:[^:\n]* )?(\w+): *(.*(?:\n +.*)*)", text, re.MULTILINE)
    if section := re.search(r"^Parameters\n-+\n((?:.*\n?)*?)(?=\n\S.*\n-+\n|\Z)", text, re.MULTILINE):
        items += re.findall(r"^(\w+)(?: *:.*)?\n((?: +.*\n?)+)", section[1] + "\n", re.MULTILINE)
    _, _, args = text.partition("\nArgs:\n")
    args = re.split(r"\n(?=\S)", args)[0]  # up to the next section
    items += re.findall(r"^ {4}(\w+)(?: \([^)]*\))?: (.*(?:\n {5,}.*)*)", args, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in items}
