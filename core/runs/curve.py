"""The rows of metrics.jsonl, of which a machine that went down may have left some damaged."""

import json
import math
from collections.abc import Mapping
from typing import Any


def curve_row(line: bytes) -> dict[str, float] | None:
    """A row of the curve, with NaN for null; None if it is damaged.

    A machine that went down leaves zero bytes or half a line. A row has a step, and numbers in all columns;
    for a validation metric NaN is allowed.
    """
    try:
        content = json.loads(line)
        row = {key: math.nan if value is None else value for key, value in content.items()}
        sound = all(is_number(value, nan=key.startswith("val_")) for key, value in row.items())
        sound = sound and row.get("step", -1) >= 0
    except (ValueError, AttributeError, RecursionError):
        return None
    return row if sound else None


def is_number(value: object, *, nan: bool = False) -> bool:
    """Whether a value is a usable number: not infinite, and not one of hundreds of digits."""
    try:
        finite = isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False
    return (finite and not isinstance(value, bool)) or (nan and value != value)


def without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with None for NaN, which JSON does not have."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
