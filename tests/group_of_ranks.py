"""Processes that train together in the tests of several devices, and what each of them does there.

A test starts them with `spawn`; each runs one function of this file as `python -m tests.group_of_ranks …`.
"""

import json
import math
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._C._distributed_c10d import FileStore

from core import metrics, runs
from core.data import Dataset, load
from core.files import PROJECT
from core.losses import LOSSES
from core.runs import Run, RunConfig
from core.training import cached, group, loop, rank
from core.training.group import ALONE, Group
from core.training.learner import Learner
from core.training.ranks import LOOPBACK

LIMIT = 240  # seconds for a group of processes, on a busy machine
Found = dict[str, Any]


def spawn(size: int, what: str, folder: Path, **about: object) -> list[Any]:
    """What the function `what` of this file returns in each of `size` connected processes."""
    folder.mkdir(exist_ok=True)
    (folder / "about.json").write_text(json.dumps(about))
    # each has one core, and so has a reference that one of them computes alone
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": LOOPBACK}
    command = [sys.executable, "-W", "error", "-m", "tests.group_of_ranks", str(folder), what, str(size)]
    members = [
        subprocess.Popen(
            [*command, str(number)], cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True
        )
        for number in range(size)
    ]
    try:
        said = [member.communicate(timeout=LIMIT)[1] for member in members]
    finally:
        for member in members:
            member.kill()
            member.wait()
    assert not any(member.returncode for member in members), "\n".join(said)
    return [json.loads((folder / f"{number}.json").read_text()) for number in range(size)]


def quiet(done: int, total: int, what: str) -> None:
    """No progress."""


def learner(
    config: RunConfig, data: Dataset, together: Group = ALONE, dtype: torch.dtype = torch.float32
) -> Learner:
    """A learner that computes in this type, on the CPU unless the configuration names another device."""
    device = together.device(torch.device(config.device))
    made = Learner(config, data, device, config.weights, quiet, together)
    made.encoder.to(dtype)
    made.loss.to(dtype)
    if hasattr(made.source, "table"):
        made.source.table = made.source.table.to(dtype)
    return made


def trained(made: Learner, train: np.ndarray, steps: int) -> dict[str, torch.Tensor]:
    """Loss and gradients of the first of these images, and the weights after some steps of Adam."""
    size = made.config.batch_size
    made.begin_epoch(made.config.lr)
    torch.manual_seed(0)  # what a loss draws
    y = made.labels[torch.from_numpy(train[:size])]
    if made.group.joined or made.config.micro_batch:
        loss = cached.backward(made, train[:size], y, 1)
    else:
        loss = made.backward(made.embedded(train[:size], 1), y, 1)
    found = {"loss": loss.detach()[None]}
    found["gradient"] = torch.cat([p.grad.flatten() for p in made.parameters if p.grad is not None])
    made.optimizer.zero_grad()
    for step in range(steps):
        made.step(np.roll(train, -7 * step)[:size], step + 1)
    found["weights"] = torch.cat([p.detach().flatten() for p in made.parameters])
    return found


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> dict[str, float]:
    """The largest differences, the mean one of the weights, and the largest entry of the gradient."""
    found = {name: (one[name] - other[name]).abs().max().item() for name in one}
    found["mean"] = (one["weights"] - other["weights"]).abs().mean().item()
    return found | {"scale": one["gradient"].abs().max().item()}


def losses(together: Group, about: Found, folder: Path) -> Found:
    """How far every loss is from that of one process that embeds a batch at once, in both types.

    The parts are unequal, in float32 embedded in parts again; of three losses the weights after ten steps
    count too. All processes give a digest of all bits, the first compares.
    """
    data, found = load("folder", Path(about["tiny"]), 32), {}
    train = data.splits["train"]
    for key in [*LOSSES, about["own"]]:
        steps = 10 if key in ("macl", "lmsc", about["own"]) else 0
        for dtype, micro in ((torch.float32, 3), (torch.float64, 0)):
            config = RunConfig.build(
                "instant", dataset="folder", data_root=about["tiny"], device="cpu", image_size=32,
                loss=key, batch_size=27, micro_batch=micro, hidden=16, dim=16,
            )  # fmt: skip
            here = trained(learner(config, data, together, dtype), train, steps)
            exact = b"".join(here[name].numpy().tobytes() for name in here)
            name = f"{key} {str(dtype)[6:]}"
            found[name] = {"digest": sha256(exact).hexdigest()}
            if together.first:
                at_once = config.model_copy(update={"micro_batch": 0})
                found[name] |= apart(trained(learner(at_once, data, ALONE, dtype), train, steps), here)
    return found


def missing(together: Group, about: Found, folder: Path) -> list[int]:
    """The ranks that rank 0 misses when the last has gone without a word; the others have answered."""
    if not together.first and together.rank < together.size - 1:
        together.missing(0)
    together.told(0)
    return together.missing(0.5) if together.first else []


def losses_on_cuda(together: Group, about: Found, folder: Path) -> Found:
    """How far losses are from that of one GPU that embeds a batch at once, connected by NCCL; in float32."""
    data, found = load("folder", Path(about["tiny"]), 32), {}
    train = data.splits["train"]
    for key in about["losses"]:
        config = RunConfig.build(
            "instant", dataset="folder", data_root=about["tiny"], device="cuda", image_size=32,
            loss=key, batch_size=27, micro_batch=about["micro"], hidden=16, dim=16, precision="float32",
        )  # fmt: skip
        with together.in_turn():
            member = learner(config, data, together)
        here = {name: value.cpu() for name, value in trained(member, train, 0).items()}
        exact = b"".join(here[name].numpy().tobytes() for name in here)
        found[key] = {"digest": sha256(exact).hexdigest()}
        if together.first:
            alone = learner(config.model_copy(update={"micro_batch": 0}), data)
            there = {name: value.cpu() for name, value in trained(alone, train, 0).items()}
            found[key] |= apart(there, here)
    return found


def courses(together: Group, about: Found, folder: Path) -> Found:
    """Runs that end in every way, one after the other; of each its state as this process saw it."""
    states: Found = {}

    def train(run: Run, stop_at: int = 0) -> str:
        def tell(done: int, total: int, what: str) -> None:
            if what == "training" and done == stop_at:
                run.mark("stop")

        if together.first:
            return loop.run(run.path, tell, together=together)
        return str(rank.follow(run.path, together))

    of = {name: Run(Path(path)) for name, path in about["runs"].items()}
    states["whole"] = train(of["whole"])
    states["stopped"] = train(of["parts"], 9)
    states["parts"] = train(of["parts"])
    states["one"] = train(of["one"])  # begun by one process alone
    states["left"] = train(of["left"], 9)  # to be ended by one
    states["own"] = train(of["own"])

    real, told = metrics.evaluate, iter([0.5, 0.4, 0.3, 0.2])
    metrics.evaluate = lambda z, y: real(z, y) | {loop.VALIDATION_METRIC: next(told)}  # type: ignore[assignment]
    states["patience"] = train(of["patience"])
    metrics.evaluate = real
    states["more"] = train(of["more"])
    if together.first:
        runs.extend(of["more"], of["whole"].config.epochs)
    together.told(0)  # its configuration has changed by now
    states["extended"] = train(of["more"])

    step = Learner.step

    def poisoned(self: Learner, rows: np.ndarray, number: int) -> None:
        if number == 10 and together.rank == together.size - 1:  # the weights of one process only
            with torch.no_grad():
                next(self.encoder.parameters()).fill_(math.nan)
        step(self, rows, number)

    Learner.step = poisoned  # type: ignore[method-assign]
    states["diverged"] = train(of["diverged"])
    return states


def main(folder: Path, what: str, size: int, number: int) -> None:
    """Do it as one of the processes, and write what was found."""
    together = group.join(number, size, number, FileStore(str(folder / "meeting"), size))
    found = globals()[what](together, json.loads((folder / "about.json").read_text()), folder)
    (folder / f"{number}.json").write_text(json.dumps(found))
    together.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
