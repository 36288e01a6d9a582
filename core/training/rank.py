"""One of the processes that train a run together, and does not hold it.

`python -m core.training.rank …` is what `core.training.ranks` starts; torchrun starts `core.training`.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from torch._C._distributed_c10d import FileStore

from core.files import lock
from core.runs import Run, where
from core.runs.where import WARNINGS
from core.training import group, loop
from core.training.group import Group, Lost
from core.training.log import Left, Log, Stopped, Taken, said
from core.training.ranks import LEAVE, LOCK


def follow(folder: Path, together: Group) -> int:
    """Train as another rank than the first, which says what becomes of the run; the exit code."""
    run = Run(folder)
    try:
        loop.train(run, Log(run, None, writes=False), together=together)
        return 0
    except (Stopped, Left, Taken):
        return 1
    except Lost as error:
        together.missing(loop.LOST_SECONDS)
        print(f"rank {together.rank}: {error}", file=sys.stderr)
    except Exception as error:
        print(f"rank {together.rank}: {said(run, error)['details']}", file=sys.stderr)
    return 1


def main(folder: Path, device: str, number: int, count: int, meeting: str, pipe: int) -> int:
    """Train together with the others, and tell the starter what is done and how it ended."""
    threading.Thread(target=_end_with_starter, daemon=True).start()
    if where.LAUNCHER in os.environ:  # an engine may send its signals to all processes of a job: one answers
        for warning in WARNINGS:
            signal.signal(warning, signal.SIG_IGN)
    else:
        loop.stop_on_signal(folder)

    def tell(**line: Any) -> None:
        os.write(pipe, json.dumps(line).encode() + b"\n")

    def progress(done: int, total: int, what: str) -> None:
        tell(done=done, total=total, what=what)

    run, first, wanted = Run(folder), number == 0, folder / LEAVE
    if first and not lock(folder / LOCK):
        raise RuntimeError(f"another process holds {LOCK}")
    try:
        together = group.join(number, count, number, FileStore(meeting, count))
        log = Log(run, progress if first else None, lambda: Left if wanted.exists() else None, writes=first)
        loop.train(run, log, device, together)
        tell(state="finished")
        together.leave()
    except Stopped:
        tell(state="stopped")
    except Left:
        tell(state="left")
    except Exception as error:
        tell(state="failed", **said(run, error))
    return 0


def _end_with_starter() -> None:
    """End at once when the process that started this one has died: it held the lock of the run."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    place, kind, mine, all_of_them, meeting_place, told = sys.argv[1:]
    sys.exit(main(Path(place), kind, int(mine), int(all_of_them), meeting_place, int(told)))
