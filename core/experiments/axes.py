"""Values of a sweep's axes as a person types them: lists, evenly spaced numbers, ranges of seeds."""

import re
from typing import get_args

from core.errors import MaclError
from core.losses import LOSSES, Value
from core.runs import RunConfig

MOST_VALUES = 1000


def parse_axis(text: str, loss: str) -> tuple[str, tuple[Value, ...]]:
    """`alpha=0,0.5,1`, `alpha=0:3:7` (seven values from 0 to 3) or `seed=0-2` as an axis.

    Args:
        text: What the person wrote.
        loss: Whose parameters it may name.

    Raises:
        MaclError: If it is none of these, or names no field and no parameter.
    """
    name, separator, rest = text.partition("=")
    name = name.strip()
    if not separator or not rest.strip():
        raise MaclError(f"need NAME=VALUES such as alpha=0:3:7 or lr=0.1,0.01, got {text!r}")
    return name, tuple(
        dict.fromkeys(v for part in rest.split(",") for v in _values(name, part.strip(), loss))
    )


def _values(name: str, text: str, loss: str) -> list[Value]:
    if span := re.fullmatch(r"([-+.\deE]+):([-+.\deE]+):(\d+)", text):
        try:
            low, high, count = float(span[1]), float(span[2]), int(span[3])
        except ValueError:
            raise MaclError(f"{name}: need numbers such as 0:3:7, got {text!r}") from None
        if not 2 <= count <= MOST_VALUES:
            raise MaclError(f"{name}: need 2 to {MOST_VALUES} values, got {count}")
        spaced = [low + (high - low) * n / (count - 1) for n in range(count)]
        return [_value(name, f"{value:.10g}", loss) for value in spaced]
    if (span := re.fullmatch(r"(\d+)-(\d+)", text)) and _kind(name, loss) == "int":
        low, last = int(span[1]), int(span[2])
        if last - low >= MOST_VALUES:
            raise MaclError(f"{name}: need at most {MOST_VALUES} values, got {text}")
        return list(range(low, last + 1))
    return [_value(name, text, loss)]


def _value(name: str, text: str, loss: str) -> Value:
    kind = _kind(name, loss)
    if kind == "bool":
        if text.lower() not in ("true", "false", "1", "0", "on", "off"):
            raise MaclError(f"{name}: need true or false, got {text!r}")
        return text.lower() in ("true", "1", "on")
    if kind in ("float", "int"):
        try:
            return int(text) if kind == "int" else float(text)
        except ValueError:
            raise MaclError(f"{name}: need a number, got {text!r}") from None
    return text


def _kind(name: str, loss: str) -> str:
    """float, int, bool or text."""
    if name in RunConfig.model_fields and name not in ("params", "preset"):
        annotation = RunConfig.model_fields[name].annotation
        return {float: "float", int: "int", bool: "bool"}.get(annotation, "text")  # type: ignore[arg-type]
    parameters = {p.name: p for spec in LOSSES.values() for p in spec.parameters}
    own = {p.name: p for p in LOSSES[loss].parameters} if loss in LOSSES else {}
    if name not in parameters:
        fields = ", ".join(sorted(set(RunConfig.model_fields) - {"params", "preset"}))
        known = ", ".join(own) or "none"
        raise MaclError(f"{name!r} is no field ({fields}) and no parameter of {loss} ({known})")
    kind = (own.get(name) or parameters[name]).kind
    return "text" if kind == "choice" else kind


def choices(name: str, loss: str) -> tuple[Value, ...]:
    """All values of a field or parameter that has only a few; empty for numbers and free text."""
    own = {p.name: p for p in LOSSES[loss].parameters}
    if name in own:
        return (True, False) if own[name].kind == "bool" else own[name].choices
    if name == "loss":
        return tuple(LOSSES)
    annotation = RunConfig.model_fields[name].annotation
    return (True, False) if annotation is bool else get_args(annotation)
