"""The archive page at size: `python -m tests.bench.archive_page [ROWS]`, 1,000,000 rows of three encoders.

From a query to three rows, from an uploaded picture to its first row, and the memory that the server takes
more. The page's script is run as the server does, everything it sends included; what the engine takes of it
is measured beside it, the same queries asked without a page. The archive is filled by another process.
"""

import io
import logging
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from streamlit.testing.v1 import AppTest

from assets.demo import draw as demo
from core import archive, runs
from core.archive import Encoder, images, parts
from core.background.process import Process
from core.encoder import trained
from core.files import PROJECT
from core.retrieval import ask
from core.runs import Run, RunConfig
from core.training import loop
from tests.bench import measured, sized, verdict
from tests.bench.archive import made, records
from tests.components import component_data

ASKED = [int(word) for word in sys.argv[1:] if word.isdecimal()]
ROWS = ASKED[0] if ASKED else sized(1_000_000, 1500)
ENCODERS, BATCH, K = 3, 50_000, 8
QUERIES, UPLOADS = sized((40, 8), (2, 2))
SECONDS = 60  # the longest wait for the embedder
missed: list[str] = []


def main() -> int:
    """Print every figure beside its bar; 1 if one is missed."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ |= {"MACL_RUN_ROOT": str(home / "runs"), "MACL_CACHE": str(home / "cache")}
        try:
            spawn = multiprocessing.get_context("spawn").Process(target=fill, args=(home,))
            spawn.start()
            spawn.join()
            if spawn.exitcode:
                return 1
            of_page(home)
        finally:
            Process(ask.home() / "embedder").stop()
    print(f"load {os.getloadavg()[0]:.1f}; missed: {', '.join(missed) or 'none'}")
    return verdict(missed)


def fill(home: Path) -> None:
    """Three small runs, and an archive of made vectors of their encoders; indexed beyond 100,000."""
    trained_on, place = home / "scenes", home / "archive"
    trained_on.mkdir()
    lines = ["image," + ",".join(demo.CLASSES)]
    for index in range(60):
        image, labels = demo.draw(index, size=48)
        Image.fromarray(image).save(trained_on / f"{index}.png")
        lines.append(f"{index}.png,{','.join(map(str, labels))}")
    (trained_on / "labels.csv").write_text("\n".join(lines) + "\n")
    found = []
    for seed in range(ENCODERS):
        given = {"data_root": str(trained_on), "image_size": 32, "batch_size": 16, "epochs": 1, "seed": seed}
        run = runs.create(
            RunConfig.build("instant", dataset="folder", loss="mulsupcon", **given), home / "runs"
        )
        assert loop.run(run.path) == "finished"
        found.append(Encoder.of(Run(run.path), trained.read(run)))
    dice, picture = np.random.default_rng(0), images.thumbnail(demo.draw(0, size=96)[0])
    part, shares = archive.create(place, found[0]), dice.random(ROWS)
    for start in range(0, ROWS, BATCH):
        number = min(BATCH, ROWS - start)
        some = [replace(one, thumbnail=picture[:4096]) for one in records(start, number, shares)]
        part.add(some, made(number, dice))
    part.tidy()
    for encoder in found[1:]:  # the same rows: how fast they are found does not depend on whose they are
        shutil.copytree(part.folder, place / encoder.id)
        encoder.write(place / encoder.id)


def of_page(home: Path) -> None:
    """All bars."""
    place, dice = str(home / "archive"), np.random.default_rng(1)
    page = AppTest.from_file(str(PROJECT / "app" / "navigation.py"), default_timeout=600)
    page.switch_page("../pages/archive.py").run()
    before = memory()
    page.query_params["archive"] = place
    page.run()
    asked = dice.integers(0, ROWS, QUERIES).tolist()
    times = [shown(page, f"like:{number}") for number in asked]
    said("query to three rows, p95", float(np.quantile(times, 0.95)), "ms", 300)
    said("query to three rows, median", float(np.median(times)), "ms")
    again = [timed(page) for _ in range(5)]
    said("the same drawn again, median", float(np.median(again)), "ms")
    engine = [alone(place, number) for number in asked]
    said("of it the engine, median", float(np.median(engine)), "ms")
    uploads = [upload(page, number) for number in range(1 + UPLOADS)][1:]  # the first wakes the embedder
    said("upload to its first row, worst", max(uploads), "s", 1.5)
    said("memory of the server", memory() - before, "MB", 300)


def shown(page: AppTest, query: str) -> float:
    """Milliseconds until this query has its rows."""
    page.query_params["query"] = query
    taken = timed(page)
    (grid,) = component_data(page, "gallery")
    assert [len(row["tiles"]) for row in grid["rows"]] == [K] * ENCODERS
    return taken


def timed(page: AppTest) -> float:
    """Milliseconds of one run of the script."""
    began = time.perf_counter()
    page.run()
    assert not page.exception
    return 1e3 * (time.perf_counter() - began)


def alone(place: str, number: int, opened: list[archive.Archive] = []) -> float:  # noqa: B006
    """Milliseconds of the same answers without a page."""
    opened += [] if opened else parts(place)
    began = time.perf_counter()
    for part in opened:
        part.search(part.vectors([number])[0], K + 1)
    return 1e3 * (time.perf_counter() - began)


def upload(page: AppTest, number: int) -> float:
    """Seconds from a picture to the first row that answers it."""
    file = io.BytesIO()
    Image.fromarray(demo.draw(1000 + number, size=256)[0]).save(file, "PNG")
    began = time.perf_counter()
    page.file_uploader[0].upload(f"{number}.png", file.getvalue(), "image/png").run()
    while True:
        assert not page.exception
        (grid,) = component_data(page, "gallery")
        if grid["query"]["name"] == f"{number}.png" and any(row["tiles"] for row in grid["rows"]):
            return time.perf_counter() - began
        assert time.perf_counter() - began < SECONDS, [row["note"] for row in grid["rows"]]
        page.run()


def memory() -> float:
    """MB that this process holds; without mapped files, which the system takes back when it wants."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1e3


def said(name: str, value: float, unit: str, bar: float | None = None) -> None:
    """Print a figure beside its bar, and remember it if it misses."""
    beside = "" if bar is None else f" (bar ≤ {bar:g} {unit})"
    print(f"{ROWS:,} rows: {name:<34} {value:9.4g} {unit}{beside}", flush=True)
    if not measured(f"archive page of {ROWS:,} rows: {name}", value, unit, bar):
        missed.append(name)


if __name__ == "__main__":
    sys.exit(main())
