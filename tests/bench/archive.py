"""Archives at size: `python -m tests.bench.archive [ROWS]`, 1,000,000 × 128 unit vectors in clusters.

Ingest, index, answers with and without a filter, after a deletion and an addition, reopening, a second
process. `python -m tests.bench.archive 100000` is for a busy machine.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from core import archive
from core.archive import Archive, Encoder, Record
from core.files import PROJECT
from tests.bench import measured, sized, verdict

DIM, K, QUERIES, BATCH = 128, 100, 60, 50_000
ASKED = [int(word) for word in sys.argv[1:] if word.isdecimal()]
ROWS = ASKED[0] if ASKED else sized(1_000_000, 3000)
FILTERS = {"50 %": "share < 0.5", "2.5 %": "share < 0.025", "0.1 %": "share < 0.001"}
missed: list[str] = []


def main() -> int:
    """Print every figure beside its bar; 1 if one is missed."""
    with tempfile.TemporaryDirectory() as folder:
        of_vectors(Path(folder) / "archive")
    print(f"load {os.getloadavg()[0]:.1f}; missed: {', '.join(missed) or 'none'}")
    return verdict(missed)


def of_vectors(place: Path) -> None:
    """The bars of the store."""
    dice = np.random.default_rng(0)
    z = made(ROWS, dice)
    shares = dice.random(ROWS)
    one = archive.create(place, Encoder("b" * 16, DIM, "bench"))
    batches = [records(start, min(BATCH, ROWS - start), shares) for start in range(0, ROWS, BATCH)]
    began = time.perf_counter()
    for number, batch in enumerate(batches):
        one.add(batch, z[number * BATCH : number * BATCH + len(batch)])
    said("ingest", time.perf_counter() - began, "s", 15 * ROWS / 1e6)
    del batches
    began = time.perf_counter()
    index = one.build_index()
    said("index", time.perf_counter() - began, "s", 180)
    print(f"  {index}")
    queries = z[dice.integers(0, ROWS, QUERIES)]
    fresh = asked(one, z, queries, "search", None, 30)
    for name, where in FILTERS.items():
        asked(one, z, queries, f"filter {name}", where, 60, shares < float(where.split()[-1]))
    asked(one, z, queries, "exact", None, 150, exact=True)
    began = time.perf_counter()
    archive.open(place).search(queries[0], K)
    said("reopen and first answer", time.perf_counter() - began, "s", 0.5)
    seen_by_another(one, place, dice)
    live = np.ones(ROWS, bool)
    for name, rows in (("one deletion", [5]), ("1 % deleted", np.arange(0, ROWS, 100))):
        one.remove(rows)
        live[rows] = False
        asked(one, z, queries, f"after {name}", None, 1.5 * fresh, live)
    one.add(records(2 * ROWS, 10_000, dice.random(10_000)), made(10_000, dice))
    asked(one, z, queries, "after an addition", None, 1.5 * fresh, recall=None)
    began = time.perf_counter()
    one.compact()
    said("compact and index", time.perf_counter() - began, "s")


def asked(
    one: Archive,
    z: np.ndarray,
    queries: np.ndarray,
    name: str,
    where: str | None,
    bar: float,
    allowed: np.ndarray | None = None,
    exact: bool = False,
    recall: float | None = 0.99,
) -> float:
    """Time and recall@K of answers; returns the 95th percentile in ms."""
    one.search(queries[0], K, where, exact)  # the rows of a filter are found once
    times, answers, hits = [], [], []
    for query in queries:  # one after the other, as a person's; brute force in between would empty the caches
        began = time.perf_counter()
        answers.append(one.search(query, K, where, exact))
        times.append(1e3 * (time.perf_counter() - began))
    for query, answer in zip(queries, answers, strict=True) if recall is not None else ():
        cosines = z @ query
        if allowed is not None:
            cosines[~allowed] = -np.inf
        least = np.partition(cosines, -K)[-K] - 1e-6
        hits.append(np.mean([hit.cosine >= least for hit in answer.hits]))
    p95 = float(np.quantile(times, 0.95))
    said(f"{name}, p95", p95, "ms", bar)
    if recall is not None:
        said(f"{name}, recall@{K}", float(np.mean(hits)), "", recall, least=True)
    return p95


def seen_by_another(one: Archive, place: Path, dice: np.random.Generator) -> None:
    """Seconds until a process that has the archive open finds what this one has added."""
    code = (
        "import sys, time\nfrom core import archive\none = archive.open(sys.argv[1])\nbefore = len(one)\n"
        "print('ready', flush=True)\nwhile len(one) == before: time.sleep(0.01)\nprint(time.time())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(place)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        one.add(records(3 * ROWS, 1, np.ones(1)), made(1, dice))
        added = time.time()
        seen = float(other.stdout.readline())
    said("seen by a second process", max(0.0, seen - added), "s", 1)


def made(number: int, dice: np.random.Generator) -> np.ndarray:
    """Unit rows (number, DIM) in 1,000 clusters that are the same at every call."""
    centres = np.random.default_rng(1).standard_normal((1000, DIM), np.float32)
    z = centres[dice.integers(0, 1000, number)] + 0.5 * dice.standard_normal((number, DIM), np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return z


def records(start: int, number: int, shares: np.ndarray) -> list[Record]:
    """Rows with a share that filters can ask for."""
    return [
        Record(
            i, i, f"/images/{i}.png", label="harbor", share=float(shares[i % len(shares)]), labels=("harbor",)
        )
        for i in range(start, start + number)
    ]


def said(name: str, value: float, unit: str, bar: float | None = None, *, least: bool = False) -> None:
    """Print a figure beside its bar, and remember it if it misses."""
    beside = "" if bar is None else f" (bar {'≥' if least else '≤'} {bar:.4g} {unit})"
    print(f"{ROWS:,} rows: {name:<36} {value:9.4g} {unit}{beside}", flush=True)
    if not measured(f"archive of {ROWS:,}: {name}", value, unit, bar, least=least):
        missed.append(name)


if __name__ == "__main__":
    sys.exit(main())
