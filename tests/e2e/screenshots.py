"""Every page as a person sees it, empty, running, failed and filled, light and dark: `make screenshots`.

`python -m tests.e2e.screenshots --readme` takes those of assets/screenshots anew, on the demo set alone.
"""

import io
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from app.kit.palette import LOSS_COLORS, jaccard_color
from assets.demo import draw as demo
from core import archive, runs
from core.archive import ingest, marks
from core.data import load
from core.experiments import lab
from core.queue import launch
from core.runs import Run, RunConfig
from core.training import loop
from tests.e2e.conftest import CHROMIUM, FLAGS, LONG, PATIENCE_MS, ROOT, Server

PAGES = ("", "data", "train", "compare", "retrieval", "archive", "embeddings", "mechanism", "sensitivity")
WIDTHS = (1280, 1920)
README = ROOT / "assets" / "screenshots"
README_PAGES = {  # at most so many bytes, and what has to be there
    "retrieval": (350_000, ".tile img"),
    "train": (250_000, ".js-plotly-plot"),
    "compare": (250_000, ".js-plotly-plot"),
    "mechanism": (250_000, ".heatmaps[data-drawn]"),
    "archive": (350_000, ".tile img"),
}
SCENES, FIRST = 600, 100_000  # of the archive, drawn as the demo set and none of it
KIND = "crossing"  # what is looked for there
SETTLE_MS = 4000  # figures and thumbnails arrive after the page's text


def main() -> int:
    for_readme = "--readme" in sys.argv
    out = README if for_readme else Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots").resolve()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        home = Path(scratch)
        os.environ["MACL_CACHE"] = str(home / "cache")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for state in ("filled",) if for_readme else ("empty", "filled", "busy"):
            folder = home / state
            folder.mkdir()
            server = Server(folder, home / "cache")
            server.run_root.mkdir()
            server.environment["MACL_RECORDED_ROOT"] = str(folder / "recorded")
            query = {"empty": empty, "filled": filled, "busy": busy}[state](server)
            archived = searched(server) if for_readme else ""
            server.start()
            if for_readme:
                readme(browser, server, query, archived)
            else:
                shoot(browser, server, state, query, out)
            server.kill(signal.SIGTERM)
            for root in (server.run_root, lab.folder(server.run_root)):
                for about in launch.workers(root).values():
                    os.kill(int(str(about["pid"])), signal.SIGKILL)
        browser.close()
    print(out)
    return 0


def empty(server: Server) -> str:
    """No run, no data set found, nothing prepared."""
    return ""


def filled(server: Server) -> str:
    """The recorded runs of the demo set, and its images."""
    load("demo", image_size=128)
    shutil.copytree(ROOT / "assets" / "recorded", server.home / "recorded")
    shown = ("recorded-mulsupcon-s0", "recorded-macl-s0", "recorded-macl_nested-s0")
    return "?" + "&".join(f"runs={name}" for name in shown)


def searched(server: Server) -> str:
    """An archive of drawn scenes that two runs have embedded; some of what they find is marked."""
    tiles, place = server.home / "tiles", server.home / "coast"
    tiles.mkdir()
    for number in range(SCENES):
        drawn, _ = demo.draw(FIRST + number, size=128)
        Image.fromarray(drawn).save(tiles / f"scene_{number:04d}.jpg", quality=95)
    trained = []
    for loss in ("mulsupcon", "macl"):
        run = runs.create(RunConfig.build("instant", loss=loss), server.run_root)
        loop.run(run.path)
        trained.append(Run(run.path))
    ingest.add(place, trained, [str(tiles)])
    part = archive.parts(place)[0]
    records = part.records(part.ids()).values()
    kinds = {one.id: demo.template(FIRST + int(one.source[-8:-4])) for one in records}
    asked = next(number for number, kind in kinds.items() if kind == KIND)
    for hit in part.search(part.vectors([asked])[0], 7).hits[1:]:
        marks.mark(place, KIND, hit.record.id, kinds[hit.record.id] == KIND)
    server.environment["HOME"] = str(server.home)  # as short as a person's own
    return f"?archive={quote('~/coast')}&query=like:{asked}&looking={KIND}"


def busy(server: Server) -> str:
    """A run in training, one in the queue, one that failed, one whose process died."""
    running = launch.submit(RunConfig.build("instant", epochs=LONG, loss="macl"), server.run_root)
    queued = launch.submit(RunConfig.build("instant", epochs=LONG, loss="mulsupcon"), server.run_root)
    failed = runs.create(RunConfig.build("instant", loss="oml", lr=1.0), server.run_root)
    failed.mark("started")
    failed.mark(
        "error.txt",
        "training diverged at step 12 (epoch 2): the gradient is not finite; the learning rate 1.0 is likely "
        "too high: try 0.001. The last checkpoint is kept.",
    )
    died = runs.create(RunConfig.build("instant", loss="lmsc"), server.run_root)
    died.mark("started")
    while not running.history():
        time.sleep(0.2)
    return "?" + "&".join(f"runs={run.id}" for run in (running, queued, failed, died))


def shoot(browser: Browser, server: Server, state: str, query: str, out: Path) -> None:
    """One picture per page, colour scheme and width."""
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            context = browser.new_context(
                color_scheme=scheme,  # type: ignore[arg-type]
                viewport={"width": width, "height": 1000},
            )
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            for name in PAGES:
                page.goto(f"{server.url}/{name}{query if name in ('train', 'retrieval') else ''}")
                page.get_by_role("heading", level=1).first.wait_for()
                page.wait_for_timeout(SETTLE_MS)
                page.screenshot(path=out / f"{name or 'home'}-{state}-{scheme}-{width}.png")
            context.close()


def readme(browser: Browser, server: Server, query: str, archived: str) -> None:
    """Light, 1280 wide, with as many colours as fit the size that a README should load."""
    page = browser.new_page(color_scheme="light", viewport={"width": 1280, "height": 960})
    page.set_default_timeout(PATIENCE_MS)
    queries = {"train": query, "retrieval": query + "&k=8", "archive": archived}
    for name, (limit, last) in README_PAGES.items():
        page.goto(f"{server.url}/{name}{queries.get(name, '')}")
        page.get_by_role("heading", level=1).first.wait_for()
        page.locator(last).first.wait_for()
        page.locator('[data-testid="stSkeleton"]').first.wait_for(state="detached")
        page.wait_for_timeout(SETTLE_MS)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        for colors in (0, 256, 192, 128, 96):
            file = io.BytesIO()
            (reduced(picture, colors) if colors else picture).save(file, "PNG", optimize=True)
            if file.tell() <= limit:
                break
        (README / f"{name}.png").write_bytes(file.getvalue())
    page.close()


def reduced(picture: Image.Image, colors: int) -> Image.Image:
    """The picture with a palette that keeps the colours that mean something, however small their area."""
    meant = ["#ffffff", *LOSS_COLORS.values(), *(jaccard_color(share / 12) for share in range(13))]
    fixed = [int(color[i : i + 2], 16) for color in meant for i in (1, 3, 5)]
    seen = picture.quantize(colors - len(meant), dither=Image.Dither.NONE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette(fixed + seen)
    small = picture.quantize(palette=palette, dither=Image.Dither.NONE)
    white = (np.asarray(picture) == 255).all(axis=2)  # Pillow looks colours up roughly: paper would be tinted
    small.paste(0, mask=Image.fromarray(white))  # the first of the palette
    return small


if __name__ == "__main__":
    sys.exit(main())
