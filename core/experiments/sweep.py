"""Sweeps: many runs that differ in a few settings, described by one file and found again in their runs.

A sweep is `.sweeps/<name>.json` in the run root: title, axes, and the whole configuration of every point. Its
runs are the run folders with these configurations, whoever has started them, so that no run is done twice and
a sweep can be continued after anything. Nothing here imports torch.
"""

import itertools
import json
import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core import runs
from core.errors import MaclError
from core.files import lock, unlock, write_atomic
from core.losses import LOSSES, Value
from core.queue import launch
from core.runs import Run, RunConfig, explain, origin

MOST_RUNS = 5000
FOLDER = ".sweeps"
ENDED = ("interrupted", "stopped", "failed")  # starting the sweep lets these go on
ABSENT = "–"  # where an axis is no setting of a point's loss

At = dict[str, Value]
Known = Sequence[tuple[Run, RunConfig]]


@dataclass(frozen=True)
class Point:
    """One run of a sweep: where it stands on the axes, and its whole configuration."""

    at: At
    config: RunConfig


@dataclass(frozen=True)
class Sweep:
    """Many runs that belong together.

    Attributes:
        id: Name of its file; empty before it is started.
        title: For people.
        note: What a person should know of it; may be empty.
        axes: Name to its values in order; the axis "seed", if there is one, is repetition.
        points: Every run; a grid, or any list. Each has a value on every axis.
    """

    id: str
    title: str
    note: str
    axes: dict[str, tuple[Value, ...]]
    points: tuple[Point, ...]

    @property
    def shown(self) -> list[str]:
        """The axes that a figure has: those with several values, but for the seed."""
        return [name for name, values in self.axes.items() if name != "seed" and len(values) > 1]


def grid(
    title: str,
    preset: str,
    fields: Mapping[str, Any],
    axes: Mapping[str, Sequence[Value]],
    note: str = "",
) -> Sweep:
    """Every combination of the axes' values.

    Args:
        title: For people.
        preset: Of `core.runs.PRESETS`.
        fields: Fields of the configuration (with `loss`), and parameters of the loss, that all runs share.
        axes: Field or parameter to its values; the first varies slowest.
        note: What a person should know of the sweep.

    Raises:
        MaclError: An unknown or empty axis, a value out of range, or too many runs.
    """
    for name, values in axes.items():
        if not values:
            raise MaclError(f"{name}: need at least one value")
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MOST_RUNS:
        raise MaclError(f"these are {count:,} runs: need at most {MOST_RUNS:,}; take fewer values")
    combinations = itertools.product(*axes.values())
    places = [dict(zip(axes, values, strict=True)) for values in combinations]
    return listed(title, preset, fields, places, note)


def listed(
    title: str, preset: str, fields: Mapping[str, Any], places: Iterable[Mapping[str, Value]], note: str = ""
) -> Sweep:
    """Exactly these places, each a value for some fields or parameters; equal configurations are one run.

    Raises:
        MaclError: As in `grid`.
    """
    points: dict[str, Point] = {}
    for place in places:
        config = build(preset, {**fields, **place})
        points.setdefault(config.identity, Point(dict(place), config))
    names = dict.fromkeys(name for point in points.values() for name in point.at)
    whole = tuple(_whole(point, names) for point in points.values())
    axes = {name: tuple(dict.fromkeys(point.at[name] for point in whole)) for name in names}
    return Sweep("", title, note, axes, whole)


def _whole(point: Point, axes: Iterable[str]) -> Point:
    """The point with a value on every axis: those that it was not given are in its configuration."""
    settings = {**dict(point.config), **point.config.params}
    return Point({name: point.at.get(name, settings.get(name, ABSENT)) for name in axes}, point.config)


def build(preset: str, given: Mapping[str, Any]) -> RunConfig:
    """A configuration from fields and parameters of the loss in one mapping; MaclError says what is wrong."""
    loss = str(given.get("loss", RunConfig.model_fields["loss"].default))
    known = {p.name for p in LOSSES[loss].parameters} if loss in LOSSES else set()
    fields, params = {}, {}
    for name, value in given.items():
        if name in RunConfig.model_fields and name not in ("params", "preset"):
            fields[name] = value
        elif name in known or loss not in LOSSES:
            params[name] = value
        else:
            raise MaclError(
                f"{name!r} is neither a field of a run nor a parameter of {loss}: "
                f"its parameters are {', '.join(sorted(known))}"
            )
    return RunConfig.build(preset, params=params, **fields)


def start(sweep: Sweep, root: Path) -> Sweep:
    """Write the sweep down, then create and queue every run that is not there; returns it with its id.

    Starting it again, also after a crash half-way, adds only what is missing and lets go on what has stopped
    or failed. One that is written down already is that one.

    Raises:
        MaclError: If the root cannot be written, or another process is starting a sweep at this moment.
    """
    folder = root / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MaclError(f"no sweep can be kept in {root}: {error.strerror or error}") from error
    if not lock(folder / "lock"):
        raise MaclError("another sweep is being started at this moment: try again")
    try:
        if not sweep.id:
            same = (old for old in load(root) if (old.title, old.points) == (sweep.title, sweep.points))
            sweep = next(same, None) or replace(sweep, id=_new_id(sweep.title))
            if not (folder / f"{sweep.id}.json").exists():
                write_atomic(folder / f"{sweep.id}.json", _dump(sweep))
        devices, made = {}, set()
        for point, run in found(sweep, known(root)):
            if run is None and point.config.identity not in made:
                run = runs.create(point.config, root)
                (run.path / "sweep").write_text(sweep.id)
                launch.requeue(run)
                made.add(point.config.identity)
            elif run is not None and (run.state in ENDED or run.lost):
                launch.requeue(run)
            devices[point.config.device] = True
    finally:
        unlock(folder / "lock")
    if not launch.paused(root):
        for device in devices:
            launch.ensure_worker(device, root)
    return sweep


def forget(sweep: Sweep, root: Path) -> None:
    """Delete what is written down of a sweep; its runs stay."""
    (root / FOLDER / f"{sweep.id}.json").unlink(missing_ok=True)


def load(root: Path) -> list[Sweep]:
    """All sweeps of a run root, newest first; files that cannot be read are passed over."""
    found = []
    for path in sorted((root / FOLDER).glob("*.json"), reverse=True):
        try:
            found.append(_parse(path, path.stat().st_mtime_ns))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def read(name: str, root: Path) -> Sweep:
    """The sweep of this id; MaclError if there is none or it cannot be read."""
    path = root / FOLDER / f"{name}.json"
    try:
        return _parse(path, path.stat().st_mtime_ns)
    except OSError:
        raise MaclError(f"there is no sweep {name!r} in {root}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = explain(error) if isinstance(error, ValidationError) else str(error)
        raise MaclError(f"the sweep {name!r} cannot be read: {message}") from None


def known(root: Path) -> list[tuple[Run, RunConfig]]:
    """Every run of a root that can be read, with its configuration, newest first."""
    out = []
    for run in runs.list_runs(root):
        try:
            out.append((run, run.config))
        except MaclError:
            continue
    return out


_RANK = {"finished": 0, "running": 1, "queued": 2, "interrupted": 3, "stopped": 4, "failed": 5}


def found(sweep: Sweep, among: Known) -> list[tuple[Point, Run | None]]:
    """The run of each point: of several the one that is furthest, else the newest; None if there is none.

    Finished runs on other images or labels do not count: those whose split is not that of the sweep's newest
    finished run of their data set and seed.

    Args:
        sweep: Which.
        among: From `known`: newest first.
    """
    wanted = {point.config.identity for point in sweep.points}
    by_key: dict[str, list[Run]] = {}
    newest: dict[tuple[object, ...], origin.Data] = {}
    for run, config in among:
        if (name := config.identity) not in wanted:
            continue
        if run.finished:
            data = _data(str(run.path))
            about = config.dataset, config.place, config.skip_broken, config.seed
            # a damaged one does not judge the others
            if data is not None and not origin.compare(newest.setdefault(about, data), data).split:
                continue
        by_key.setdefault(name, []).append(run)
    best = {
        name: same[0] if len(same) == 1 else min(same, key=lambda run: _RANK[run.state])
        for name, same in by_key.items()
    }
    return [(point, best.get(point.config.identity)) for point in sweep.points]


def _new_id(title: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40] or "sweep"
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{slug}-{secrets.token_hex(2)}"


def _dump(sweep: Sweep) -> str:
    points = [{"at": point.at, "config": point.config.model_dump()} for point in sweep.points]
    about = {"title": sweep.title, "note": sweep.note, "axes": sweep.axes, "points": points}
    return json.dumps(about) + "\n"


@lru_cache(maxsize=500)  # a page asks for all sweeps at every look
def _parse(path: Path, changed: int) -> Sweep:
    about = json.loads(path.read_text())
    axes = {name: tuple(values) for name, values in about["axes"].items()}
    points = tuple(
        _whole(Point(p["at"], RunConfig.model_validate(p["config"])), axes) for p in about["points"]
    )
    return Sweep(path.stem, about["title"], about["note"], axes, points)


@lru_cache(maxsize=4 * MOST_RUNS)
def _data(path: str) -> origin.Data | None:
    """What a finished run was trained and tested on, which never changes; None of a damaged one."""
    try:
        data = origin.of_run(Run(Path(path)))
    except (MaclError, AttributeError, TypeError, ValueError):
        return None
    return data if data.test else None
