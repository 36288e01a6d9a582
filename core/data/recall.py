"""A data set as it was loaded last, opened again without reading a table or an image: what pages do."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from core.background.cache import cache_root, used, writing
from core.data.info import Dataset
from core.data.look import Look
from core.data.prepared import reopened
from core.data.reading import Reading
from core.errors import MaclError

ARRAYS = ("images", "labels", "splits")  # fields of a data set that are no JSON
DAMAGED = (OSError, ValueError, KeyError, TypeError, BadZipFile)  # or not there: it is loaded again


@dataclass(frozen=True)
class Which:
    """What was loaded.

    Attributes:
        name: Key of `DATASETS`.
        root: Its folder or archive.
        image_size: Training size in pixels.
        reading: How its tables and images are read.
    """

    name: str
    root: Path
    image_size: int
    reading: Reading

    @property
    def path(self) -> Path:
        """Where it is remembered."""
        text = f"{os.path.abspath(self.root)}\0{self.image_size}{self.reading.text}"
        return cache_root() / "sets" / f"{self.name}-{sha256(text.encode()).hexdigest()[:16]}.npz"


def remember(which: Which, data: Dataset, seed: int, files: str) -> None:
    """Keep what was loaded, but for the images, which are kept by their content; nothing on a full disk.

    Args:
        which: What was loaded.
        data: As it was loaded.
        seed: Seed of its split.
        files: Fingerprint of the files from before they were read.
    """
    array = getattr(data.images, "filename", None)
    if not files or array is None:
        return
    about = {
        "code": code(), "files": files, "array": Path(array).parent.name, "seed": seed,
        "look": asdict(data.look),
        "data": {f.name: getattr(data, f.name) for f in fields(data) if f.name not in (*ARRAYS, "look")},
    }  # fmt: skip
    text = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    arrays: dict[str, Any] = {"about": text, "labels": data.labels, **data.splits}
    with suppress(MaclError), writing(which.path) as partial, partial.open("wb") as stream:
        np.savez(stream, **arrays)


def is_remembered(which: Which, files: str) -> bool:
    """Whether `recalled` opens it: these files were loaded as they are now, and the images are there."""
    return _about(which, files) is not None


def recalled(which: Which, files: str) -> tuple[Dataset, int] | None:
    """The data set and the seed of its split; None if these files were not loaded as they are now."""
    about = _about(which, files)
    if about is None:
        return None
    used(which.path)
    with suppress(*DAMAGED), which.path.open("rb") as stream, np.load(stream) as stored:
        data = Dataset(
            images=reopened(about["array"]),
            labels=stored["labels"],
            splits={part: stored[part] for part in ("train", "val", "test")},
            look=_tuples(Look(**about["look"])),
            **about["data"],
        )
        return _tuples(data), about["seed"]
    return None


def _about(which: Which, files: str) -> dict[str, Any] | None:
    with suppress(*DAMAGED), which.path.open("rb") as stream, np.load(stream) as stored:
        about: dict[str, Any] = json.loads(stored["about"].tobytes())
        if files and (about["code"], about["files"]) == (code(), files):
            reopened(about["array"])
            return about
    return None


def _tuples(value: Any) -> Any:
    """The same dataclass with tuples where JSON has made lists of them."""
    found = {f.name: getattr(value, f.name) for f in fields(value)}
    return replace(value, **{name: _tuple(v) for name, v in found.items() if isinstance(v, list)})


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value


@cache
def code() -> str:
    """Digest of the code that reads data sets: another version may find other labels in the same files."""
    found = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]
