"""Questions about a loss without a numpy form: pages ask them here, `core.mechanism.worker` answers.

A question names a loss, its parameters and a batch; its answer is a safetensors file under a hash of all of
that, so that what was asked before is there at once. The process runs the loss's own code, with torch. It
starts when first needed and stays warm for some minutes.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from core import losses
from core.background.cache import bound, cache_root, used, write
from core.background.process import Process
from core.background.requests import answered, waiting
from core.losses import Value
from core.mechanism.maps import Answer, Batch, How

VERSION = 1  # of the answers: raise it when the same question would get a different one
ABANDONED = 30.0  # seconds after which a question that nobody asks about is dropped
PLACES = ("MACL_LOSSES", "MACL_RUN_ROOT")  # where a person's own losses are


@dataclass(frozen=True, eq=False)
class Question:
    """What does this loss do with this batch?

    Attributes:
        loss: Key of the loss.
        params: All of its parameters.
        batch: The images.
    """

    loss: str
    params: Mapping[str, Value]
    batch: Batch

    @cached_property
    def code(self) -> str:
        """The code that is to answer it."""
        return code()

    @cached_property
    def key(self) -> str:
        """Hash of the question, and of the code that is to answer it."""
        asked = [VERSION, self.code, self.loss, sorted(self.params.items()), self.batch.key]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class Reply:
    """State of a question: `ready` with its `answer`, `waiting`, or `failed` with its `error`."""

    state: Literal["ready", "waiting", "failed"]
    answer: Answer | None = None
    error: str = ""


def ask(question: Question) -> Reply:
    """The answer if it is there; else asks for it, and starts a process if none is alive. Returns at once.

    A question that is still awaited is asked again and again: one that nobody asks any more is dropped.

    Raises:
        MaclError: If the cache cannot be written, or no process can be started.
    """
    reply = look(question)
    if reply.state == "waiting":
        path = home() / "questions" / f"{question.key}.json"
        try:
            os.utime(path)
            os.utime(batch_path(question.batch.key))
        except OSError:
            _put(path, question)
        ensure()
    return reply


def ensure() -> None:
    """Start a process unless one is alive.

    Raises:
        MaclError: If the cache cannot be written, or no process can be started.
    """
    process().start("core.mechanism.worker")


def look(question: Question) -> Reply:
    """The state of a question, without asking it."""
    path = answer_path(question.key)
    with suppress(OSError, SafetensorError), safe_open(path, framework="numpy") as file:
        how: How = (file.metadata() or {}).get("how", "")
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
        used(path)
        return Reply("ready", Answer(arrays, how))
    with suppress(OSError):
        return Reply("failed", error=path.with_suffix(".txt").read_text())
    return Reply("waiting")


def answered_within(question: Question, seconds: float) -> bool:
    """Wait this long for a warm process; returns whether the question is settled."""
    deadline = time.monotonic() + seconds if is_warm() else 0.0
    while (state := look(question).state) == "waiting" and time.monotonic() < deadline:
        time.sleep(0.01)
    return state != "waiting"


def again(question: Question) -> None:
    """Forget that a question failed, so that it can be asked again."""
    answer_path(question.key).with_suffix(".txt").unlink(missing_ok=True)


def is_warm() -> bool:
    """Whether the process lives and has loaded what it needs."""
    return process().alive().get("ready") is True


def code() -> str:
    """Stands for the text of all losses: a loss that was changed is asked anew, in a new process."""
    files = sorted(Path(losses.__file__).parent.glob("*.py"))
    about = [(file.name, info.st_mtime_ns, info.st_size) for file in files for info in [file.stat()]]
    return hashlib.sha256(repr(about).encode()).hexdigest()[:32]


# -- what the worker uses ----------------------------------------------------------------------------------


def process() -> Process:
    """The process that answers."""
    return Process(home() / "worker")


def newest() -> tuple[Path, dict[str, Any]] | None:
    """The question that was asked for last: a slider has moved on from the others; abandoned ones go."""
    for path, asked_at, content in reversed(waiting(home() / "questions")):
        if abs(time.time() - asked_at / 1e9) <= ABANDONED:  # a clock may be set back
            return path, content
        answered(path)
    return None


def home() -> Path:
    """Folder of questions, batches and answers."""
    return cache_root() / "mechanism"


def batch_path(key: str) -> Path:
    """File of a batch: y, labels, and if there are any z and prototypes."""
    return home() / "batches" / f"{key}.safetensors"


def answer_path(key: str) -> Path:
    """File of an answer; a .txt beside it says why there is none."""
    return home() / "answers" / f"{key}.safetensors"


def _put(path: Path, question: Question) -> None:
    batch, place = question.batch, batch_path(question.batch.key)
    if not place.exists():
        given = {"y": batch.y, "labels": batch.labels, "z": batch.z, "prototypes": batch.prototypes}
        arrays = {name: np.ascontiguousarray(array) for name, array in given.items() if array is not None}
        write(place, save(arrays))
        bound(place.parent, place)
    places = {
        name: str(Path(os.environ[name]).expanduser().absolute()) for name in PLACES if os.environ.get(name)
    }
    asked = {"loss": question.loss, "params": dict(question.params), "batch": batch.key}
    write(path, json.dumps(asked | {"code": question.code, "places": places}))
