"""Server time of a page switch and of a curve refresh: `python -m tests.bench.pages`.

A run root with copies of the recorded runs and ten long made-up curves, one of them still growing; the demo
set is prepared on the first use. A page's script is run as the server does, everything it sends included.
"""

import json
import logging
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

from core import runs
from core.data import load
from core.experiments import lab
from core.files import lock
from core.losses import LOSSES
from core.metrics import METRICS
from tests.bench import measured, sized, verdict
from tests.components import component_data

ROOT = Path(__file__).resolve().parent.parent.parent
MAIN = str(ROOT / "app" / "navigation.py")
PAGES = {  # with what shows that a page is more than its title
    "home": "page_link",
    "data": "bidi_component",
    "train": "bidi_component",
    "compare": "bidi_component",
    "retrieval": "bidi_component",
    "mechanism": "bidi_component",
    "sensitivity": "bidi_component",
}
SWITCH_BAR, REFRESH_BAR = 400.0, 30.0  # milliseconds
SWITCHES, REFRESHES = sized((12, 60), (1, 2))
TRACES = 10
LINES = 300  # of a curve: the paper's 100 epochs on the largest of its data sets
PER_EPOCH = 27  # steps


def main() -> int:
    """Print median and 95th percentile beside their bars; 1 if one is missed."""
    logging.disable(logging.WARNING)
    load("demo", image_size=128)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MACL_RUN_ROOT"] = folder
        root = Path(folder)
        for source in sorted((ROOT / "assets" / "recorded").iterdir()):
            copy = shutil.copytree(source, root / source.name.replace("recorded", "copied"))
            (copy / "recorded").unlink()
        lab.folder(root).mkdir()
        for place in (root, lab.folder(root)):
            lock(place / ".worker-auto.lock")  # this process passes for the worker: none is to be started
        lengthy = [long_run(root, loss, LINES) for loss in list(LOSSES)[:TRACES]]
        lock(lengthy[0].path / "lock")  # and for the process that trains this run
        held = [switches(name, lengthy) for name in PAGES]
        held.append(refreshes(lengthy, LINES, REFRESH_BAR))
        for run in lengthy:
            write_curve(run, LINES, 20 * LINES)
        refreshes(lengthy, 20 * LINES, math.inf)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return verdict(not all(held))


def long_run(root: Path, loss: str, lines: int) -> runs.Run:
    """A run folder that looks like one in training."""
    config = runs.RunConfig.build("instant", dataset="demo", loss=loss, epochs=10_000)
    run = runs.create(config, root)
    run.mark("started")
    run.mark(
        "splits.json",
        json.dumps({"train": [str(i) for i in range(PER_EPOCH * 128)], "val": [], "test": ["0"]}),
    )
    write_curve(run, 0, lines)
    return run


def write_curve(run: runs.Run, first: int, last: int) -> None:
    """Add the lines `first` to `last` of a curve: every tenth step, each third one validated."""
    dice = np.random.default_rng(first)
    with (run.path / "metrics.jsonl").open("a" if first else "w") as file:
        for line in range(first + 1, last + 1):
            step = 10 * line
            row = {"step": step, "epoch": step // PER_EPOCH + 1, "loss": 5 / (1 + line / 50) + dice.random()}
            row |= {"lr": 0.001, "images_per_s": 12_345.6, "seconds": step * 0.01}
            if line % 3 == 0:
                row |= {f"val_{key}": round(float(dice.random()), 6) for key in METRICS}
            file.write(json.dumps(row) + "\n")


def report(what: str, taken: list[float], bar: float) -> bool:
    """Print one line; whether the bar was held."""
    median, high = np.percentile(taken, [50, 95])
    beside = f"(bar {bar:.0f} ms)" if math.isfinite(bar) else ""
    print(f"{what:<44} median {median:4.0f} ms, p95 {high:4.0f} ms {beside}", flush=True)
    measured(f"{what}: median", float(median), "ms")
    return measured(f"{what}: p95", float(high), "ms", bar)


def timed(work: Callable[[], object]) -> float:
    """Milliseconds that it takes."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def switches(name: str, lengthy: list[runs.Run]) -> bool:
    """Switch to this page from another one, again and again; the train page draws the long curves."""
    page = AppTest.from_file(MAIN, default_timeout=60).run()
    other = "compare" if name == "home" else "home"
    taken = []
    for _ in range(SWITCHES + 1):
        page.switch_page(f"../pages/{other}.py").run()
        if name == "train":
            page.query_params["runs"] = [run.id for run in lengthy]
        page.switch_page(f"../pages/{name}.py")
        taken.append(timed(page.run))
        if page.exception or not page.get(PAGES[name]):
            raise RuntimeError(f"the page {name} did not come: {page.exception}")
    return report(f"switch to {name} (first visit {taken[0]:.0f} ms)", taken[1:], SWITCH_BAR)


def refreshes(lengthy: list[runs.Run], lines: int, bar: float) -> bool:
    """Draw the curves again after one of them has grown, as the fragment of the train page does."""

    def script(ids: list[str]) -> None:
        import streamlit as st

        from app.train import live

        st.session_state["bench_states"] = live.states()
        live._watch(ids, "bench", controls=True)

    page = AppTest.from_function(script, default_timeout=60, args=([run.id for run in lengthy],)).run()
    taken = []
    for turn in range(REFRESHES):
        write_curve(lengthy[0], lines + turn, lines + turn + 1)
        taken.append(timed(page.run))
        sent = json.loads(component_data(page)[0]["spec"])
        if page.exception or len(sent["data"]) != TRACES:
            raise RuntimeError(f"the curves did not come: {page.exception}")
    return report(f"curve refresh, {TRACES} traces of {lines:,} lines", taken, bar)


if __name__ == "__main__":
    sys.exit(main())
