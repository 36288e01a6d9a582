"""Kill processes of every kind at random moments: `make faults`. Exit code 1 if anything is lost.

Each kind does its work once in peace, then again and again while it is killed (SIGKILL) and looked at as a
page does; the result must be the same to the last bit. With `--smoke` each is killed once.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from core.background import cache
from core.background.process import MOST_DEATHS, Process, Status
from core.data import ImageSet, duplicates, examination, job, load, preview
from core.experiments import lab
from core.files import _SCRATCH
from core.mechanism import Batch
from core.mechanism import ask as ask_loss
from core.projection import Step, Umap, store
from core.queue import launch
from core.retrieval import ask
from core.runs import Run, RunConfig

SMOKE = "--smoke" in sys.argv
SEED = 14
SIZE = 32  # training size, pixels
PATIENCE = 600.0  # seconds for one piece of work, on a busy machine
LOOK_SECONDS = 0.05


@dataclass
class Kind:
    """A kind of process.

    Attributes:
        begin: Ask for the work; called by every look of a page, too.
        end: Whether it has ended; MaclError or a failure is told by a text.
        outcome: What came of it, as bytes.
        process: Those that do the work.
    """

    begin: Callable[[], object]
    end: Callable[[], bool | str]
    outcome: Callable[[], bytes]
    process: Callable[[], list[Process]]


def images(folder: Path, count: int = 120) -> Path:
    """A person's own folder of random pictures, among them copies."""
    dice = np.random.default_rng(SEED)
    folder.mkdir(parents=True)
    lines = ["image,field,road,water,roof"]
    for number in range(count):
        labels = dice.integers(0, 2, 4)
        labels[number % 4] = 1
        if number % 10 != 9:  # else the one before, once more
            coarse = dice.integers(0, 255, (12, 12, 3)) * (0.4 + 0.6 * labels[:3])
            picture = Image.fromarray(coarse.astype(np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:03d}.png")
        lines.append(f"{number:03d}.png," + ",".join(map(str, labels)))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def trained(run: Run) -> bytes:
    """Curve without the columns of the clock, weights, embeddings, scores."""
    clock = ("images_per_s", "seconds")
    curve = [{key: value for key, value in row.items() if key not in clock} for row in run.history()]
    parts = [json.dumps([curve, run.scores()["metrics"], run.splits()]).encode()]
    for name in ("model", "embeddings"):
        tensors = load_file(run.path / f"{name}.safetensors")  # the order of what is said beside them is any
        parts += [key.encode() + tensors[key].tobytes() for key in sorted(tensors)]
    return b"".join(parts)


def configs(folder: Path) -> list[RunConfig]:
    """A head with trained prototypes, and the best epoch of a head.

    A network that is trained whole is killed in tests/core/queue/test_worker_kills.py.
    """
    small = {"dataset": "folder", "data_root": str(folder), "batch_size": 16, "device": "cpu"}
    small |= {"image_size": SIZE, "epochs": 20}
    return [
        RunConfig.build("instant", **small, loss="lproto"),
        RunConfig.build("instant", **small, loss="macl", keep="best"),
    ]


def ended(run: Run) -> bool | str:
    """Whether a run has ended, or how it was lost."""
    state = run.state
    return state == "finished" or (
        f"{run.id} {state}: {run.error}" if state in ("failed", "stopped") else False
    )


def all_ended(made: list[Run]) -> bool | str:
    """The same of several."""
    states = [ended(run) for run in made]
    return next((state for state in states if isinstance(state, str)), all(states))


def kinds(folder: Path, recorded: Path) -> dict[str, Callable[[Path], Kind]]:
    """Each in a home of its own, with the run `recorded` to ask about."""
    root = str(folder)

    def training(home: Path) -> Kind:
        made: list[Run] = []
        where = home / "runs"

        def begin() -> None:
            if not made:
                made.extend(launch.submit(config, where) for config in configs(folder))
            for run in [*launch.queue(where), *launch.dropped(where)]:
                launch.ensure_worker(launch.device_of(run), where)

        def outcome() -> bytes:
            return b"".join(trained(run) for run in made)

        return Kind(begin, lambda: all_ended(made), outcome, lambda: [launch.worker("cpu", where)])

    def live_lab(home: Path) -> Kind:
        config = configs(folder)[1]
        run = lab.of(config, home / "runs")
        return Kind(
            lambda: lab.want(config, home / "runs"),
            lambda: ended(run),
            lambda: trained(run),
            lambda: [launch.worker("cpu", run.path.parent)],
        )

    def embedder(_: Path) -> Kind:
        names = Run(recorded).splits()["test"]
        questions = [
            ask.Question("splits", str(recorded)),
            ask.Question("explain", str(recorded), names[0], names[1]),
            ask.Question("explain", str(recorded), names[2], names[3]),
        ]

        def end() -> bool | str:
            replies = [ask.look(question) for question in questions]
            wrong = [reply.error for reply in replies if reply.state == "failed"]
            return wrong[0] if wrong else all(reply.state == "ready" for reply in replies)

        def outcome() -> bytes:
            return b"".join(ask.answer_path(question.key).read_bytes() for question in questions)

        return Kind(lambda: [ask.ask(one) for one in questions], end, outcome, lambda: [ask.process()])

    def umap(_: Path) -> Kind:
        z, _ = Run(recorded).embeddings()
        first = Step(z, Umap(n_neighbors=8))
        steps = [first, Step(z[::-1].copy(), first.umap, first, np.arange(len(z))[::-1].copy())]
        asked: list[str] = []

        def begin() -> None:
            asked[:] = [store.request(steps)]

        def end() -> bool | str:
            about = store.progress(asked[0]) if asked[0] else None
            if about is not None and about.state == "failed":
                return about.error
            return all(store.there(step) for step in steps)

        def outcome() -> bytes:
            return b"".join(np.asarray(store.layout(step)).tobytes() for step in steps)

        return Kind(begin, end, outcome, lambda: [store.process()])

    def mechanism(_: Path) -> Kind:
        z, y = Run(recorded).embeddings()
        batch = Batch(y[:16].astype(np.uint8), y.astype(np.uint8), z[:16])
        questions = [ask_loss.Question("mulsupcon", {"tau": tau}, batch) for tau in (0.1, 0.2, 0.3)]

        def end() -> bool | str:
            replies = [ask_loss.look(question) for question in questions]
            wrong = [reply.error for reply in replies if reply.state == "failed"]
            return wrong[0] if wrong else all(reply.state == "ready" for reply in replies)

        def outcome() -> bytes:
            return b"".join(ask_loss.answer_path(question.key).read_bytes() for question in questions)

        return Kind(
            lambda: [ask_loss.ask(one) for one in questions], end, outcome, lambda: [ask_loss.process()]
        )

    def once(
        start: Callable[[], object],
        status: Callable[[], Status],
        process: Callable[[], Process],
        outcome: Callable[[], bytes],
    ) -> Kind:
        def begin() -> None:
            if status().state == "none":
                start()

        def end() -> bool | str:
            about = status()
            return about.error if about.state == "failed" else about.state == "done"

        return Kind(begin, end, outcome, lambda: [process()])

    def prepare(_: Path) -> Kind:
        def outcome() -> bytes:
            (path,) = (cache.cache_root() / "prepared").glob("[!.]*/images.npy")
            return path.read_bytes()

        place = ImageSet("folder", root, SIZE)
        return once(lambda: job.start(place), lambda: job.status(place), lambda: job.process(place), outcome)

    def examine(_: Path) -> Kind:
        place = ImageSet("folder", root)
        return once(
            lambda: examination.start(place),
            lambda: examination.status(place),
            lambda: examination.process(place),
            lambda: repr(examination.result(place)).encode(),
        )

    def pairs(_: Path) -> Kind:
        key = load("folder", root, image_size=SIZE).key
        return once(
            lambda: duplicates.start(ImageSet("folder", root, SIZE), key),
            lambda: duplicates.status(key),
            lambda: duplicates.process(key),
            lambda: repr(duplicates.result(key)).encode(),
        )

    def strip(_: Path) -> Kind:
        place = (load("folder", root, image_size=SIZE).key, SIZE, 3, 7)
        return once(
            lambda: preview.start(ImageSet("folder", root, SIZE), place[0], *place[2:]),
            lambda: preview.status(*place),
            lambda: preview._process(*place),
            lambda: preview.path(*place).read_bytes(),
        )

    return {
        "training": training,
        "lab": live_lab,
        "embedder": embedder,
        "umap": umap,
        "prepare": prepare,
        "examine": examine,
        "duplicates": pairs,
        "preview": strip,
        "mechanism": mechanism,
    }


def work(kind: Kind, kills: list[float]) -> tuple[int, str]:
    """Do the work, its process killed so many seconds after each start; kills that hit, and what was lost."""
    hit, begun, deadline = 0, 0.0, time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        kind.begin()
        if (end := kind.end()) is True:
            return hit, ""
        if isinstance(end, str):
            return hit, end
        living = [(process, pid) for process in kind.process() if (pid := process.pid) is not None]
        if living and not begun:
            begun = time.monotonic()
        if living and hit < len(kills) and time.monotonic() - begun >= kills[hit]:
            for process, pid in living:
                kill(process, pid)
            hit, begun = hit + 1, 0.0
            continue
        soon = kills[hit] - (time.monotonic() - begun) if living and hit < len(kills) else LOOK_SECONDS
        time.sleep(max(0.001, min(LOOK_SECONDS, soon)))
    return hit, f"not done within {PATIENCE:.0f} s"


def kill(process: Process, pid: int) -> None:
    """Kill a process, and wait until it is gone: it gives its lock back a moment before."""
    os.kill(pid, signal.SIGKILL)
    while process.pid == pid or not is_gone(pid):
        time.sleep(0.002)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, perhaps not yet reaped; only Linux tells."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def close(kind: Kind) -> None:
    """End what still waits for more."""
    for process in kind.process():
        if (pid := process.pid) is not None:
            kill(process, pid)


def left_behind(home: Path) -> list[str]:
    """Half-written files, after the next start has tidied up."""
    cache.tidy()
    for root in (home / "runs", lab.folder(home / "runs")):
        if root.is_dir():
            launch.tidy(root)
    return [path.name for path in home.rglob(".*") if _SCRATCH.fullmatch(path.name)]


def main() -> int:
    os.environ["MACL_CHECKPOINT_SECONDS"] = "0.1"
    scratch = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        return _main(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _main(scratch: Path) -> int:
    dice, folder = random.Random(SEED), images(scratch / "images")
    per_kind = 1 if SMOKE else 8  # of which the last five kinds have seven
    recorded, lost, total = Path(), [], 0
    print(f"{'kind':<12}{'alone':>8}{'kills':>7}{'rounds':>8}  result")
    for number, name in enumerate(kinds(folder, recorded)):
        if SMOKE and name == "umap":  # compiles for a minute; tests/core/projection kills it too
            continue

        def home(turn: int, name: str = name) -> Path:
            place = scratch / f"{name}{turn}"
            os.environ["MACL_CACHE"] = str(place / "cache")
            place.mkdir()
            return place

        make = kinds(folder, recorded)[name]
        place = home(0)
        kind = make(place)
        began = time.monotonic()
        _, wrong = work(kind, [])
        alone, whole = time.monotonic() - began, b"" if wrong else kind.outcome()
        close(kind)
        if name == "training" and not wrong:
            recorded = next(path.parent for path in sorted((place / "runs").glob("*-lproto-*/scores.json")))
        wanted, hits, turn = per_kind - (not SMOKE and number >= 4), 0, 0
        while hits < wanted and not wrong:
            turn += 1
            place = home(turn)
            kind = make(place)
            most = min(MOST_DEATHS - 1, wanted - hits)  # more without progress is given up, and told
            hit, wrong = work(kind, [dice.uniform(0, alone) for _ in range(most)])
            hits += hit
            if not wrong and sha256(kind.outcome()).digest() != sha256(whole).digest():
                wrong = "the result is another one"
            close(kind)
            if not wrong and (names := left_behind(place)):
                wrong = f"left behind: {', '.join(names)}"
            if name != "training":
                shutil.rmtree(place, ignore_errors=True)
        total += hits
        lost += [name] if wrong else []
        print(
            f"{name:<12}{alone:>6.1f} s{hits:>7}{turn:>8}  {wrong or 'the same to the last bit'}", flush=True
        )
    print(f"{total} kills, seed {SEED}; {f'LOST: {lost}' if lost else 'nothing lost'}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
