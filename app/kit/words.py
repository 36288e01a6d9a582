"""Words on a page that come from data, a file or an address."""

import math


def plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return "".join(rf"\{c}" if c in r"\`*_{}[]<>()#+!|~$@:" else c for c in text)


def percent(share: float | None, digits: int = 1, unit: str = " %") -> str:
    """A metric in percent; a dash where no image could query, so that it has no value."""
    if share is None or math.isnan(share):
        return "–"
    return f"{100 * share:.{digits}f}{unit}"
