"""Words on a page that come from data, a file or an address."""

import math
from collections.abc import Mapping

from core.report import NOT_COMPUTED


def plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return "".join(rf"\{c}" if c in r"\`*_{}[]<>()#+!|~$@:" else c for c in text)


def percent(share: float | None, digits: int = 1, unit: str = " %") -> str:
    """A metric in percent; a dash where no image could query, so that it has no value."""
    if share is None or math.isnan(share):
        return "–"
    return f"{100 * share:.{digits}f}{unit}"


def score(values: Mapping[str, float | None], key: str) -> str:
    """A metric of one run in percent; said so where the run was scored without it."""
    return percent(values[key]) if key in values else NOT_COMPUTED
