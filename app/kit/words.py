"""Words on a page that come from data, a file or an address: none of them is ever Markdown."""

import math
import re
from collections.abc import Mapping

from core.report import NOT_COMPUTED

# What Streamlit makes of text even where Markdown is escaped: links of http:// and www., icons and emoji of
# :name:, arrows of ->. An invisible joiner inside leaves them as they are.
JOINER = "\N{WORD JOINER}"
JOINED = re.compile(r"(?<=:)(?=//|[A-Za-z+-][\w+/-]*:)|(?<=www)(?=\.)", re.IGNORECASE)
ARROW = re.compile(r"(?<!\S)(?:<-|->|<->|--|>=|<=|~=)(?!\S)")
LIST = re.compile(r"^(\d*)(?=\.)|^(?=[-=])")  # a line that begins so would be an entry of a list, or a rule


def plain(text: object) -> str:
    """Text that Markdown leaves as it is; every text from outside goes through here, or through `code`."""
    text = ARROW.sub(lambda found: found[0][0] + JOINER + found[0][1:], JOINED.sub(JOINER, str(text)))
    return "  \n".join(_line(line.lstrip()) for line in text.splitlines())


def code(text: object) -> str:
    """Text in the letters of code, as it is: a command, a place."""
    words = " ".join(str(text).split("\n"))
    fence = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    pad = " " if words[:1] in ("`", " ") or words[-1:] in ("`", " ") else ""
    return f"{fence}{pad}{words}{pad}{fence}" if words else ""


def _line(text: str) -> str:
    escaped = "".join(rf"\{c}" if c in r"\`*_{}[]<>()#+!|~$@:&" else c for c in text)
    return LIST.sub(r"\1\\", escaped, count=1)


def percent(share: float | None, digits: int = 1, unit: str = " %") -> str:
    """A metric in percent; a dash where no image could query, so that it has no value."""
    if share is None or math.isnan(share):
        return "–"
    return f"{100 * share:.{digits}f}{unit}"


def score(values: Mapping[str, float | None], key: str) -> str:
    """A metric of one run in percent; said so where the run was scored without it."""
    return percent(values[key]) if key in values else NOT_COMPUTED
