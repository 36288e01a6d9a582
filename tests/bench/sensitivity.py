"""The live lab and sweeps: `python -m tests.bench.sensitivity [--surface | --killed]`.

Needs the archive of DLRSD ($MACL_TEST_ARCHIVES). In a real browser: from letting go of a slider to new
metrics and images, 20 moves; 20 fast moves, then what is still in training.
--surface: the instant 7 × 7 surface over α and β with 3 seeds, 147 trainings through the queue.
--killed: a 5 × 5 sweep of full training on the demo set, worker and server killed on the way; then the redraw
of the sliders that read it.
"""

import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from app.sensitivity.result import SEEDS
from core.data import load
from core.experiments import duration, lab, sweep
from core.experiments.studies import STUDIES
from core.queue import launch
from core.runs import Run, RunConfig, create
from core.training import loop
from tests.bench import SMOKE, measured, sized, verdict
from tests.e2e.conftest import CHROMIUM, FLAGS, PATIENCE_MS, Server

TITLE = sized("DLRSD", "Demo+scenes")
MOVES = sized(20, 2)
MOVE_BAR, SURFACE_BAR, REDRAW_BAR = 2.5, 240.0, 200.0  # seconds, seconds, milliseconds
READY = """before => {
  const all = [...document.querySelectorAll('[data-testid="stMetricValue"]')].map(n => n.innerText.trim());
  if (all.length !== 7 || all.some(text => text === '…' || !text)) return false;
  const gallery = [...document.querySelectorAll('*')].map(n => n.shadowRoot?.querySelector('.gallery'))
    .find(Boolean);
  const text = document.querySelector('[data-testid="stMain"]').innerText;
  return text.includes(before) && gallery && gallery.querySelectorAll('.tile img').length >= 12;
}"""


def main() -> int:
    """Print every figure beside its bar; 1 if one is missed."""
    archive = Path(os.environ.get("MACL_TEST_ARCHIVES", "no folder")) / "DLRSD.zip"
    if not archive.is_file() and not SMOKE:
        print("left out: MACL_TEST_ARCHIVES names no folder with DLRSD.zip")
        return 0
    fields = sized({"dataset": "dlrsd", "data_root": str(archive)}, {"dataset": "demo"})
    load(fields["dataset"], fields.get("data_root"), image_size=128)
    held = True
    with tempfile.TemporaryDirectory() as folder:
        server = Server(
            Path(folder), Path(os.environ.get("MACL_CACHE") or Path.home() / ".cache" / "macl-lab")
        )
        server.run_root.mkdir()
        config = RunConfig.build("instant", loss="mulsupcon", **fields)
        first = create(config, server.run_root)  # tells the lab where the archive is; features are kept
        if loop.run(first.path) != "finished":
            raise RuntimeError(first.error)
        try:
            if "--surface" in sys.argv:
                held &= surface(server.run_root, fields)
            elif "--killed" in sys.argv:
                held &= killed(server)
            else:
                server.start()
                with sync_playwright() as playwright:
                    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                    page = browser.new_page(viewport={"width": 1280, "height": 1000})
                    page.set_default_timeout(PATIENCE_MS)
                    held &= moves(page, server)
                    held &= fast_moves(page, server)
                    browser.close()
        finally:
            server.kill(signal.SIGTERM)
            for root in (server.run_root, lab.folder(server.run_root)):
                for about in launch.workers(root).values():
                    os.kill(int(str(about["pid"])), signal.SIGKILL)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return verdict(not held)


def moves(page: Page, server: Server) -> bool:
    """One slow move after the other, each to a value that was never trained."""
    page.goto(f"{server.url}/sensitivity?lab_dataset={TITLE}&lab_alpha=0.05")
    page.wait_for_function(READY, arg="MACL (α=0.05)", polling=20)
    slider = page.get_by_role("slider", name="α")
    taken, trained = [], []
    for move in range(1, MOVES + 1):
        alpha = round(0.05 + 0.05 * move, 2)
        page.wait_for_timeout(500)  # the repetitions of the last move are on their way
        began = time.perf_counter()
        slider.press("ArrowRight")
        page.wait_for_function(READY, arg=f"MACL (α={alpha:g})", polling=20)
        taken.append(time.perf_counter() - began)
        trained.append(seconds(server, alpha))
    median = statistics.median(taken)
    print(f"slider to metrics and images, {MOVES} moves: median {median:.2f} s (bar {MOVE_BAR} s), ", end="")
    print(f"longest {max(taken):.2f} s; of it training {statistics.median(trained):.2f} s", flush=True)
    return measured("slider to metrics and images: median", median, "s", MOVE_BAR, preset="instant")


def seconds(server: Server, alpha: float) -> float:
    """What the run itself says of its training."""
    for run in lab.trail(server.run_root):
        if run.config.params["alpha"] == alpha:
            return float(run.scores()["training_s"])
    return float("nan")


def fast_moves(page: Page, server: Server) -> bool:
    """As fast as the keyboard: one training is left, and the page answers."""
    slider = page.get_by_role("slider", name="β")
    slider.focus()
    for _ in range(MOVES):
        slider.press("ArrowRight")
        page.wait_for_timeout(120)
    began = time.perf_counter()
    most, beta = 0, f"β={0.1 + 0.01 * MOVES:g}"
    ready = False
    while not ready and time.perf_counter() - began < PATIENCE_MS / 1000:
        page.wait_for_timeout(100)
        runs = [Run(path.parent) for path in lab.folder(server.run_root).glob("*/config.json")]
        going = [
            run for run in runs if run.state in ("queued", "running") and not (run.path / "stop").exists()
        ]
        most = max(most, sum(run.config.seed == 0 for run in going))
        ready = bool(page.evaluate(READY, beta))
    settled = time.perf_counter() - began
    print(f"{MOVES} fast moves: new metrics and images {settled:.2f} s after the last; ", end="")
    print(f"at most {most} trainings under way then (bar: 1)", flush=True)
    measured(f"{MOVES} fast moves: to the last one's metrics and images", settled, "s", preset="instant")
    return measured("trainings under way after fast moves", most, "", 1, preset="instant") and ready


def surface(root: Path, fields: dict[str, str]) -> bool:
    """147 trainings in one warm worker."""
    planned = STUDIES["fig9b"].build("instant", fields, list(range(SEEDS)))
    launch.ensure_worker(root=root)
    while not any(about["ready"] for about in launch.workers(root).values()):
        time.sleep(0.1)
    began = time.perf_counter()
    started = sweep.start(planned, root)
    while any(run is None or run.state != "finished" for _, run in sweep.found(started, sweep.known(root))):
        time.sleep(1)
        failed = [run for _, run in sweep.found(started, sweep.known(root)) if run and run.state == "failed"]
        if failed:
            raise RuntimeError(failed[0].error)
    taken = time.perf_counter() - began
    trained = sum(run.scores()["training_s"] for _, run in sweep.found(started, sweep.known(root)) if run)
    print(f"surface of {len(started.points)} trainings: {duration.words(taken)} ({taken:.0f} s, bar ", end="")
    print(f"{SURFACE_BAR:.0f} s); of it training {trained:.0f} s", flush=True)
    return measured(f"surface of {len(started.points)} trainings", taken, "s", SURFACE_BAR, preset="instant")


def killed(server: Server) -> bool:
    """Full training of a small ResNet-18; the page that is open starts what is needed."""
    fields = {"dataset": "demo", "image_size": 32, "epochs": 1, "loss": "macl", "precision": "float32"}
    axes = {"alpha": (0.0, 0.75, 1.5, 2.25, 3.0), "beta": (0.0, 0.25, 0.5, 0.75, 1.0)}
    began = time.perf_counter()
    made = sweep.start(sweep.grid("5 × 5", "quick", fields, axes), server.run_root)
    server.start()
    deaths = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{server.url}/sensitivity?s_view=Sweeps&sweep={made.id}")
        while (done := finished(made, server)) < 25:
            if deaths < 2 and done >= 8 * (deaths + 1):
                for about in launch.workers(server.run_root).values():
                    os.kill(int(str(about["pid"])), signal.SIGKILL)
                server.kill()
                server.start()
                page.goto(f"{server.url}/sensitivity?s_view=Sweeps&sweep={made.id}")
                deaths += 1
            time.sleep(0.5)
        taken = time.perf_counter() - began
        made_runs = [Run(path.parent) for path in server.run_root.glob("*/config.json")]
        sweeping = [run for run in made_runs if (run.path / "sweep").exists()]
        whole = all(run.log.count("training took") == 1 for run in sweeping)
        page.get_by_text("25 of 25 runs finished").wait_for()
        page.get_by_text("T · temperature").wait_for()
        times = redraws(page)
        browser.close()
    print(f"5 × 5 full trainings, {deaths} kills of worker and server: {duration.words(taken)}, ", end="")
    print(f"{len(sweeping)} run folders for 25 points, each trained once: {whole}")
    median = statistics.median(times)
    print(f"slider to new surface, maps and number in the browser: median {1000 * median:.0f} ms", flush=True)
    measured("slider to new surface, maps and number: median", 1000 * median, "ms")
    return len(sweeping) == 25 and whole and deaths == 2


def finished(made: sweep.Sweep, server: Server) -> int:
    pairs = sweep.found(made, sweep.known(server.run_root))
    return sum(run is not None and run.state == "finished" for _, run in pairs)


def redraws(page: Page) -> list[float]:
    """Seconds from a key on the α slider of the surface to the number that is read there."""
    slider, taken = page.get_by_role("slider", name="α"), []
    line = "document.body.innerText.match(/[^\\n]*% · [^\\n]*/)?.[0]"
    for _ in range(10):
        before = page.evaluate(f"() => {line}")
        began = time.perf_counter()
        slider.press("ArrowRight")
        page.wait_for_function(f"before => {line} !== before", arg=before, polling=10)
        taken.append(time.perf_counter() - began)
        page.wait_for_timeout(300)
    return taken


if __name__ == "__main__":
    sys.exit(main())
