"""What limits thousands of runs, and a run on many GPUs: `python -m tests.bench.scale`.

File system operations and seconds for the list of all runs, for a worker's look at the queue, and for a
whole training, with 10,000 run folders; then the same with a wait of a millisecond at every operation, as
on a slow shared file system. Operations are calls of the program: what a file system makes of one (and the
reading and writing of an open file) is not counted.

For one run on N GPUs, with 128 images for each: what a GPU sends in a step, and how long the loss of the
whole batch, which each of them computes, takes beside the encoder's work on its own images. Both are timed
on one thread of this machine, so only their ratio says something about others.
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

import torch
from torch.nn.functional import normalize
from torchvision.models import resnet18

from core import runs
from core.losses import make_loss
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
EACH, SIZE = sized((128, 96), (8, 32))  # images of one GPU, pixels
DIM = 128
DEVICES = (1, 4, 16, 64)


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


def loss_seconds(batch: int, classes: int = 17) -> float:
    """Seconds of MACL and its gradient to the rows of one process, for a batch of this size."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(batch, classes, generator=generator) < 0.2).float()
    labels[:, 0] = 1.0
    z = normalize(torch.randn(batch, DIM, generator=generator), dim=1)
    loss = make_loss("macl", labels.numpy(), DIM)

    def step() -> None:
        own = z[:EACH].clone().requires_grad_()
        loss(torch.cat([own, z[EACH:]]), labels).backward()

    step()
    return seconds(step, 3)


def encoder_seconds() -> tuple[float, int]:
    """Seconds of a step of a ResNet-18 at 96 px over the images of one process, and its parameters."""
    network = resnet18(num_classes=DIM)
    images = torch.rand(EACH, 3, SIZE, SIZE)

    def step() -> None:
        network(images).sum().backward()

    step()
    return seconds(step, 3), sum(parameter.numel() for parameter in network.parameters())


def many_devices() -> None:
    """Print what a step sends and computes, by the number of GPUs."""
    torch.set_num_threads(1)
    encoder, parameters = encoder_seconds()
    print(f"ResNet-18, {SIZE} px, {EACH} images for each GPU, one thread here: {encoder:.1f} s for a step")
    for ranks in DEVICES:
        loss = loss_seconds(EACH * ranks)
        gathered = 4 * DIM * EACH * (ranks - 1)
        summed = 2 * 4 * parameters * (ranks - 1) / ranks  # of a ring
        print(
            f"{ranks:>3} GPUs: batch {EACH * ranks:>5}; each receives {gathered / 1e6:.2f} MB of embeddings, "
            f"{summed / 1e6:.0f} MB of gradients;\n          loss {loss:.3f} s, {loss / encoder:.1%} of the "
            f"encoder; a matrix of the batch has {4e-6 * (EACH * ranks) ** 2:.0f} MB"
        )
        measured(f"{ranks} GPUs: loss beside the encoder", loss / encoder, "", seed=0, device="cpu")


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
    many_devices()
    return verdict(not all(held))


if __name__ == "__main__":
    os.environ.setdefault("MACL_RUN_ROOT", tempfile.gettempdir())
    raise SystemExit(main())
