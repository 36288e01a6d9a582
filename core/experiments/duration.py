"""Estimates how long runs take on this machine, from similar finished runs, and when queued ones begin."""

import itertools
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import MaclError
from core.experiments.sweep import ENDED, Known, Sweep, found
from core.queue import launch
from core.runs import Run, RunConfig

GUESS_HEAD = 6e-5  # seconds per image and epoch: a head on frozen features, two cores
GUESS_ALL = 4e-3  # a ResNet-18 at 96 px, two cores; with the square of the size
OVERHEAD = 0.4  # seconds of a run besides its training
GUESS_IMAGES = {"dlrsd": 1475, "ucm": 1475, "ml_aid": 2100, "whdld": 3444, "demo": 1470}


@dataclass(frozen=True)
class Preview:
    """What starting a sweep would take.

    Attributes:
        total: Number of runs in the sweep.
        there: How many of them are already finished, running or queued.
        seconds: Time that the others take one after another on this machine.
        measured: Whether `seconds` comes from similar finished runs; else it is a guess.
    """

    total: int
    there: int
    seconds: float
    measured: bool


def seconds_of(config: RunConfig, among: Known) -> tuple[float, bool]:
    """How long a run takes here, and whether that was measured on similar finished runs.

    Similar runs share the settings in `_like`; time is proportional to epochs. The median of the newest five
    counts.
    """
    alike = (run for run, other in among if _like(other) == _like(config) and run.finished)
    epoch_seconds = []
    for run in itertools.islice(alike, 5):
        with suppress(MaclError, TypeError, ValueError):  # a damaged run tells nothing about time
            if spent := run.scores().get("training_s"):
                epoch_seconds.append(float(spent) / run.config.epochs)
    if epoch_seconds:
        return sorted(epoch_seconds)[len(epoch_seconds) // 2] * config.epochs + OVERHEAD, True
    images = GUESS_IMAGES.get(config.dataset, 1500)
    if config.trainable == "head":
        return GUESS_HEAD * images * config.epochs + OVERHEAD, False
    return GUESS_ALL * (config.image_size / 96) ** 2 * images * config.epochs + OVERHEAD, False


def preview(sweep: Sweep, among: Known) -> Preview:
    """How many runs a sweep has, how many are there, and how long the others take."""
    pairs = found(sweep, among)
    missing = [point for point, run in pairs if run is None or run.state in ENDED]
    times: dict[tuple[object, ...], tuple[float, bool]] = {}
    for point in missing:
        name = (*_like(point.config), point.config.epochs)
        times.setdefault(name, seconds_of(point.config, among))
    total = sum(times[(*_like(point.config), point.config.epochs)][0] for point in missing)
    return Preview(len(pairs), len(pairs) - len(missing), total, all(known for _, known in times.values()))


def waits(root: Path, among: Known) -> list[tuple[Run, float]]:
    """Queued runs in order, each with the seconds until it probably begins; all workers share the queue."""
    worker_count = max(1, len({about["pid"] for about in launch.workers(root).values()}))
    configs = {run.id: config for run, config in among}
    times: dict[tuple[object, ...], float] = {}
    free_after = [0.0] * worker_count
    for run, _ in among:
        if (run.path / "started").exists() and run.state == "running":
            left = run.progress().get("eta_s")
            free_after.sort()
            free_after[0] += float(left) if left is not None else 0.0
    begins = []
    for run in launch.queue(root):
        free_after.sort()
        begins.append((run, free_after[0]))
        queued_config = configs.get(run.id)
        if queued_config is not None:
            name = (*_like(queued_config), queued_config.epochs)
            if name not in times:
                times[name] = seconds_of(queued_config, among)[0]
            free_after[0] += times[name]
    return begins


def _like(config: RunConfig) -> tuple[object, ...]:
    return (
        config.dataset,
        config.backbone,
        config.trainable,
        config.image_size,
        config.batch_size,
        config.micro_batch,
        config.devices,
        config.augment,
        config.dim,
        config.hidden,
    )


def words(seconds: float) -> str:
    """Seconds in words: 8 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
