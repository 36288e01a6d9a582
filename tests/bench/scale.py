"""What limits thousands of runs: `python -m tests.bench.scale`.

File system operations and seconds for the list of all runs, for a worker's look at the queue, and for a
whole training, with 10,000 run folders; then the same with a wait of a millisecond at every operation, as
on a slow shared file system. Operations are calls of the program: what a file system makes of one (and the
reading and writing of an open file) is not counted.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from core import runs
from core.queue import launch
from core.runs import RunConfig
from core.training import loop
from tests.bench import measured, sized, verdict

RUNS = sized(10_000, 50)
WAITING = 100  # of them
LIST_BAR, LOOK_BAR = 2.0, 0.2  # seconds, on a local disk
OPERATIONS = (
    "os.stat",
    "os.lstat",
    "os.access",
    "os.open",
    "os.listdir",
    "os.scandir",
    "os.mkdir",
    "os.rename",
    "os.replace",
    "os.unlink",
    "os.rmdir",
    "os.utime",
    "os.fsync",
    "io.open",
    "builtins.open",
    "fcntl.fcntl",
    "fcntl.lockf",
)
DELAY = 0.001  # seconds of an operation of the slow file system


class Counted:
    """How many operations there were, each of which waits."""

    def __init__(self, delay: float) -> None:
        self.number, self.delay = 0, delay

    def counting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            self.number += 1
            if self.delay:
                time.sleep(self.delay)
            return call(*args, **options)

        return counted


@contextmanager
def operations(delay: float = 0.0) -> Iterator[Counted]:
    """Count the operations of this process on files, and let each take so many seconds longer."""
    found = Counted(delay)
    with ExitStack() as stack:
        for name in OPERATIONS:
            module, _, function = name.partition(".")
            call = getattr(__import__(module), function)
            stack.enter_context(patch(name, found.counting(call)))
        yield found


def fill(root: Path, template: Path, number: int) -> None:
    """So many finished runs, of which `WAITING` wait in the queue again with more epochs to train."""
    config = json.loads((template / "config.json").read_text())
    small = [path for path in template.iterdir() if path.name in ("scores.json", "data.json", "started")]
    for n in range(number):
        folder = root / f"20261128-{n // 3600:02d}{n // 60 % 60:02d}{n % 60:02d}.000-demo-macl-s{n}-{n:04x}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({**config, "seed": n}))
        waits = n % (number // WAITING or 1) == 0
        for path in small:
            if not (waits and path.name == "scores.json"):
                shutil.copy(path, folder)
        if waits:
            (folder / "submitted").touch()


def seconds(call: Callable[[], object], rounds: int = 5) -> float:
    """The median of some calls."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return sorted(taken)[rounds // 2]


def main() -> int:
    """Print operations and seconds beside the bars; 1 if one is missed."""
    held = []
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "runs"
        config = RunConfig.build("instant", dataset="demo", device="cpu", epochs=2, seed=0)
        loop.run(runs.create(config, root).path)  # imports, prepared data and features, as in a warm worker
        run = runs.create(config, root)
        with operations() as training:
            loop.run(run.path)
        steps = int(run.history()[-1]["step"])
        print(f"one training, instant preset, {steps} steps: {training.number} operations")
        measured("operations of a training", training.number, "", preset="instant", seed=0)

        fill(root, run.path, RUNS)
        looks: dict[str, tuple[Callable[[], object], float]] = {
            "list of all runs": (lambda: runs.list_runs(root), LIST_BAR),
            "a look at the queue": (lambda: launch.queue(root), LOOK_BAR),
            "state of all runs": (lambda: [one.state for one in runs.list_runs(root)], LIST_BAR),
        }
        for name, (look, bar) in looks.items():
            taken = seconds(look)
            with operations() as counted:
                look()
            with operations(DELAY):
                slow = seconds(look, 1)
            held.append(measured(f"{RUNS} folders: {name}", taken, "s", bar))
            print(
                f"{RUNS:,} folders: {name:<20} {taken:6.3f} s (bar {bar:g}), {counted.number:,} operations, "
                f"{slow:5.1f} s at {1000 * DELAY:g} ms each"
            )
    return verdict(not all(held))


if __name__ == "__main__":
    os.environ.setdefault("MACL_RUN_ROOT", tempfile.gettempdir())
    raise SystemExit(main())
