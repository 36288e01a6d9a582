"""What the pages read from runs, cached; only this module and `app.image_cache` (data sets) use st.cache_*.

What a page asks for a hundred times at every redraw, and never changes, is kept by `lru_cache`:
st.cache_resource takes a quarter of a millisecond for an answer.
"""

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import streamlit as st
from safetensors import SafetensorError, safe_open

from core import metrics, report, runs
from core.errors import MaclError
from core.experiments import benchmark
from core.experiments.benchmark import Benchmark
from core.experiments.sweep import MOST_RUNS
from core.files import PROJECT
from core.queue import launch
from core.retrieval.ask import Question, answer_path, look
from core.retrieval.search import Gallery
from core.runs import Run, RunConfig, origin

Found = TypeVar("Found")
MOST_KNOWN = 4 * MOST_RUNS  # a page goes through all runs at every redraw: with too little room none stays
RECORDED = Path(os.environ.get("MACL_RECORDED_ROOT") or PROJECT / "assets" / "recorded")


def all_runs() -> list[Run]:
    """A person's own runs, newest first, then those recorded with the product, where readable."""
    return [run for run in _folders() if not _unreadable(run)]


def unreadable_runs() -> list[tuple[Run, str]]:
    """Run folders whose configuration this version cannot read, and why."""
    return [(run, why) for run in _folders() if (why := _unreadable(run))]


def finished_runs() -> list[Run]:
    """Runs with scores and test embeddings."""
    return [run for run in all_runs() if state(run) == "finished"]


def by_id(ids: list[str]) -> list[Run]:
    """The runs of these folder names that exist, in that order; a permalink may name some that are gone."""
    known = {run.id: run for run in all_runs()}
    return [known[name] for name in ids if name in known]


def config(run: Run) -> RunConfig:
    """The saved configuration, read again when it has changed: resuming may name another device or place.

    For a run deleted meanwhile it is what was read last: a part of a page may still show it.
    """
    return _as_written(_config, run.path / "config.json")


def gone(run: Run) -> bool:
    """Whether another tab or the command line has deleted a run that a part of a page still shows."""
    return not (run.path / "config.json").exists()


def state(run: Run) -> runs.State:
    """State of the run; "finished" is remembered until its configuration changes, as it may train on."""
    path = str(run.path)
    try:
        written = (run.path / "config.json").stat().st_mtime_ns
    except OSError:  # deleted meanwhile: what was known last
        written = _finished().get(path, 0)
    if _finished().get(path) == written:
        return "finished"
    now = run.state
    if now == "finished":
        if runs.changes(run):
            _forget_results()
        _finished()[path] = written
    return now


def _forget_results() -> None:
    """Forget what was read from finished runs: one of them has trained on."""
    _scores.cache_clear()
    for read in (_result, _frames, _frame, _embeddings, _label_numbers, _label_quality, _gallery,
                 _query_scores, _prototypes, _remembered):  # fmt: skip
        read.clear()


def data(run: Run) -> origin.Data:
    """What is known of the images and labels of a run; MaclError if its files cannot be read."""
    word = state(run)
    config(run)
    return _data(str(run.path), _written().get(run.path / "config.json", 0), word)


def history(run: Run) -> list[dict[str, float]]:
    """Lines of the curve; when the file has grown, only the new ones are read."""
    try:
        stat = (run.path / "metrics.jsonl").stat()
    except OSError:
        return []
    cached = _read_so_far(str(run.path))
    file, offset, rows = cached.get("all", (0, 0, []))
    if file != stat.st_ino or stat.st_size < offset:  # a resumed run has cut its curve back in a new file
        offset, rows = 0, []
    if stat.st_size > offset:
        new, offset = run.history_after(offset)
        rows = rows + new  # a new list: other sessions may be drawing the old one
    cached["all"] = (stat.st_ino, offset, rows)
    return rows


def scores(run: Run) -> dict[str, Any]:
    """metrics, chance and oracle of a finished run, read again when one was added."""
    return _as_written(_scores, run.path / "scores.json")


def frames(run: Run) -> list[int]:
    """Epochs after which a finished run's test embeddings were saved, ascending."""
    return _frames(str(run.path))


def frame(run: Run, epoch: int) -> np.ndarray:
    """Test embeddings (n, D) of a finished run after an epoch; MaclError if they cannot be read."""
    return _frame(str(run.path), epoch)


def remembered(key: str, compute: Callable[[], Found]) -> Found:
    """What `compute` gives, computed once per key; the key has to name everything that it depends on."""
    return cast(Found, _remembered(key, compute))


def embeddings(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Test embeddings z (n, D) and labels y (n, L) of a finished run."""
    return _embeddings(str(run.path))


def gallery(run: Run, everything: bool = False) -> Gallery | None:
    """The test images of a run, or those of all splits; None while nobody has embedded the others."""
    if not everything:
        return _gallery(str(run.path), "")
    key = others(run).key
    return _gallery(str(run.path), key) if answer_path(key).exists() else None


def others(run: Run) -> Question:
    """The question that asks for the embeddings of a run's training and validation images."""
    return Question("splits", str(run.path))


def decoders() -> list[subprocess.Popen[bytes]]:
    """Processes that wait for an uploaded file, one at most."""
    return _decoders()


def query_scores(run: Run) -> dict[str, np.ndarray]:
    """The 7 metrics of each test image of a run as query, (n,) in the order of its embeddings."""
    return _query_scores(str(run.path))


def results() -> tuple[list[report.Result], list[str]]:
    """What the comparison needs of all finished runs; and, in words, why damaged ones are left out."""
    intact, damaged = [], []
    for run in finished_runs():
        try:
            intact.append(_as_written(_result, run.path / "scores.json"))
        except MaclError as error:
            damaged.append(f"Left out: {error}")
    return intact, damaged


def benchmarks() -> tuple[list[Benchmark], list[str]]:
    """The benchmarks that came with the product, then a person's own; and why damaged ones are left out."""
    readable, damaged = [], []
    for path in [*benchmark.recorded(), *benchmark.own(launch.run_root())]:
        try:
            readable.append(_benchmark(str(path), path.stat().st_mtime_ns))
        except (MaclError, OSError) as error:
            damaged.append(f"Left out: {error}")
    return readable, damaged


def label_quality(run: Run) -> dict[str, float | None]:
    """Mean average precision of each label on the test split of a finished run; None without a query."""
    return _label_quality(str(run.path))


def label_numbers(run: Run) -> dict[int, dict[str, float]]:
    """The 7 metrics of a finished run by the number of labels of the query."""
    return _label_numbers(str(run.path))


def steps_per_epoch(run: Run) -> int:
    """Optimiser steps in an epoch; 0 while the split is not known yet, or its file is damaged."""
    with suppress(MaclError):
        return max(1, len(_splits(str(run.path)).get("train", ())) // config(run).batch_size)
    return 0


def test_names(run: Run) -> list[str]:
    """Names of the test images in the row order of the embeddings."""
    return _splits(str(run.path))["test"]


def test_rows(run: Run) -> dict[str, int]:
    """Row of each test image in the embeddings, by name."""
    return _test_rows(str(run.path))


def train_names(run: Run) -> list[str]:
    """Names of the training images."""
    return _splits(str(run.path))["train"]


def prototypes(run: Run) -> np.ndarray | None:
    """Unit rows (L, D) of the prototypes that a finished run trained; None where its loss has none."""
    return _prototypes(str(run.path))


def split_of(run: Run, name: str) -> str:
    """The split of a run that holds an image: train, val or test; empty if none does."""
    return next((split for split, names in _splits(str(run.path)).items() if name in names), "")


def _folders() -> list[Run]:
    return runs.list_runs(launch.run_root()) + runs.list_runs(RECORDED)


def _unreadable(run: Run) -> str:
    try:
        config(run)
    except MaclError as error:
        return str(error)
    return ""


@st.cache_resource(show_spinner=False)
def _finished() -> dict[str, int]:
    """When the configuration of each finished run was written, by its path."""
    return {}


@st.cache_resource(show_spinner=False)
def _written() -> dict[Path, int]:
    """Modification time of each file of a run, as of its last reading."""
    return {}


def _as_written(read: Callable[[str, int], Found], file: Path) -> Found:
    """What `read` gives for a run, anew whenever this file changes; once it is gone, what was read last."""
    try:
        written = file.stat().st_mtime_ns
    except OSError:
        return read(str(file.parent), _written().get(file, 0))
    value = read(str(file.parent), written)
    _written()[file] = written
    return value


@lru_cache(maxsize=MOST_KNOWN)
def _config(path: str, written: int) -> RunConfig:
    return Run(Path(path)).config


@lru_cache(maxsize=MOST_KNOWN)
def _data(path: str, written: int, word: str) -> origin.Data:
    return origin.of_run(Run(Path(path)))


@st.cache_resource(show_spinner=False, max_entries=200)
def _read_so_far(path: str) -> dict[str, tuple[int, int, list[dict[str, float]]]]:
    return {}


@lru_cache(maxsize=MOST_KNOWN)
def _scores(path: str, written: int) -> dict[str, Any]:
    scores = Run(Path(path)).scores()
    if flaw := report.flaw(scores):
        raise MaclError(f"{path} has no readable scores.json ({flaw}): copy the run again")
    return scores


@st.cache_resource(show_spinner=False, max_entries=MOST_KNOWN)
def _result(path: str, written: int) -> report.Result:
    return report.read(Run(Path(path)))


@st.cache_resource(show_spinner=False, max_entries=20)
def _benchmark(path: str, changed: int) -> Benchmark:
    return benchmark.read(Path(path))


@lru_cache(maxsize=2000)
def _splits(path: str) -> dict[str, list[str]]:
    splits = Run(Path(path)).splits()
    # an error is not cached: a run that is still being copied gets whole
    if missing := [part for part in ("train", "val", "test") if part not in splits or not splits["test"]]:
        raise MaclError(f"{path} has no readable splits.json (no {missing[0]}): copy the run again")
    return splits


@lru_cache(maxsize=2000)
def _test_rows(path: str) -> dict[str, int]:
    return {name: row for row, name in enumerate(_splits(path)["test"])}


@st.cache_resource(show_spinner=False, max_entries=200)
def _frames(path: str) -> list[int]:
    return Run(Path(path)).frames()


@st.cache_resource(show_spinner=False, max_entries=400)
def _frame(path: str, epoch: int) -> np.ndarray:
    return Run(Path(path)).frame(epoch)


@st.cache_resource(show_spinner=False, max_entries=600)
def _remembered(key: str, _compute: Callable[[], Any]) -> Any:
    return _compute()


@st.cache_resource(show_spinner=False, max_entries=100)
def _embeddings(path: str) -> tuple[np.ndarray, np.ndarray]:
    z, y = Run(Path(path)).embeddings()
    images = len(z)
    with suppress(MaclError):  # a damaged split is told where names are asked for
        images = len(_splits(path)["test"])
    if images != len(z):
        raise MaclError(f"{path} has {len(z)} embeddings for {images} test images: copy the run again")
    return z, y


@st.cache_resource(show_spinner=False, max_entries=MOST_KNOWN)
def _label_numbers(path: str) -> dict[int, dict[str, float]]:
    return metrics.by_label_count(*_embeddings(path))


@st.cache_resource(show_spinner=False, max_entries=MOST_KNOWN)
def _label_quality(path: str) -> dict[str, float | None]:
    z, y = _embeddings(path)
    known, count = Run(Path(path)).classes(), y.shape[1]
    names = known if len(known) == count else [f"label {i + 1}" for i in range(count)]
    quality = metrics.per_label(z, y).tolist()
    return {name: None if np.isnan(value) else value for name, value in zip(names, quality, strict=True)}


@st.cache_resource(show_spinner=False, max_entries=100)
def _gallery(path: str, key: str) -> Gallery:
    z, y = _embeddings(path)
    names = {part: list(images) for part, images in _splits(path).items()}
    splits = ["test"] * len(z)
    images = names["test"]
    if key:
        reply = look(others(Run(Path(path))))
        arrays = reply.arrays
        if reply.state != "ready" or arrays["y_train"].shape[1:] != y.shape[1:]:
            answer_path(key).unlink(missing_ok=True)  # cut off, or from another table: it is asked for again
            raise MaclError("the embeddings of all splits are damaged: look again to compute them anew")
        for part in ("train", "val"):
            z, y = np.vstack([z, arrays[f"z_{part}"]]), np.vstack([y, arrays[f"y_{part}"]])
            images, splits = images + names[part], splits + [part] * len(names[part])
    return Gallery(z, y, tuple(images), tuple(splits), {name: row for row, name in enumerate(images)})


@st.cache_resource(show_spinner=False)
def _decoders() -> list[subprocess.Popen[bytes]]:
    return []


@st.cache_resource(show_spinner="Scoring every query …", max_entries=100)
def _query_scores(path: str) -> dict[str, np.ndarray]:
    return dict(metrics.per_query(*_embeddings(path)))


@st.cache_resource(show_spinner=False, max_entries=100)
def _prototypes(path: str) -> np.ndarray | None:
    weights = Path(path) / "model.safetensors"
    if not weights.is_file():  # recorded runs come without weights
        return None
    try:
        with safe_open(weights, framework="numpy") as file:
            if "loss.prototypes" not in file.keys():  # noqa: SIM118  it is no mapping
                return None
            rows = file.get_tensor("loss.prototypes").astype(np.float64)
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise MaclError(f"{weights} cannot be read ({error}): copy it again") from None
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise MaclError(f"{weights} is damaged (its prototypes are no finite rows): copy it again")
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
