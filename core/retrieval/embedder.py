"""The process that answers `core.retrieval.ask`: imports torch once, keeps few networks, ends when idle.

`python -m core.retrieval.embedder`
"""

import argparse
import json
import os
import signal
import time
import traceback
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save

from core.data import Dataset
from core.data.prepared import make_folder, prepared_size
from core.errors import MaclError
from core.files import lock, unlock
from core.retrieval.ask import PICTURE, URGENCY, Question, answer_path, home, look, picture, put
from core.runs import Run

if TYPE_CHECKING:
    from torch import Tensor

    from core.encoder.model import Backbone
    from core.encoder.trained import Trained

STARTING = "starting"
LEAST_URGENT = 9
BATCH = 64  # images between two looks for more urgent questions
IDLE_SECONDS = 600.0
POLL_SECONDS = 0.03
NETWORKS = 16  # kept; of runs that share a frozen backbone only the heads are their own
BACKBONES = 3
DATA_SETS = 4  # open at once; their images are mapped, not read
DEATHS = "deaths"  # processes since the last answer, and how long the log was when the last one began
MOST_DEATHS = 3
LINE = 300  # letters of a line of the log on a page
ANSWERS = 4000  # kept on the disk


def main() -> None:
    """Answer questions until idle, or until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m core.retrieval.embedder", description=main.__doc__)
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS, help="seconds without a question")
    Embedder(parser.parse_args().idle).serve()


class Embedder:
    """One process for a cache; it holds `lock`."""

    def __init__(self, idle: float) -> None:
        self.home, self.idle, self.ending = home(), idle, False
        self.networks: OrderedDict[str, Trained] = OrderedDict()
        self.backbones: dict[tuple[str, str], Backbone] = {}
        self.data: OrderedDict[tuple[object, ...], Dataset] = OrderedDict()
        # the last image's features, and their backbone: while it is held, no other has its id
        self.seen: tuple[tuple[object, ...], Tensor, Backbone] | None = None
        self.told, self.urgency = 0.0, LEAST_URGENT

    def serve(self) -> None:
        """Take the lock, warm up, answer, give the lock back."""
        make_folder(self.home / "questions")
        make_folder(self.home / "answers")
        if not lock(self.home / "lock"):
            return  # somebody else answers
        signal.signal(signal.SIGTERM, self._terminate)
        (self.home / "starting").unlink(missing_ok=True)
        self._say(STARTING)
        self.count_deaths()
        self.tidy()
        from core.encoder import trained  # noqa: F401  torch comes in here: after the lock, so that no second one loads it

        self._warm_up()
        self._say("")
        last = time.monotonic()
        while not self.ending and time.monotonic() - last < self.idle:
            if self.next_one():
                last = time.monotonic()
            else:
                time.sleep(POLL_SECONDS)
        self.tidy(0.0)
        self._has_lived()
        unlock(self.home / "lock")

    def count_deaths(self) -> None:
        """Take note of this start; after `MOST_DEATHS` without an answer those who wait are told.

        What kills a process, such as a torch that cannot be imported or a question for which the memory is
        too small, would kill the next one as well, and the page would wait for ever.
        """
        log = self.home / "log.txt"
        try:
            deaths, heard = (int(number) for number in (self.home / DEATHS).read_text().split())
        except (OSError, ValueError):
            deaths, heard = 0, 0
        if deaths >= MOST_DEATHS:
            said = ""
            with suppress(OSError):
                said = log.read_bytes()[heard:].decode(errors="replace").strip()
            last = f" It said last: {said.splitlines()[-1][:LINE]}" if said else ""
            self._refuse(
                f"the process that computes embeddings died {deaths} times (killed, out of memory, or it "
                f"could not start): free memory or mend what is wrong, then try again.{last}"
            )
            deaths = 0
        with suppress(OSError):
            heard = log.stat().st_size
        put(self.home / DEATHS, f"{deaths + 1} {heard}".encode())

    def _refuse(self, why: str) -> None:
        """Answer everything that waits with the same reason."""
        for path in self._waiting(LEAST_URGENT):
            with suppress(OSError, ValueError, TypeError):
                question = Question(**json.loads(path.read_bytes()))
                put(answer_path(question.key).with_suffix(".txt"), why.encode())
            path.unlink(missing_ok=True)

    def _has_lived(self) -> None:
        """Forget the deaths before: this process has answered, or ends as it should."""
        (self.home / DEATHS).unlink(missing_ok=True)

    def next_one(self, before: int = LEAST_URGENT) -> bool:
        """Answer the oldest of the most urgent questions; False without one more urgent than `before`."""
        waiting = self._waiting(before)
        if not waiting:
            return False
        path = waiting[0]
        try:
            question = Question(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            path.unlink(missing_ok=True)
            return True
        self.urgency, outer = URGENCY[question.kind], self.urgency
        place = answer_path(question.key)
        try:
            if look(question).state != "ready":
                put(place, save(self.answer(question)))
        except Exception as error:  # whatever it is, the next question can be answered
            known = isinstance(error, MaclError)
            told = str(error) if known else f"{type(error).__name__}: {error}"
            put(place.with_suffix(".txt"), told.encode())
            if not known:
                traceback.print_exception(error)
        path.unlink(missing_ok=True)
        self._has_lived()
        self.urgency = outer
        self._say("")
        return True

    def answer(self, question: Question) -> dict[str, np.ndarray]:
        """The arrays that `core.retrieval.ask.Question` promises; MaclError says why there are none."""
        run = Run(Path(question.run))
        network = self._network(run)
        if question.kind == "embed":
            return {"z": self._one(network, run, question.first)}
        if question.kind == "splits":
            return self._splits(run, network)
        from core.encoder.explain import explain

        found = explain(network, self._image(run, question.first), self._image(run, question.second))
        return {key: np.array(value, dtype=np.float64) for key, value in asdict(found).items()}

    def _one(self, network: "Trained", run: Run, name: str) -> np.ndarray:
        """Embedding (1, D) of one image; runs that share a backbone share its features."""
        config = network.config
        key = id(network.backbone), config.image_size, network.precision, name
        if self.seen is None or self.seen[0] != key:
            self.seen = key, network.features(self._image(run, name)[None]), network.backbone
        return network.project(self.seen[1])

    def _splits(self, run: Run, network: "Trained") -> dict[str, np.ndarray]:
        data, names = self._dataset(run), run.splits()
        if list(data.classes) != (run.classes() or list(data.classes)):
            raise MaclError(
                f"{data.name} has other labels now than when the run was trained: put its table back, or "
                "train again"
            )
        row = {name: i for i, name in enumerate(data.names)}
        found: dict[str, np.ndarray] = {}
        for part in ("train", "val"):
            lost = [name for name in names[part] if name not in row]
            if lost:
                raise MaclError(
                    f"{len(lost)} of the run's images, such as {lost[0]}, are gone from {data.name}"
                )
            rows = np.array([row[name] for name in names[part]], dtype=np.int64)
            if network.config.trainable == "head":
                z = network.project(self._features(network, data, rows))
            else:
                z = self._embed(network, data, rows)
            found |= {f"z_{part}": z, f"y_{part}": np.asarray(data.labels[rows])}
        return found

    def _features(self, network: "Trained", data: Dataset, rows: np.ndarray) -> "Tensor":
        """Features (n, F) of a frozen backbone, those that the head was trained on: cached on the disk."""
        import torch

        from core.training.features import features

        config = network.config
        where = config.backbone, config.weights, config.image_size
        table = features(data, *where, "auto", self._step, network.precision)
        return torch.from_numpy(np.array(table[rows])).to(network.device)

    def _embed(self, network: "Trained", data: Dataset, rows: np.ndarray) -> np.ndarray:
        parts = [np.zeros((0, network.config.dim), np.float32)]
        for start in range(0, len(rows), BATCH):
            parts.append(network.embed(data.images[rows[start : start + BATCH]]))
            self._step(min(start + BATCH, len(rows)), len(rows), "embeddings of all images")
        return np.concatenate(parts)

    def _image(self, run: Run, name: str) -> np.ndarray:
        """A prepared image (P, P, 3) uint8 by its name in the data set, or an uploaded one."""
        if name.startswith(PICTURE):
            sizes, wanted = picture(name.removeprefix(PICTURE)), prepared_size(run.config.image_size)
            if wanted not in sizes:
                raise MaclError("the uploaded picture is not kept any more: upload it again")
            return sizes[wanted]
        data = self._dataset(run)
        if name not in data.names:
            raise MaclError(f"{data.name} has no image {name} (any more)")
        return np.asarray(data.images[data.names.index(name)])

    def _network(self, run: Run) -> "Trained":
        from core.encoder.trained import WEIGHTS, read

        with suppress(OSError):
            key = f"{run.path} {(run.path / WEIGHTS).stat().st_mtime_ns}"
            if key in self.networks:
                self.networks.move_to_end(key)
                return self.networks[key]
            while len(self.networks) >= NETWORKS:
                self.networks.popitem(last=False)
            while len(self.backbones) >= BACKBONES:
                self.backbones.pop(next(iter(self.backbones)))
            self.networks[key] = read(run, self.backbones)
            return self.networks[key]
        return read(run)  # says that there are no weights

    def _dataset(self, run: Run) -> Dataset:
        config = run.config
        key = config.images, config.images.fingerprint()
        if key not in self.data:
            while len(self.data) >= DATA_SETS:
                self.data.popitem(last=False)
            self.data[key] = config.images.load(progress=self._step)
        self.data.move_to_end(key)
        return self.data[key]

    def _waiting(self, before: int) -> list[Path]:
        found = []
        with suppress(OSError), os.scandir(self.home / "questions") as entries:
            for entry in entries:
                if entry.name[:1].isdigit() and int(entry.name[0]) < before and entry.name.endswith(".json"):
                    with suppress(OSError):
                        found.append((entry.name[0], entry.stat().st_mtime_ns, entry.path))
        return [Path(path) for _, _, path in sorted(found)]

    def _step(self, done: int, total: int, what: str) -> None:
        """Say how it goes, and let what is more urgent go first."""
        if time.monotonic() - self.told > 0.25 or done == total:
            self._say(what, done, total)
        while self.next_one(self.urgency):
            pass

    def _say(self, what: str, done: int = 0, total: int = 0) -> None:
        self.told = time.monotonic()
        about = {"pid": os.getpid(), "ready": what != STARTING, "what": what, "done": done, "total": total}
        put(self.home / "doing.json", json.dumps(about).encode())

    def _warm_up(self) -> None:
        """Run once what the first question would otherwise wait for."""
        import torch

        from core import device
        from core.encoder.model import build_backbone
        from core.encoder.weights import LITE0

        device.keep_memory()
        if self._waiting(LEAST_URGENT):
            return  # what they need, they bring along
        with suppress(MaclError):
            backbone = self.backbones[LITE0, "imagenet"] = build_backbone(LITE0, "imagenet").eval()
            with torch.inference_mode(), device.autocast(torch.device("cpu")):
                backbone(torch.zeros(1, 3, 64, 64))

    def tidy(self, seconds: float = IDLE_SECONDS) -> None:
        """Delete uploaded pictures older than this, and the answers that were read longest ago.

        At the start those go that a killed process has left; none was promised to stay longer.
        """
        for path in (self.home / "pictures").glob("*.safetensors"):
            with suppress(OSError):
                if not 0 <= time.time() - path.stat().st_mtime <= seconds:  # a clock may be set back
                    path.unlink()
        with suppress(OSError):
            answers = sorted((self.home / "answers").iterdir(), key=lambda path: -path.stat().st_mtime)
            for path in answers[ANSWERS:]:
                path.unlink(missing_ok=True)

    def _terminate(self, _signal: int, _frame: FrameType | None) -> None:
        self.ending = True


if __name__ == "__main__":
    main()
