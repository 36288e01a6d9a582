"""The retrieval page against its bars: `python -m tests.bench.retrieval`.

Runs of all losses on the demo set with random heads and embeddings: the time does
not depend on what was learnt. Server time: the page's script run as the server does, pictures encoded on the
way. Browser time: from the click, or from the file chosen, until the last picture is decoded.
"""

import io
import json
import logging
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from playwright.sync_api import Locator, sync_playwright
from safetensors.numpy import save_file
from streamlit.testing.v1 import AppTest

from app.kit import query
from core import runs
from core.data import Dataset, load
from core.data.prepared import cache_root
from core.encoder.model import ProjectionHead
from core.losses import LOSSES
from core.metrics import METRICS
from core.retrieval import ask
from tests.bench import measured, sized, verdict
from tests.components import component_data
from tests.e2e.conftest import CHROMIUM, FLAGS, PATIENCE_MS, Server

MAIN = str(Path(__file__).resolve().parent.parent.parent / "app" / "navigation.py")
BAR_MS = 150.0
QUERIES = sized(60, 2)
BROWSER_BAR_MS = 1000.0
CLICKS = sized(20, 2)
UPLOAD_BAR_MS = 1500.0
UPLOADS = sized(8, 1)
FEATURES = 1280  # of tf_efficientnet_lite0

# Click the nth picture; resolves with the milliseconds until it is the query and all pictures are there.
CLICK = """(root, nth) => new Promise((done) => {
  const tile = root.querySelectorAll(".tile")[nth], wanted = tile.dataset.name, start = performance.now();
  tile.click();
  const look = () => {
    const images = [...root.querySelectorAll(".tile img")];
    const there = root.querySelector(".query").dataset.name === wanted;
    if (there && images.every((one) => one.complete && one.naturalWidth)) done(performance.now() - start);
    else requestAnimationFrame(look);
  };
  look();
})"""


def finished(root: Path, loss: str, data: Dataset) -> runs.Run:
    """A run folder that looks like a finished run, with a random head and random embeddings."""
    run = runs.create(runs.RunConfig.build("instant", dataset="demo", loss=loss), root)
    rows = data.splits["test"]
    z = np.random.default_rng(len(loss)).standard_normal((len(rows), 128)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    save_file({"z": z, "y": np.asarray(data.labels[rows])}, run.path / "embeddings.safetensors")
    head = {f"encoder.{key}": value.numpy() for key, value in ProjectionHead(FEATURES).state_dict().items()}
    save_file(head, run.path / "model.safetensors")
    run.mark(
        "splits.json", json.dumps({key: [data.names[i] for i in data.splits[key]] for key in data.splits})
    )
    scores = dict.fromkeys(METRICS, 0.5)
    run.mark("scores.json", json.dumps(dict.fromkeys(("metrics", "chance", "oracle"), scores)))
    return run


def server_ms(shown: list[runs.Run]) -> list[float]:
    """Milliseconds of each of many new queries."""
    page = AppTest.from_file(MAIN, default_timeout=60)
    page.query_params["runs"] = [run.id for run in shown]
    page.switch_page("../pages/retrieval.py").run()
    taken = []
    for _ in range(QUERIES):
        button = next(button for button in page.button if button.label == "Random")
        start = time.perf_counter()
        button.click().run()
        taken.append(1000 * (time.perf_counter() - start))
    if page.exception or len(component_data(page)[0]["images"]) < query.TOP:
        raise RuntimeError("the page did not show its pictures")
    return taken


def browser_ms(
    root: Path, shown: list[runs.Run], data: Dataset
) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of clicks, of uploads until the first row, and of uploads until all rows."""
    server = Server(root.parent, cache_root())
    server.run_root = root
    server.environment["MACL_RUN_ROOT"] = str(root)
    server.start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(PATIENCE_MS)
            page.goto(f"{server.url}/retrieval?" + "&".join(f"runs={run.id}" for run in shown))
            tiles = page.locator(".tile img")
            tiles.nth(len(shown) * query.TOP - 1).wait_for()
            grid = page.locator(".gallery")
            clicks = [grid.evaluate(CLICK, (7 * n) % (len(shown) * query.TOP)) for n in range(CLICKS)]
            page.get_by_role("button", name="Upload an image").click()
            while not ask.doing().get("ready"):
                time.sleep(0.1)
            first, last = [], []
            for n in range(UPLOADS + 1):
                file = io.BytesIO()
                Image.fromarray(data.images[n]).save(file, "JPEG", quality=95)
                name = f"own{n}.jpg"
                given = {"name": name, "mimeType": "image/jpeg", "buffer": file.getvalue()}
                start = time.perf_counter()
                page.locator('input[type="file"]').set_input_files(given)
                page.locator(f'.query[data-name="{name}"]').wait_for(state="attached")
                first.append(wait_for(tiles, query.TOP, start))
                last.append(wait_for(tiles, query.TOP * len(shown), start))
            browser.close()
    finally:
        server.kill(signal.SIGTERM)
    return clicks, first[1:], last[1:]  # the first one loads the heads


def wait_for(tiles: Locator, count: int, start: float) -> float:
    """Milliseconds since `start` when there are so many."""
    while tiles.count() < count:
        time.sleep(0.005)
    return 1000 * (time.perf_counter() - start)


def told(what: str, taken: list[float], bar: float, of: str = "p95") -> bool:
    """Print median and 95th percentile; whether the one that counts is above the bar."""
    values = dict(zip(("median", "p95"), np.percentile(taken, [50, 95]), strict=True))
    print(
        f"{what}: median {values['median']:.0f} ms, p95 {values['p95']:.0f} ms (bar {bar:.0f} ms, {of})",
        flush=True,
    )
    return not measured(f"{what}: {of}", float(values[of]), "ms", bar)


def main() -> int:
    """Print every figure with its bar; 1 if one is above it."""
    logging.disable(logging.WARNING)
    data = load("demo", image_size=128)
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        os.environ["MACL_RUN_ROOT"] = str(root)
        torch.manual_seed(0)
        made = [finished(root, loss, data) for loss in LOSSES]
        for rows in (3, len(made)):
            missed |= told(f"server, new query, {rows} rows of {query.TOP}", server_ms(made[:rows]), BAR_MS)
        clicks, first, last = browser_ms(root, made, data)
        missed |= told(f"browser, new query, {len(made)} rows of {query.TOP}", clicks, BROWSER_BAR_MS)
        missed |= told("browser, upload to the first row", first, UPLOAD_BAR_MS)
        told(f"browser, upload to the last of {len(made)} rows", last, UPLOAD_BAR_MS)
        embedder = ask.process().pid
        if embedder is not None:
            os.kill(embedder, signal.SIGTERM)
    return verdict(missed)


if __name__ == "__main__":
    sys.exit(main())
