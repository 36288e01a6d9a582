"""A run written on its node's disk and brought back: for a shared path that is slow, or often in the way.

The folder on the shared path stays the one that everybody sees. Its copy on the node begins with what is
there, the checkpoint included. At every heartbeat the lease and the curve are brought back, every minute and
at the end all that has changed; so curve, state and checkpoint survive the node.
"""

import os
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from core.files import write_atomic
from core.runs import where

EVERY_SECONDS = 60.0
LIGHT = ("progress.json", "log.txt", "metrics.jsonl")
CHECKPOINT = "resume.safetensors"
LAST = "scores.json"  # makes a run finished
STAYS = ("lock", "stop", where.NAME)  # each side has its own; the lease is brought by itself


class Collected:
    """The copy of a run folder on the disk of this node, as a context.

    Args:
        shared: The run folder.
        disk: A folder of this node; variables of its environment are filled in.
    """

    def __init__(self, shared: Path, disk: str) -> None:
        self.shared = shared
        self.local = Path(os.path.expandvars(disk)) / f"macl-{os.getuid()}" / shared.name
        self._there: dict[str, tuple[int, int]] = {}  # what the shared folder holds: time and size of ours
        self._over = threading.Event()

    def __enter__(self) -> Path:
        shutil.rmtree(self.local, ignore_errors=True)
        self.local.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.shared, self.local, ignore=shutil.ignore_patterns("lock", ".*"))
        self._there = self._here()
        self._thread = threading.Thread(target=self._keep, name="collect", daemon=True)
        self._thread.start()
        return self.local

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._is_ours():
            self._bring(self._here())
            if (self.shared / "stop").exists() and (self.local / "stopped").exists():
                (self.shared / "stop").unlink(missing_ok=True)
            where.write(self.shared, where.read(self.local))  # last: it gives the run away
        shutil.rmtree(self.local, ignore_errors=True)

    def _keep(self) -> None:
        brought, every = time.monotonic(), where.here().every
        while not self._over.wait(every):
            with suppress(OSError):  # a shared path that hangs: the next turn tries again
                if not self._is_ours():
                    where.write(self.local, where.read(self.shared))  # the training sees it and lets go
                    continue
                where.write(self.shared, where.read(self.local))
                if (self.shared / "stop").exists():
                    (self.local / "stop").touch()
                now, whole = self._here(), time.monotonic() - brought >= EVERY_SECONDS
                if whole:
                    brought = time.monotonic()
                self._bring(now if whole else {name: now[name] for name in LIGHT if name in now}, whole)

    def _is_ours(self) -> bool:
        lease, ours = where.read(self.shared), os.environ.get(where.CLAIM)
        return lease.claim == ours and (self.shared / where.NAME).exists() and lease.state != "ended"

    def _here(self) -> dict[str, tuple[int, int]]:
        """Files on this disk that are not half written: time of the last change and size."""
        found = {}
        for path in self.local.rglob("*"):
            name = str(path.relative_to(self.local))
            half = any(part.startswith(".") for part in Path(name).parts) or name.endswith(".new")
            with suppress(OSError):  # replaced at this moment: the next turn finds the new one
                if path.is_file() and not half and name not in STAYS:
                    found[name] = (path.stat().st_mtime_ns, path.stat().st_size)
        return found

    def _bring(self, files: dict[str, tuple[int, int]], whole: bool = True) -> None:
        """Bring back what has changed; with `whole` remove what is not here any more."""
        # The curve has to reach as far as the checkpoint whenever the node dies: the checkpoint is read
        # before it and written after it.
        changed = [name for name in files if self._there.get(name) != files[name]]
        contents = {name: (self.local / name).read_bytes() for name in changed if name == CHECKPOINT}
        for name in sorted(changed, key=lambda name: (name == LAST, name == CHECKPOINT, name)):
            with suppress(FileNotFoundError):  # removed at this moment
                content = contents.get(name) or (self.local / name).read_bytes()
                (self.shared / name).parent.mkdir(exist_ok=True)
                write_atomic(self.shared / name, content)
                self._there[name] = files[name]
        if whole:
            for name in [name for name in self._there if name not in files]:
                (self.shared / name).unlink(missing_ok=True)
                del self._there[name]
