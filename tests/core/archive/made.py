"""Small archives of made vectors, and processes that write them until they are killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from core import archive
from core.archive import Archive, Encoder, Record
from core.errors import MaclError
from core.files import PROJECT

DIM = 16
LABELS = ("airport", "beach", "cars")


def unit(rows: np.ndarray) -> np.ndarray:
    z = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return z.astype(np.float32)


def vectors(number: int, seed: int = 0, dim: int = DIM, clusters: int = 40) -> np.ndarray:
    """Unit rows in clusters, as an encoder makes them."""
    dice = np.random.default_rng(seed)
    centres = dice.standard_normal((clusters, dim))
    return unit(centres[dice.integers(0, clusters, number)] + 0.3 * dice.standard_normal((number, dim)))


def records(start: int, number: int) -> list[Record]:
    """Ids from `start` on; a third of each label, every second with a place."""
    return [
        Record(
            id=i,
            stamp=10**9 + i,
            source=f"/images/{i % 7}/{i}.png",
            lon=None if i % 2 else i / 100 % 180,
            lat=None if i % 2 else i / 100 % 80,
            label=LABELS[i % 3],
            share=0.5,
            labels=(LABELS[i % 3], "trees"),
            thumbnail=bytes([i % 256]) * 50,
        )
        for i in range(start, start + number)
    ]


def empty(folder: Path, name: str = "a" * 16, dim: int = DIM) -> Archive:
    return archive.create(folder, Encoder(name, dim, run=f"run-{name[:2]}"))


def filled(folder: Path, number: int = 3000, dim: int = DIM) -> tuple[Archive, np.ndarray]:
    made, z = empty(folder, dim=dim), vectors(number, dim=dim)
    assert made.add(records(0, number), z) == number
    return made, z


def brute(z: np.ndarray, query: np.ndarray, k: int, allowed: np.ndarray | None = None) -> list[int]:
    """Rows of the k largest cosines, by a loop's arithmetic; equal ones in the order of the rows."""
    rows = np.arange(len(z)) if allowed is None else np.flatnonzero(allowed)
    cosines = (z[rows].astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return rows[np.argsort(-cosines, kind="stable")[:k]].tolist()


def found(answer: archive.Answer) -> list[int]:
    return [hit.record.id for hit in answer.hits]


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs these lines, with `sys`, `made` and `archive` imported."""
    head = "import sys, time\nfrom core import archive\nfrom tests.core.archive import made\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *map(str, arguments)],
        cwd=PROJECT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def killed(process: subprocess.Popen[str], seconds: float) -> None:
    """Wait until it says that it has begun, and kill it so much later."""
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "begun"
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def refuses_what_does_not_fit(one: Archive, z: np.ndarray) -> None:
    """Queries and conditions that nobody can answer; z is one that fits."""
    for query, k, message in (
        (z[:5], 3, r"need z \(16,\)"),
        (2 * z, 3, "need z of length 1"),
        (z * np.nan, 3, "need z of length 1"),
        (z, 0, "need k ≥ 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            one.search(query, k)
    for where in ("colour = 'red'", "label = ", "lat >", "1; DROP TABLE rows"):
        with pytest.raises(MaclError, match=r"the condition .* is not understood .*need SQL over source"):
            one.search(z, 3, where)
        with pytest.raises(MaclError, match="is not understood"):
            one.ids(where)
