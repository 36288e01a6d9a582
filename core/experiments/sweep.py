"""Sweeps: many runs that differ in a few settings, described by one file.

A sweep is `.sweeps/<name>.json` in the run root: title, axes, and the whole configuration of every point. Its
runs are the run folders with these configurations, whoever started them, so that no run is done twice and a
sweep can be continued after any interruption. Nothing here imports torch.
"""

import itertools
import json
import re
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from core import runs
from core.data import Reading
from core.errors import MaclError
from core.explain import explain
from core.files import lock, unlock, write_atomic
from core.losses import Value, spec_of
from core.losses.own import resolve
from core.queue import hand_over, launch
from core.queue import launcher as launchers
from core.runs import Run, RunConfig, contents, origin
from core.runs.config import FIELDS
from core.runs.where import LOCAL

MOST_RUNS = 5000
FOLDER = ".sweeps"
ENDED = ("interrupted", "stopped", "failed")  # starting the sweep resumes these
ABSENT = "–"  # the value on an axis that is not a setting of a point's loss

At = dict[str, Value]
Strict = StrictBool | StrictInt | StrictFloat | StrictStr
Known = Sequence[tuple[Run, RunConfig]]


@dataclass(frozen=True)
class Point:
    """One run of a sweep: its place on the axes, and its whole configuration."""

    at: At
    config: RunConfig


@dataclass(frozen=True)
class Sweep:
    """Many runs that belong together.

    Attributes:
        id: Name of its file; empty before it is started.
        title: Title for people.
        note: What a person should know about it; may be empty.
        axes: Values in order by name; the axis "seed", if there is one, means repetition.
        points: Every run, a grid or any list; each has a value on every axis.
    """

    id: str
    title: str
    note: str
    axes: dict[str, tuple[Value, ...]]
    points: tuple[Point, ...]

    @property
    def shown(self) -> list[str]:
        """The axes of a figure: those with several values, except the seed."""
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
        title: Title for people.
        preset: Key of `core.runs.PRESETS`.
        fields: Fields of the configuration (with `loss`), and parameters of the loss, that all runs share.
        axes: Values by field or parameter; the first varies slowest.
        note: What a person should know about the sweep.

    Raises:
        MaclError: If an axis is unknown or empty, a value is out of range, or there are too many runs.
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
    """A sweep of just these places, each with values for some fields or parameters; equal ones are one run.

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
    """The point with a value on every axis, filled in from its configuration where none was given."""
    settings = {**dict(point.config), **point.config.params}
    return Point({name: point.at.get(name, settings.get(name, ABSENT)) for name in axes}, point.config)


def build(preset: str, given: Mapping[str, Any]) -> RunConfig:
    """A configuration from one mapping of fields and loss parameters; MaclError says what is wrong."""
    loss = str(given.get("loss", RunConfig.model_fields["loss"].default))
    try:
        parameters = {p.name for p in spec_of(resolve(loss)).parameters}
    except ValueError:  # the configuration says what is wrong
        parameters = {*given}
    fields, params = {}, {}
    for name, value in given.items():
        if name in {*RunConfig.model_fields, *Reading.model_fields} - {"own", "params", "preset"}:
            fields[name] = value
        elif name in parameters:
            params[name] = value
        else:
            raise MaclError(
                f"{name!r} is neither a field of a run nor a parameter of {loss}: "
                f"its parameters are {', '.join(sorted(parameters))}"
            )
    return RunConfig.build(preset, params=params, **fields)


def start(sweep: Sweep, root: Path, launcher: str = "", pack: int = 1) -> Sweep:
    """Save the sweep, then create and queue every missing run; returns the sweep with its id.

    Starting it again, even after a crash half-way, adds only what is missing and resumes what was stopped or
    failed. An equal sweep that is saved already is taken instead.

    Args:
        sweep: The sweep.
        root: The run root.
        launcher: Who trains; empty: whoever had a run before, and for new ones whoever has the others.
        pack: How many runs a job of a cluster trains.

    Raises:
        MaclError: If the root cannot be written, another process is starting a sweep at this moment, or the
            launcher does not take the runs.
    """
    launchers.launcher(launcher or LOCAL)  # a mistake must show before anything is made
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
        devices, created, handed = {}, set(), defaultdict(list)
        pairs = found(sweep, known(root))
        hand_over.settle((run for _, run in pairs if run is not None), grace=0)
        usual = launcher or _usual(pairs)
        for point, run in pairs:
            name = usual
            if run is None and point.config.identity not in created:
                run = runs.create(point.config, root)
                (run.path / "sweep").write_text(sweep.id)
                created.add(point.config.identity)
            elif run is not None and (run.state in ENDED or run.lost):
                name = launcher or launchers.last(run)
            else:
                run = None
            if name == LOCAL:
                devices[point.config.device] = True
            if run is not None and name == LOCAL:
                launch.requeue(run)
            elif run is not None:
                handed[name].append(run)
        for name, those in handed.items():
            launchers.launcher(name).submit(those, pack)
    finally:
        unlock(folder / "lock")
    if not launch.paused(root):
        for device in devices:
            launch.ensure_worker(device, root)
    return sweep


def _usual(pairs: Iterable[tuple[Point, Run | None]]) -> str:
    """The launcher that had most runs of a sweep."""
    had = Counter(launchers.last(run) for _, run in pairs if run is not None)
    return had.most_common(1)[0][0] if had else LOCAL


def forget(sweep: Sweep, root: Path) -> None:
    """Delete the file of a sweep; its runs stay."""
    (root / FOLDER / f"{sweep.id}.json").unlink(missing_ok=True)


def load(root: Path) -> list[Sweep]:
    """All sweeps of a run root, newest first; unreadable files are skipped."""
    return among(root)[0]


def among(root: Path) -> tuple[list[Sweep], list[str]]:
    """All sweeps of a run root, newest first; and, in words, which are left out, and why."""
    loaded, odd = [], []
    for path in sorted((root / FOLDER).glob("*.json"), reverse=True):
        try:
            loaded.append(_parse(path, path.stat().st_mtime_ns))
        except (MaclError, OSError) as error:
            odd.append(f"The sweep {path.stem} was left out: {error}")
    return loaded, odd


def read(name: str, root: Path) -> Sweep:
    """The sweep with this id; MaclError if there is none or it cannot be read."""
    path = root / FOLDER / f"{name}.json"
    try:
        return _parse(path, path.stat().st_mtime_ns)
    except OSError:
        raise MaclError(f"there is no sweep {name!r} in {root}") from None
    except MaclError as error:
        raise MaclError(f"the sweep {name!r} cannot be read: {error}") from None


def known(root: Path) -> list[tuple[Run, RunConfig]]:
    """Every readable run of a root with its configuration, newest first."""
    readable = []
    for run in runs.list_runs(root):
        try:
            readable.append((run, run.config))
        except MaclError:
            continue
    return readable


class SavedPoint(BaseModel):
    """A point as the file of a sweep holds it."""

    at: dict[str, Strict]
    config: RunConfig


class Saved(BaseModel):
    """The file of a sweep."""

    title: StrictStr
    note: StrictStr
    axes: dict[str, list[Strict]]
    points: list[SavedPoint]


_RANK = {"finished": 0, "running": 1, "queued": 2, "interrupted": 3, "stopped": 4, "failed": 5}


def found(sweep: Sweep, among: Known) -> list[tuple[Point, Run | None]]:
    """The run of each point, None if there is none; of several the furthest one, then the newest.

    Finished runs on other images or labels do not count: those whose split differs from that of the sweep's
    newest finished run with the same data set and seed.

    Args:
        sweep: The sweep.
        among: From `known`: newest first.
    """
    identities = {point.config.identity for point in sweep.points}
    by_key: dict[str, list[Run]] = {}
    newest: dict[tuple[object, ...], origin.Data] = {}
    for run, config in among:
        if (name := config.identity) not in identities:
            continue
        if run.finished:
            data = _data(str(run.path))
            data_and_seed = config.dataset, config.place, config.skip_broken, config.seed
            # a damaged run must not rule out the others
            if data is not None and not origin.compare(newest.setdefault(data_and_seed, data), data).split:
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
    content = {
        "schema": contents.SCHEMA,
        "title": sweep.title,
        "note": sweep.note,
        "axes": sweep.axes,
        "points": points,
    }
    return json.dumps(content) + "\n"


@lru_cache(maxsize=500)  # a page loads all sweeps at every redraw
def _parse(path: Path, changed: int) -> Sweep:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        why = "its lists are nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise MaclError(f"{path} is no JSON ({why}): take it away, or copy it again") from None
    contents.future(content, path)
    try:
        held = Saved.model_validate(content)
    except ValidationError as error:
        why = explain(error, FIELDS).partition("; ")[0]
        raise MaclError(f"{path} is no sweep ({why}): take it away, or copy it again") from None
    axes = {name: tuple(values) for name, values in held.axes.items()}
    points = tuple(_whole(Point(point.at, point.config), axes) for point in held.points)
    return Sweep(path.stem, held.title, held.note, axes, points)


@lru_cache(maxsize=4 * MOST_RUNS)
def _data(path: str) -> origin.Data | None:
    """What a finished run was trained and tested on, which never changes; None if the run is damaged."""
    try:
        data = origin.of_run(Run(Path(path)))
    except (MaclError, AttributeError, TypeError, ValueError):
        return None
    return data if data.test else None
