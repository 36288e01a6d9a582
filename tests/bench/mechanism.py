"""What the mechanism page's maps cost, in numpy and through a process: `python -m tests.bench.mechanism`.

Numpy: all maps of a batch as the page computes them at every move of a slider. Process: the same question put
to a warm process with torch, as the embedder takes its own: a file for the question, one for the answer. The
loss itself answers: pair weights, MACL's terms, the force by autograd of `from_similarities`. Beside it what
no single redraw shows: a process that has still to start, and its memory; and a slider that is dragged, whose
last place is answered after all those before it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save, save_file

from core import mechanism
from core.losses import LOSSES, check_params
from core.mechanism import Batch
from tests.bench import measured, sized, verdict
from tests.bench.losses import label_table

SIZES = (24, 128)
IMAGES, D = sized(1500, 200), 128
MOVES = sized(20, 1)  # of a slider, per loss and size
BAR_MS = 500.0  # of a redraw
DRAG, PAUSE_SECONDS = sized(15, 3), 0.1  # places of a slider that is dragged, and the time between two
SERVER_POLL, PAGE_POLL = 0.03, 0.01  # as `core.retrieval` looks for questions and answers
COLD_SECONDS = 120.0


def batches() -> dict[int, Batch]:
    """A batch of each size, of random embeddings: what they say does not change the time."""
    dice = np.random.default_rng(0)
    labels = label_table(IMAGES, dice)
    z = dice.standard_normal((max(SIZES), D))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return {
        size: Batch(
            labels[:size], labels, z[:size], mechanism.centroids(z[:size].astype(np.float32), labels[:size])
        )
        for size in SIZES
    }


def moved(key: str, place: int) -> dict[str, Any]:
    """The parameters of a loss with its first number at a new place."""
    number = next(one for one in LOSSES[key].parameters if one.kind not in ("bool", "choice"))
    return {number.name: 0.3 + 0.001 * place}


def in_numpy(batch: Batch, key: str, place: int) -> None:
    found = mechanism.maps(key, batch, check_params(key, moved(key, place)))
    if not np.isfinite(found.values["force"]).any():
        raise RuntimeError(f"{key} has no force")


def put(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(path)


def question(folder: Path, size: int, key: str, place: int) -> Path:
    """Put one; where its answer will be."""
    name = f"{size}-{key}-{place}"
    asked = {"size": size, "loss": key, "params": moved(key, place)}
    put(folder / f"{time.monotonic_ns()}-{name}.json", json.dumps(asked).encode())
    return folder / f"{name}.answer"


def wait(answer: Path, process: subprocess.Popen[bytes]) -> dict[str, np.ndarray]:
    deadline = time.monotonic() + COLD_SECONDS
    while not answer.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"no answer from the process, which ended with {process.returncode}")
        time.sleep(PAGE_POLL)
    arrays = load_file(answer)
    answer.unlink()
    return arrays


def answer_questions(folder: Path) -> None:
    """What the process does: the oldest question first, for ever."""
    import torch

    from core.losses import make_loss

    torch.set_num_threads(1)
    known: dict[int, dict[str, np.ndarray]] = {}
    while True:
        waiting = sorted(folder.glob("*.json"), key=lambda path: int(path.name.split("-")[0]))
        if not waiting:
            time.sleep(SERVER_POLL)
            continue
        asked, name = json.loads(waiting[0].read_text()), waiting[0].stem.partition("-")[2]
        size, key = asked["size"], asked["loss"]
        batch = known.setdefault(size, load_file(folder / f"{size}.batch"))
        loss = make_loss(key, batch["labels"], D, **asked["params"]).double()
        y, z = torch.from_numpy(batch["y"]).double(), torch.from_numpy(batch["z"])
        if hasattr(loss, "prototypes"):
            loss.prototypes.data = torch.from_numpy(batch["prototypes"])
        s = loss.similarities(z).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss.from_similarities(s, y), s)
        answer = {"s": s, "force": -gradient, "weights": loss.weights(y)}
        if key in mechanism.MACL:
            answer |= loss.pair_terms(y)._asdict()
        arrays = {part: np.ascontiguousarray(value.detach().numpy()) for part, value in answer.items()}
        put(folder / f"{name}.answer", save(arrays))
        waiting[0].unlink()


@contextmanager
def answering(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.mechanism", "--answer", str(folder)]
    ) as process:
        yield process
        process.kill()


def report(what: str, taken: list[float], bar: float | None = None) -> bool:
    """Print median and 95th percentile; whether the latter is above the bar."""
    median, high = np.percentile(taken, [50, 95])
    beside = "" if bar is None else f" (bar {bar:.0f} ms)"
    print(f"{what:<58} median {median:6.1f} ms, p95 {high:6.1f} ms{beside}", flush=True)
    measured(f"{what}: median", median, "ms")
    return not measured(f"{what}: p95", high, "ms", bar)


def memory(process: subprocess.Popen[bytes]) -> str:
    with suppress(OSError, IndexError):
        status = Path(f"/proc/{process.pid}/status").read_text()
        return f"{int(status.split('VmHWM:')[1].split()[0]) / 1000:.0f} MB"
    return "unknown"


def main() -> int:
    """Print every figure; 1 if a redraw in numpy, which is what the page does, is above its bar."""
    missed, made = False, batches()
    for size, batch in made.items():
        every: list[float] = []
        slowest: dict[str, float] = {}
        for key in LOSSES:
            taken = []
            for place in range(MOVES + 1):
                start = time.perf_counter()
                in_numpy(batch, key, place)
                taken.append(1000 * (time.perf_counter() - start))
            every += taken[1:]
            slowest[key] = float(np.percentile(taken[1:], 95))
        worst = max(slowest, key=slowest.__getitem__)
        missed |= report(f"numpy, {size} images, all losses", every, BAR_MS)
        print(f"  the slowest is {worst}: p95 {slowest[worst]:.1f} ms")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size, batch in made.items():
            arrays = {"y": batch.y, "labels": batch.labels, "z": batch.z, "prototypes": batch.prototypes}
            save_file(
                {key: np.ascontiguousarray(value) for key, value in arrays.items()}, folder / f"{size}.batch"
            )
        start = time.perf_counter()
        with answering(folder) as process:
            wait(question(folder, SIZES[0], "macl", -1), process)
            print(f"process, not yet started: {time.perf_counter() - start:.1f} s to the first answer")
            for size in SIZES:
                every = []
                for key in LOSSES:
                    taken = []
                    for place in range(MOVES + 1):
                        start = time.perf_counter()
                        wait(question(folder, size, key, place), process)
                        taken.append(1000 * (time.perf_counter() - start))
                    every += taken[1:]
                report(f"warm process, {size} images, all losses", every)
                start = time.perf_counter()
                for answer in [question(folder, size, key, 99) for key in LOSSES]:
                    wait(answer, process)
                took = 1000 * (time.perf_counter() - start)
                print(f"  the weights of all losses, as for one anchor: {took:.0f} ms")
                for key in ("macl", "oml"):
                    for place in range(200, 200 + DRAG):
                        last = question(folder, size, key, place)
                        start = time.perf_counter()
                        time.sleep(PAUSE_SECONDS)
                    wait(last, process)
                    took = 1000 * (time.perf_counter() - start)
                    print(f"  {key}, the last of {DRAG} places, {PAUSE_SECONDS} s apart: {took:.0f} ms")
            print(f"  memory of the process {memory(process)}")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return verdict(missed)


if __name__ == "__main__":
    if "--answer" in sys.argv:
        answer_questions(Path(sys.argv[-1]))
    sys.exit(main())
