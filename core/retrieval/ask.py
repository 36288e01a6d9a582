"""Questions that need a run's network: pages without torch ask them, `core.retrieval.embedder` answers.

A question is a small file in the cache, its answer a safetensors file of the same name: computed once,
however many pages ask it, and it outlives them all. The embedder is a detached process like the training
worker but separate from it, so that a query never waits for training; it starts when first needed and stays
warm for some minutes.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from core.background.cache import cache_root, used, write
from core.background.process import Process
from core.data.look import LOOK, Look
from core.runs import Run

VERSION = 1  # of the answers: raise it when the same question would get a different one
WEIGHTS = "model.safetensors"
PICTURE = "picture:"  # prefix of an uploaded picture's key, used in place of an image name
URGENCY = {"embed": 0, "encoder": 0, "explain": 1, "splits": 2}


@dataclass(frozen=True)
class Question:
    """A question about one run.

    Attributes:
        kind: `embed`: the embedding of an uploaded picture, z (1, D). `splits`: those of all images outside
            the test split, z_train, y_train, z_val, y_val in the order of splits.json. `explain`: why the
            images `first` and `second` are similar, the fields of `core.encoder.explain.Explanation`.
            `encoder`: which encoder the run has, id (16,), the characters of `core.encoder.identity`.
        run: Path of the run folder.
        first: Name of an image of the run's data set, or `PICTURE` and the key of an uploaded one.
        second: As `first`.
    """

    kind: Literal["embed", "splits", "explain", "encoder"]
    run: str
    first: str = ""
    second: str = ""

    @property
    def key(self) -> str:
        """Hash of the question and of the weights it is about."""
        with suppress(OSError):
            stat = (Path(self.run) / WEIGHTS).stat()
            weights = f"{stat.st_mtime_ns} {stat.st_size}"
            return hashlib.sha256(f"{VERSION} {asdict(self)} {weights}".encode()).hexdigest()[:32]
        return hashlib.sha256(f"{VERSION} {asdict(self)}".encode()).hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class Reply:
    """State of a question: `ready` with its `arrays`, `waiting`, or `failed` with its `error`."""

    state: Literal["ready", "waiting", "failed"]
    arrays: dict[str, np.ndarray]
    error: str = ""


def can_answer(run: Run) -> bool:
    """Whether the run has its weights; runs recorded with the product have none."""
    return (run.path / WEIGHTS).is_file()


def ask(question: Question) -> Reply:
    """The answer if it is there; else leaves the question, and starts an embedder if none is alive.

    Raises:
        MaclError: If the cache cannot be written, or no process can be started.
    """
    reply = look(question)
    if reply.state == "waiting":
        path = home() / "questions" / f"{URGENCY[question.kind]}-{question.key}.json"
        if not path.exists():
            write(path, json.dumps(asdict(question)))
        ensure()
    return reply


def look(question: Question) -> Reply:
    """The state of a question, without asking it."""
    path = answer_path(question.key)
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  it is no mapping
        used(path)
        return Reply("ready", arrays)
    except (OSError, SafetensorError):
        pass
    try:
        return Reply("failed", {}, path.with_suffix(".txt").read_text())
    except OSError:
        return Reply("waiting", {})


def answered_within(questions: Sequence[Question], seconds: float) -> bool:
    """Wait this long for a warm and otherwise idle embedder; returns whether all questions are settled."""
    status, deadline = doing(), time.monotonic() + seconds
    if not status.get("ready") or status.get("total") or any(one.kind == "splits" for one in questions):
        return False
    open_questions = list(questions)
    while open_questions and time.monotonic() < deadline:
        time.sleep(0.01)
        open_questions = [question for question in open_questions if look(question).state == "waiting"]
    return not open_questions


def again(question: Question) -> None:
    """Forget that a question failed, so that it can be asked again."""
    answer_path(question.key).with_suffix(".txt").unlink(missing_ok=True)


def seen(key: str, look: Look) -> str:
    """The key of an uploaded picture as a run sees it: its own where that is as any viewer shows it."""
    return key if look == LOOK else hashlib.sha256(f"{key} {look.text}".encode()).hexdigest()[:32]


def keep_picture(key: str, sizes: dict[int, np.ndarray]) -> None:
    """Put an uploaded picture where the embedder finds it; the embedder deletes it after some idle time.

    Sizes that are there already stay: another tab may use the same picture.

    Args:
        key: Hash of its content, as `seen`.
        sizes: The prepared picture (P, P, C) uint8 for each P.

    Raises:
        MaclError: If the cache cannot be written.
    """
    arrays = {str(size): np.ascontiguousarray(array) for size, array in {**picture(key), **sizes}.items()}
    write(picture_path(key), save(arrays))


def picture(key: str) -> dict[int, np.ndarray]:
    """An uploaded picture in its sizes; empty if it is gone."""
    try:
        with safe_open(picture_path(key), framework="numpy") as file:
            return {int(size): file.get_tensor(size) for size in file.keys()}  # noqa: SIM118  no mapping
    except (OSError, SafetensorError):
        return {}


def process() -> Process:
    """The embedder."""
    return Process(home() / "embedder")


def ensure() -> None:
    """Start an embedder unless one is alive.

    Raises:
        MaclError: If the cache cannot be written, or no process can be started.
    """
    process().start("core.retrieval.embedder")


def doing() -> dict[str, Any]:
    """What the embedder is at: `ready`, `what`, `done`, `total`; empty without one."""
    note = process().alive()  # one that has just begun has not said yet that it is not ready
    return {"ready": False, "what": "", "done": 0, "total": 0, **note} if note else {}


def home() -> Path:
    """Folder of questions, answers and uploaded pictures."""
    return cache_root() / "embedder"


def answer_path(key: str) -> Path:
    """File of an answer; a .txt beside it says why a question failed."""
    return home() / "answers" / f"{key}.safetensors"


def picture_path(key: str) -> Path:
    """File of an uploaded picture."""
    return home() / "pictures" / f"{key}.safetensors"
