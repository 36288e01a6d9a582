"""What the mirror remembers of a server, so that it need not ask; it may be lost at any time."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from core.files import write_atomic


@dataclass
class Known:
    """A run as the server has it.

    Attributes:
        server: The server's name for the run.
        name: Its title there.
        status: Its status there.
        tags: Its tags there, as far as the mirror sets them.
        began: The start that the server keeps, milliseconds since 1970: points are dated from it.
        seen: Time of change of the run folder when all that it held had been sent; 0: look again.
    """

    server: str
    name: str = ""
    status: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    began: int = 0
    seen: int = 0


def load(path: Path) -> dict[str, Known] | None:
    """What was known, by run; None if it is lost or damaged, so that the server has to be asked."""
    try:
        content = json.loads(path.read_bytes())
        return {name: Known(**known) for name, known in content.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def save(path: Path, known: dict[str, Known]) -> None:
    """Keep what is known; on a full disk the server will be asked again."""
    with suppress(OSError):
        write_atomic(path, json.dumps({name: asdict(one) for name, one in known.items()}), flush=False)
