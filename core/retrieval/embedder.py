"""The process that answers `core.retrieval.ask`: imports torch once, keeps a few networks, ends when idle."""

import time
import traceback
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

from core.background.cache import bound, write
from core.background.process import MOST_DEATHS, Ended, Running, died
from core.background.requests import answered, count_death, waiting
from core.data import Dataset
from core.data.prepared import prepared_size
from core.errors import MaclError
from core.retrieval import ask
from core.retrieval.ask import PICTURE, URGENCY, Question, answer_path, look, picture, seen
from core.runs import Run
from core.runs.origin import look_of

if TYPE_CHECKING:
    from torch import Tensor

    from core.encoder.model import Backbone
    from core.encoder.trained import Trained

LEAST_URGENT = 9
BATCH = 64  # images after which more urgent questions get a turn
IDLE_SECONDS = 600.0
POLL_SECONDS = 0.03
NETWORKS = 16  # kept; runs that share a frozen backbone differ in their heads only
BACKBONES = 3
DATA_SETS = 4  # open at once; their images are mapped, not read


def main(running: Running) -> None:
    """Answer questions until idle or asked to end."""
    Embedder(IDLE_SECONDS, running).serve()


def refuse(why: str) -> None:
    """Answer all waiting questions with this error.

    What kills a process before it begins, such as a torch that cannot be imported, would kill the next one as
    well, and the page would wait for ever.
    """
    for path, _, content in waiting(ask.home() / "questions"):
        with suppress(TypeError):
            write(answer_path(Question(**content).key).with_suffix(".txt"), why)
        answered(path)


class Embedder:
    """The one embedder of a cache."""

    def __init__(self, idle: float = IDLE_SECONDS, running: Running | None = None) -> None:
        self.idle, self.running = idle, running or Running(ask.process().path)
        self.networks: OrderedDict[str, Trained] = OrderedDict()
        self.backbones: dict[tuple[str, str, int], Backbone] = {}
        self.data: OrderedDict[tuple[object, ...], Dataset] = OrderedDict()
        # the last image's features, and their backbone: while it is referenced no other can have its id
        self.seen: tuple[tuple[object, ...], Tensor, Backbone] | None = None
        self.urgency = LEAST_URGENT

    def serve(self) -> None:
        """Warm up, answer questions, delete uploaded pictures that are too old."""
        self.take_up()
        self.tidy()
        from core.encoder import trained  # noqa: F401  imports torch, now that the lock keeps a second process from it

        self._warm_up()
        self.running.progressed()
        self._idle()
        self.running.serve(self.next_one, self.idle, POLL_SECONDS)
        self.tidy(0.0)

    def take_up(self) -> None:
        """Give up a question over which several processes have died: it may need too much memory."""
        if name := self.running.about["run"]:
            path = ask.home() / "questions" / name
            if path.exists() and (deaths := count_death(path.with_suffix(".deaths"))) >= MOST_DEATHS:
                write(answer_path(path.stem.partition("-")[2]).with_suffix(".txt"), died(deaths))
                answered(path)
        self.running.say(run=None, ready=False)

    def next_one(self, before: int = LEAST_URGENT) -> bool:
        """Answer the oldest of the most urgent questions; False if none is more urgent than `before`."""
        urgent = self._waiting(before)
        if not urgent:
            return False
        _, path, content = urgent[0]
        try:
            question = Question(**content)
        except TypeError:
            answered(path)
            return True
        outer, inner = self.running.about["run"], self.urgency
        self.urgency = URGENCY[question.kind]
        self.running.say(run=path.name)
        answer_file = answer_path(question.key)
        try:
            if look(question).state != "ready":
                write(answer_file, save(self.answer(question)))
        except Ended:
            return True  # the next process answers it
        except Exception as error:  # whatever it is, the next question may still be answered
            is_mistake = isinstance(error, MaclError)
            write(
                answer_file.with_suffix(".txt"),
                str(error) if is_mistake else f"{type(error).__name__}: {error}",
            )
            if not is_mistake:
                traceback.print_exception(error)
        answered(path)
        if question.kind == "splits":  # only these answers are large
            bound(answer_file.parent, answer_file)
        self.urgency = inner
        self._idle(outer)
        return True

    def answer(self, question: Question) -> dict[str, np.ndarray]:
        """The arrays described in `core.retrieval.ask.Question`; MaclError says why there are none."""
        run = Run(Path(question.run))
        network = self._network(run)
        if question.kind == "embed":
            return {"z": self._one(network, run, question.first)}
        if question.kind == "splits":
            return self._splits(run, network)
        if question.kind == "encoder":
            from core.encoder.identity import identity

            return {"id": np.frombuffer(identity(run, network).encode(), np.uint8)}
        from core.encoder.explain import explain

        explanation = explain(network, self._image(run, question.first), self._image(run, question.second))
        return {key: np.array(value, dtype=np.float64) for key, value in asdict(explanation).items()}

    def _one(self, network: "Trained", run: Run, name: str) -> np.ndarray:
        """Embedding (1, D) of one image; runs that share a backbone share its features."""
        config = network.config
        key = id(network.backbone), config.image_size, network.precision, name, look_of(run).text
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
        arrays: dict[str, np.ndarray] = {}
        for part in ("train", "val"):
            missing = [name for name in names[part] if name not in row]
            if missing:
                raise MaclError(
                    f"{len(missing)} of the run's images, such as {missing[0]}, are gone from {data.name}"
                )
            rows = np.array([row[name] for name in names[part]], dtype=np.int64)
            if network.config.trainable == "head":
                z = network.project(self._features(network, data, rows))
            else:
                z = self._embed(network, data, rows)
            arrays |= {f"z_{part}": z, f"y_{part}": np.asarray(data.labels[rows])}
        return arrays

    def _features(self, network: "Trained", data: Dataset, rows: np.ndarray) -> "Tensor":
        """Features (n, F) of a frozen backbone, those the head was trained on, from the cache on disk."""
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
        """A prepared image (P, P, C) uint8 by its name in the data set, or an uploaded one."""
        if name.startswith(PICTURE):
            sizes = picture(seen(name.removeprefix(PICTURE), look_of(run)))
            wanted = prepared_size(run.config.image_size)
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

    def _waiting(self, before: int) -> list[tuple[str, Path, dict[str, Any]]]:
        """Questions more urgent than `before`: the most urgent first, and of those the oldest."""
        requests = [(path.name[0], path, content) for path, _, content in waiting(ask.home() / "questions")]
        return sorted((one for one in requests if one[0] < str(before)), key=lambda one: one[0])

    def _step(self, done: int, total: int, what: str) -> None:
        """Report progress, and answer more urgent questions first."""
        self.running.tell(done, total, what)
        while self.next_one(self.urgency):
            pass

    def _idle(self, run: str | None = None) -> None:
        self.running.say(ready=True, run=run, what="", done=0, total=0)

    def _warm_up(self) -> None:
        """Load and run once what the first question would otherwise have to wait for."""
        import torch

        from core import device
        from core.encoder.model import build_backbone
        from core.encoder.weights import LITE0

        device.keep_memory()
        if self._waiting(LEAST_URGENT):
            return  # waiting questions load what they need
        with suppress(MaclError):
            backbone = self.backbones[LITE0, "imagenet", 3] = build_backbone(LITE0, "imagenet").eval()
            with torch.inference_mode(), device.autocast(torch.device("cpu")):
                backbone(torch.zeros(1, 3, 64, 64))

    def tidy(self, seconds: float = IDLE_SECONDS) -> None:
        """Delete uploaded pictures older than this, also those that a killed process left."""
        for path in (ask.home() / "pictures").glob("*.safetensors"):
            with suppress(OSError):
                if not 0 <= time.time() - path.stat().st_mtime <= seconds:  # a clock may be set back
                    path.unlink()
