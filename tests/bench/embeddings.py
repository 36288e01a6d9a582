"""The embeddings page against its bars in a real browser: `python -m tests.bench.embeddings`.

Lasso of 400 of 5,000 points to the grid with its pictures; redraw of 50,000 points; UMAP of 3,000 × 128: the
first picture of a fresh server, UMAP's coordinates on a second start, and no second computation. Made-up
embeddings and images.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from safetensors.numpy import save_file

from core import runs
from core.data import load
from core.metrics import METRICS
from core.projection import Step, Umap, layout
from core.queue import launch
from tests.bench import measured, sized, verdict
from tests.e2e.conftest import CHROMIUM, FLAGS, Server, wait

LASSO_BAR, REDRAW_BAR, FIRST_BAR = 0.6, 1.5, 0.5  # seconds
IMAGES, MANY, SOME = sized((5000, 50_000, 3000), (300, 600, 60))
TURNS = sized(7, 1)
STARTS = sized(3, 1)  # of a server
LABELS = 8
SIZE = 64  # of the training images
PATIENCE_MS = 240_000


def main() -> int:
    """Print each time beside its bar; 1 if one is missed."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        home = Path(scratch)
        os.environ["MACL_CACHE"] = str(home / "cache")
        folder = made_up_images(home / "images")
        load("folder", str(folder), image_size=SIZE)
        server = Server(home, home / "cache")
        server.run_root.mkdir()
        made = {n: made_up_run(server.run_root, folder, n) for n in (IMAGES, MANY, SOME)}
        server.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
        page.set_default_timeout(PATIENCE_MS)
        try:
            held = [lassos(page, server, made[IMAGES]), redraws(page, server, made[MANY])]
            held.append(umap(page, server, made[SOME]))
        finally:
            browser.close()
            server.close()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return verdict(not all(held))


def made_up_images(folder: Path) -> Path:
    """A folder with coarse coloured noise and a table of labels."""
    folder.mkdir()
    dice = np.random.default_rng(0)
    lines = ["image," + ",".join(f"label{k}" for k in range(LABELS))]
    for n in range(IMAGES):
        coarse = Image.fromarray(dice.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        coarse.resize((80, 80)).save(folder / f"{n:05d}.jpg")
        lines.append(f"{n:05d}.jpg," + ",".join(str(int(k == n % LABELS)) for k in range(LABELS)))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def made_up_run(root: Path, folder: Path, n: int) -> runs.Run:
    """A run folder that looks like a finished run with n test images, one cluster per label."""
    config = runs.RunConfig.build(
        "instant", dataset="folder", data_root=str(folder), image_size=SIZE, loss="mulsupcon"
    )
    run = runs.create(config, root)
    run.rename(f"{n} images")
    dice, which = np.random.default_rng(n), np.arange(n) % LABELS
    z = 2 * np.eye(128)[which] + 0.25 * dice.standard_normal((n, 128))
    z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    save_file({"z": z, "y": np.eye(LABELS, dtype=np.uint8)[which]}, run.path / "embeddings.safetensors")
    names = [f"{k:05d}.jpg" for k in range(n)]
    run.mark("splits.json", json.dumps({"train": [], "val": [], "test": names}))
    run.mark("classes.json", json.dumps([f"label{k}" for k in range(LABELS)]))
    scores = dict.fromkeys(METRICS, 0.5)
    run.mark(
        "scores.json", json.dumps({**dict.fromkeys(("metrics", "chance", "oracle"), scores), "epoch": 15})
    )
    return run


def opened(page: Page, server: Server, run: runs.Run, method: str) -> float:
    """Open the page; seconds from the first component to the first picture of this run."""
    page.goto(f"{server.url}/embeddings?runs={run.id}&projection={method}")
    page.locator(".scatter[data-drawn]").wait_for()
    page.wait_for_timeout(1500)  # the rest of the page
    return float(page.locator(".scatter").get_attribute("data-ms") or 0) / 1000


def report(what: str, seconds: list[float], bar: float) -> bool:
    """Print one line; whether the median holds the bar."""
    median = float(np.median(seconds))
    print(f"{what:<64} median {median:.2f} s, worst {max(seconds):.2f} s (bar {bar} s)", flush=True)
    return measured(what, median, "s", bar)


def lassos(page: Page, server: Server, run: runs.Run) -> bool:
    """A lasso around some 400 of 5,000 points, until their pictures are decoded in the grid."""
    opened(page, server, run, "PCA")
    box = page.locator(".scatter canvas").bounding_box()
    assert box is not None
    page.evaluate(WATCH)
    seconds, taken = [], []
    for turn in range(TURNS + 1):
        page.evaluate("window.maclBench.reset()")
        side = SIDES[turn % len(SIDES)]
        x, y = box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5
        half_x, half_y = side * box["width"], side * box["height"]
        corners = [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]
        page.mouse.move(x - half_x, y - half_y)
        page.mouse.down()
        for u, v in corners[1:]:
            page.mouse.move(x + u * half_x, y + v * half_y, steps=4)
            page.wait_for_timeout(100)  # nobody draws faster
        page.mouse.up()
        page.wait_for_function("() => window.maclBench.done > 0")
        found = page.evaluate("window.maclBench")
        seconds.append((found["done"] - found["up"]) / 1000)
        taken.append(int(page.locator(".selection").get_attribute("data-total") or 0))
    what = f"lasso of {min(taken[1:])}–{max(taken[1:])} of {IMAGES:,} points to the grid"
    return report(what, seconds[1:], LASSO_BAR)


# From the mouse's release to the frame in which the sprite of the new grid has been decoded.
WATCH = """() => {
  const bench = window.maclBench = { up: 0, done: 0, reset() { this.up = this.done = 0; } };
  addEventListener("pointerup", () => { bench.up = performance.now(); }, true);
  const look = (root, found = []) => {
    for (const node of root.querySelectorAll("*")) {
      if (node.shadowRoot) look(node.shadowRoot, found);
      if (node.classList?.contains("selection")) found.push(node);
    }
    return found;
  };
  let last = "";
  const tick = async () => {
    const grid = look(document)[0], tile = grid?.querySelector(".tile");
    const now = tile ? `${grid.dataset.total} ${tile.dataset.name} ${tile.style.background}` : "";
    if (bench.up && !bench.done && tile?.style.background && now !== last) {
      last = now;
      const image = new Image();
      image.src = tile.style.background.match(/url\\("(.*?)"\\)/)[1];
      await image.decode();
      requestAnimationFrame(() => requestAnimationFrame(() => { bench.done = performance.now(); }));
    }
    requestAnimationFrame(tick);
  };
  tick();
}"""
SIDES = sized((0.055, 0.057, 0.059, 0.061), (0.25, 0.3))  # half the lasso's side, shares of the picture


def redraws(page: Page, server: Server, run: runs.Run) -> bool:
    """Zoom, select and clear with 50,000 points: until the next frame after the drawing."""
    opened(page, server, run, "PCA")
    seconds = []
    for _ in range(TURNS):
        for name in ("+", "−", "Reset"):
            seconds.append(
                page.evaluate(
                    """async (text) => {
                      const look = (root) => { for (const node of root.querySelectorAll("*")) {
                        if (node.classList?.contains("scatter")) return node;
                        const inner = node.shadowRoot && look(node.shadowRoot); if (inner) return inner; } };
                      const start = performance.now();
                      const buttons = [...look(document).querySelectorAll(".bar button")];
                      buttons.find((button) => button.textContent === text).click();
                      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
                      return (performance.now() - start) / 1000;
                    }""",
                    name,
                )
            )
    held = report(f"redraw of {MANY:,} points", seconds, REDRAW_BAR)
    start = time.perf_counter()
    page.locator(".legend button").first.click()
    page.locator(".selection[data-total]").wait_for()
    spent = time.perf_counter() - start
    print(f"{f'{MANY // LABELS:,} of them selected, to the grid':<64} {spent:.2f} s")
    measured(f"{MANY // LABELS:,} points selected, to the grid", spent, "s")
    return held


def umap(page: Page, server: Server, run: runs.Run) -> bool:
    """PCA at once, then UMAP; the same one on a second start, from the cache. It is the newest run."""
    first, warm = [], []
    for _ in range(STARTS):
        server.close()
        shutil.rmtree(projections(server), ignore_errors=True)
        server.start()
        page.goto(server.url)
        page.get_by_role("link", name="Embeddings", exact=True).first.wait_for()
        wait(lambda: any(about["ready"] for about in launch.workers(server.run_root).values()))  # else it
        page.wait_for_timeout(500)  # imports torch on one of the cores
        start = time.perf_counter()
        first.append(to_the_picture(page))
        page.get_by_role("link", name="Home", exact=True).first.click()
        page.get_by_role("heading", name="MACL Lab").wait_for()
        page.wait_for_timeout(500)
        warm.append(to_the_picture(page))
    page.get_by_text("PCA until UMAP is there").wait_for()
    page.get_by_text("UMAP · trustworthiness").wait_for()
    spent = time.perf_counter() - start
    print(f"{f'UMAP of {SOME:,} × 128 in place of PCA, its process included':<64} {spent:.1f} s")
    measured(f"UMAP of {SOME:,} × 128 in place of PCA", spent, "s")
    step = Step(run.embeddings()[0], Umap())
    before, made = layout(step), made_at(server)
    server.close()
    server.start()
    start = time.perf_counter()
    page.goto(f"{server.url}/embeddings?runs={run.id}")
    page.get_by_text("UMAP · trustworthiness").wait_for()
    again = time.perf_counter() - start
    after = layout(step)
    known = before is not None and after is not None and np.array_equal(before, after)
    same = known and made == made_at(server)
    print(f"{'second start, the whole page included':<64} {again:.2f} s; nothing computed again: {same}")
    print(f"{'the same click once more: what browser and machine take':<64} median {np.median(warm):.2f} s")
    what = f"first picture of {SOME:,} × 128 (PCA), first click of a server"
    return report(what, first, FIRST_BAR) and same


def to_the_picture(page: Page) -> float:
    """Seconds from the click on the page's name to the first picture."""
    start = time.perf_counter()
    page.get_by_role("link", name="Embeddings", exact=True).first.click()
    page.locator(".scatter[data-drawn]").wait_for()
    return time.perf_counter() - start


def made_at(server: Server) -> list[int]:
    """When the layouts in the cache were written."""
    return sorted(path.stat().st_mtime_ns for path in (projections(server) / "layouts").iterdir())


def projections(server: Server) -> Path:
    """Where the server keeps layouts."""
    return Path(server.environment["MACL_CACHE"]) / "projections"


if __name__ == "__main__":
    sys.exit(main())
