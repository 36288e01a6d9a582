"""Questions that need a run's network: pages without torch put them, `core.retrieval.embedder` answers.

A question is a small file under the cache, its answer a safetensors file of the same name: it is computed
once, however often and by however many pages it is asked, and it survives them all. The embedder is a
detached process like the worker that trains, but apart from it, so that a query never waits for a training;
it starts when first needed and stays warm for some minutes.
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
from core.runs import Run

VERSION = 1  # of the answers: raise it when the same question gets another one
WEIGHTS = "model.safetensors"
PICTURE = "picture:"  # before the key of an uploaded picture, where an image name may stand
URGENCY = {"embed": 0, "explain": 1, "splits": 2}


@dataclass(frozen=True)
class Question:
    """What is asked of one run.

    Attributes:
        kind: `embed`: the embedding of an uploaded picture, z (1, D). `splits`: those of all images that are
            not in the test split, z_train, y_train, z_val, y_val in the order of splits.json. `explain`: why
            the images `first` and `second` are similar, the fields of `core.encoder.explain.Explanation`.
        run: Path of the run folder.
        first: Name of an image of the run's data set, or `PICTURE` and the key of an uploaded one.
        second: Likewise.
    """

    kind: Literal["embed", "splits", "explain"]
    run: str
    first: str = ""
    second: str = ""

    @property
    def key(self) -> str:
        """The question and the weights it is asked of."""
        with suppress(OSError):
            stat = (Path(self.run) / WEIGHTS).stat()
            weights = f"{stat.st_mtime_ns} {stat.st_size}"
            return hashlib.sha256(f"{VERSION} {asdict(self)} {weights}".encode()).hexdigest()[:32]
        return hashlib.sha256(f"{VERSION} {asdict(self)}".encode()).hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class Reply:
    """What has come of a question: `ready` with its `arrays`, `waiting`, or `failed` with its `error`."""

    state: Literal["ready", "waiting", "failed"]
    arrays: dict[str, np.ndarray]
    error: str = ""


def can_answer(run: Run) -> bool:
    """The run has its weights; one that was recorded with the product has none."""
    return (run.path / WEIGHTS).is_file()


def ask(question: Question) -> Reply:
    """The answer if it is there; else the question is put, an embedder is started if none is alive.

    Raises:
        MaclError: If the cache cannot be written, or no process started.
    """
    reply = look(question)
    if reply.state == "waiting":
        waiting = home() / "questions" / f"{URGENCY[question.kind]}-{question.key}.json"
        if not waiting.exists():
            write(waiting, json.dumps(asdict(question)))
        ensure()
    return reply


def look(question: Question) -> Reply:
    """What has come of a question; puts none."""
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
    """Wait so long for an embedder that is warm and at nothing else; whether all have come to something."""
    about, deadline = doing(), time.monotonic() + seconds
    if not about.get("ready") or about.get("total") or any(one.kind == "splits" for one in questions):
        return False
    left = list(questions)
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = [question for question in left if look(question).state == "waiting"]
    return not left


def again(question: Question) -> None:
    """Forget that a question failed, so that it can be put again."""
    answer_path(question.key).with_suffix(".txt").unlink(missing_ok=True)


def keep_picture(key: str, sizes: dict[int, np.ndarray]) -> None:
    """Put an uploaded picture where the embedder finds it; it deletes it when it has been idle.

    Sizes that are there already stay: another tab may ask with the same picture.

    Args:
        key: Of its content.
        sizes: The prepared picture (P, P, 3) uint8 by P.

    Raises:
        MaclError: If the cache cannot be written.
    """
    arrays = {str(size): np.ascontiguousarray(array) for size, array in {**picture(key), **sizes}.items()}
    write(picture_path(key), save(arrays))


def picture(key: str) -> dict[int, np.ndarray]:
    """An uploaded picture by its sizes; empty if it is gone."""
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
        MaclError: If the cache cannot be written, or no process started.
    """
    process().start("core.retrieval.embedder")


def doing() -> dict[str, Any]:
    """What the embedder is at: `ready`, `what`, `done`, `total`; empty without one."""
    note = process().alive()  # one that has just begun has not said yet that it is not ready
    return {"ready": False, "what": "", "done": 0, "total": 0, **note} if note else {}


def home() -> Path:
    """Where questions, answers and uploaded pictures lie."""
    return cache_root() / "embedder"


def answer_path(key: str) -> Path:
    """Where an answer lies; why there is none stands in a .txt beside it."""
    return home() / "answers" / f"{key}.safetensors"


def picture_path(key: str) -> Path:
    """Where an uploaded picture lies."""
    return home() / "pictures" / f"{key}.safetensors"
