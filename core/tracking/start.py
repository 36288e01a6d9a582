"""Start the mirror beside a training, and say how it does. Nothing here imports MLflow."""

from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from core.background.process import Process
from core.errors import MaclError
from core.tracking import client
from core.tracking.address import Address, address

PREFIX = ".mlflow-"


@dataclass(frozen=True)
class Mirroring:
    """How the mirror of a run root does.

    Attributes:
        server: The server, without user and password; empty if the variable holds no address.
        alive: Whether its process lives.
        waiting: Runs that the server does not have whole yet, as far as is known.
        error: What went wrong last; empty if nothing did.
    """

    server: str
    alive: bool
    waiting: int
    error: str

    @property
    def words(self) -> str:
        """One sentence or two for people."""
        to = f" to {self.server}" if self.server else ""
        if self.error and not self.alive:
            return f"Runs are not mirrored{to}: {self.error}."
        runs = "1 run waits" if self.waiting == 1 else f"{self.waiting:,} runs wait"
        wait = f"; {runs} to be sent" if self.waiting else ""
        return f"Runs are mirrored{to}{wait}{f': {self.error}' if self.error else ''}."


def process(root: Path, server: Address) -> Process:
    """The mirror of a run root at a server."""
    return Process(root / f"{PREFIX}{sha256(server.shown.encode()).hexdigest()[:8]}")


def ensure(root: Path) -> None:
    """Start the mirror of a run root if MACL_MLFLOW_URI names a server and none lives; never an error.

    A mirror to another server is asked to end. The lab's runs, in a hidden folder, are not mirrored.
    """
    with suppress(MaclError, OSError):
        server = address()
        if server is None or root.name.startswith(".") or not client.installed():
            return
        root = root.resolve()
        mine = process(root, server)
        for path in root.glob(f"{PREFIX}*.lock"):
            other = Process(path.with_suffix(""))
            if other != mine and other.pid is not None:
                other.stop()
        mine.start("core.tracking.worker")


def mirroring(root: Path) -> Mirroring | None:
    """How the mirror does; None if no server is named, so that nothing is to be said."""
    try:
        server = address()
    except MaclError as error:
        return Mirroring("", False, 0, str(error))
    if server is None:
        return None
    if not client.installed():
        return Mirroring(server.shown, False, 0, client.LACKING)
    mine = process(root.resolve(), server)
    alive, note = mine.pid is not None, mine.note()
    why = note.get("last") if alive else note.get("error") or note.get("last")
    waiting = note.get("waiting")
    return Mirroring(server.shown, alive, waiting if isinstance(waiting, int) else 0, str(why or ""))


def stop(root: Path, server: Address) -> Process:
    """Ask the mirror to end."""
    mine = process(root.resolve(), server)
    if mine.pid is not None:
        mine.stop()
    return mine
