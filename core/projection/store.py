"""Layouts in the cache, and requests for those not computed yet.

A request is a chain of steps, each of which may start from the layout of another. A page keeps asking for its
progress; a request that nobody has asked about for a while is dropped.
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.background.cache import cache_root, used, write, writing
from core.background.process import Process, Status
from core.background.requests import answered
from core.background.requests import waiting as requests
from core.errors import MaclError

VERSION = 3  # part of every key: raise it when the same embeddings would give another picture
FEWEST = 10  # images; fewer are not worth a neighbourhood graph
ABANDONED = 120.0  # seconds after which a request that nobody asks about is dropped


@dataclass(frozen=True)
class Umap:
    """Parameters of UMAP.

    Attributes:
        dims: 2 or 3.
        n_neighbors: Neighbours of each image, 2 … 200: few show detail, many the whole.
        min_dist: Least distance of neighbours in the picture, 0 … 1.
        seed: Seed of the optimisation.
    """

    dims: int = 2
    n_neighbors: int = 15
    min_dist: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dims not in (2, 3):
            raise ValueError(f"need dims 2 or 3, got {self.dims}")
        if not 2 <= self.n_neighbors <= 200:
            raise ValueError(f"need n_neighbors from 2 to 200, got {self.n_neighbors}")
        if not 0 <= self.min_dist <= 1:
            raise ValueError(f"need min_dist from 0 to 1, got {self.min_dist}")


@dataclass(frozen=True, eq=False)
class Step:
    """One layout to compute.

    Attributes:
        z: Embeddings (N, D), unit rows.
        umap: Parameters.
        start: Step whose layout the images start from; None: their principal components.
        origin: (N,) row of each image in that layout, −1 if it is not there.
    """

    z: NDArray[np.float32]
    umap: Umap
    start: "Step | None" = None
    origin: NDArray[np.int64] | None = field(default=None)

    @cached_property
    def key(self) -> str:
        """Name of the layout: a hash of everything that determines it."""
        parts = [str(VERSION), version("umap-learn"), json.dumps(asdict(self.umap)), _content(self.z)]
        if self.start is not None and self.origin is not None:
            parts += [self.start.key, _content(self.origin)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def layout(step: Step) -> NDArray[np.float32] | None:
    """Places (N, dims) if they have ever been computed; None if not."""
    return read(step.key)


def there(step: Step) -> bool:
    """Whether a layout is in the cache; one that `layout` cannot read is gone after the first try."""
    return _result(step.key).exists()


def request(steps: Sequence[Step]) -> str:
    """Ask for layouts, computed in this order; returns at once.

    A request that has failed is repeated only after `retry`: it could fail or take all memory again.

    Returns:
        Name of the request for `progress`; empty if all layouts are there.

    Raises:
        MaclError: If the cache cannot be written.
    """
    if all(layout(step) is not None for step in steps):
        return ""
    name = hashlib.sha256("\0".join(step.key for step in steps).encode()).hexdigest()[:24]
    if _touch(name):
        _wake()
        return name
    if _ended(name).get("state") == "failed":
        return name
    described = [
        {
            "key": step.key,
            "z": _keep(step.z),
            "umap": asdict(step.umap),
            "start": step.start.key if step.start is not None else None,
            "origin": _keep(step.origin) if step.origin is not None else None,
        }
        for step in steps
    ]
    _outcome(name).unlink(missing_ok=True)
    write(_request(name), json.dumps({"asked": time.time(), "steps": described}))
    _wake()
    return name


def progress(name: str) -> Status:
    """Progress of a request; asking keeps it and its process alive."""
    alive, ended = _touch(name), _ended(name)
    if ended.get("state") == "failed":
        return Status("failed", error=str(ended.get("error")))
    if ended:
        return Status("done")
    if not alive:  # it has just ended, or there was none
        return Status("done" if _ended(name) else "none")
    try:
        _wake()
    except MaclError as error:
        return Status("failed", error=str(error))
    note = process().alive()
    if note.get("run") == name and note.get("what"):
        return Status("running", note["what"], note["done"], note["total"])
    return Status("running", "UMAP is starting")


def retry(name: str) -> None:
    """Forget that a request has failed, so that it can be asked for again."""
    _outcome(name).unlink(missing_ok=True)


# -- what the worker uses ----------------------------------------------------------------------------------


def process() -> Process:
    """The process that computes layouts."""
    return Process(_folder() / "worker")


def waiting() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Name and steps of the requests somebody waits for, newest first; abandoned ones are dropped."""
    pending = []
    for path, touched, content in requests(_folder() / "requests"):
        if abs(time.time() - touched / 1e9) > ABANDONED:  # a clock may be set back
            drop(path.stem)
        elif isinstance(content.get("asked"), float) and _are_steps(content.get("steps")):
            pending.append((content["asked"], path.stem, content["steps"]))
    for _, name, steps in sorted(pending, key=lambda one: one[:2], reverse=True):
        yield name, steps


def drop(name: str) -> None:
    """Remove a request, and inputs that no other one needs."""
    answered(_request(name))
    needed = set()
    for _, _, content in requests(_folder() / "requests"):
        if _are_steps(content.get("steps")):
            needed |= {str(step[part]) for step in content["steps"] for part in ("z", "origin")}
    for path in (_folder() / "inputs").glob("*.npy"):
        with suppress(OSError):
            aged = abs(time.time() - path.stat().st_mtime)
            if (
                path.stem not in needed and aged > ABANDONED
            ):  # a new one may belong to a request still being written
                path.unlink()


def finish(name: str, **about: object) -> None:
    """Record how a request ended, and remove it."""
    write(_outcome(name), json.dumps(about))
    drop(name)


def deaths(name: str) -> Path:
    """File that counts the processes that died over a request."""
    return _request(name).with_suffix(".deaths")


def input_array(content: str) -> NDArray[np.generic]:
    """An input array of a request."""
    return np.asarray(np.load(_folder() / "inputs" / f"{content}.npy"))


def read(key: str) -> NDArray[np.float32] | None:
    """A layout by its key; None if it is missing, or damaged: then it is removed, to be computed again."""
    try:
        places = np.asarray(np.load(_result(key)), dtype=np.float32)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        places = None
    if places is not None and np.isfinite(places).all():
        used(_result(key))
        return places
    with suppress(OSError):
        _result(key).unlink()
    return None


def keep(key: str, places: NDArray[np.float32]) -> None:
    """Keep a layout."""
    with writing(_result(key)) as partial:
        partial.write_bytes(_bytes(places))


def _folder() -> Path:
    return cache_root() / "projections"


def _result(key: str) -> Path:
    return _folder() / "layouts" / f"{key}.npy"


def _are_steps(steps: Any) -> bool:
    parts = {"key", "z", "umap", "start", "origin"}
    return isinstance(steps, list) and all(isinstance(step, dict) and parts <= step.keys() for step in steps)


def _request(name: str) -> Path:
    return _folder() / "requests" / f"{name}.json"


def _outcome(name: str) -> Path:
    return _request(name).with_suffix(".status")


def _ended(name: str) -> dict[str, Any]:
    """How a request ended; empty if it has not."""
    try:
        outcome = json.loads(_outcome(name).read_text())
    except (OSError, ValueError):
        return {}
    return outcome if isinstance(outcome, dict) and outcome.get("state") in ("done", "failed") else {}


def _touch(name: str) -> bool:
    """Mark a request as still awaited; False if there is no such request."""
    try:
        os.utime(_request(name))
    except OSError:
        return False
    return True


def _wake() -> None:
    """Start the process, unless it lives."""
    process().start("core.projection.worker")


def _content(array: NDArray[np.generic]) -> str:
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(array).tobytes()).hexdigest()[:24]


def _keep(array: NDArray[np.generic]) -> str:
    """Put an array where the worker finds it, named by its content."""
    name = _content(array)
    path = _folder() / "inputs" / f"{name}.npy"
    if path.exists():
        path.touch()
    else:
        write(path, _bytes(array))
    return name


def _bytes(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
