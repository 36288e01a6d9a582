"""The one file a benchmark leaves: numbers, configuration, versions and date, but no image."""

import json
import math
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from core import metrics
from core.errors import MaclError
from core.experiments.benchmark.files import FILE, config_of, content
from core.experiments.benchmark.join import Joined
from core.experiments.benchmark.plan import Plan, identity, split_name
from core.experiments.benchmark.split import about as about_split
from core.experiments.benchmark.split import alike, is_of, rounded
from core.experiments.benchmark.train import Outcome
from core.files import lock, unlock, write_atomic
from core.losses import spec_of
from core.runs import Run, RunConfig

WAIT_SECONDS = 0.1
NOTHING: dict[str, Any] = {"about": {}, "runs": [], "splits": {}}


class Rows:
    """The rows of a summary, with the splits and sources that they refer to."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.splits: dict[str, dict[str, Any]] = {}
        self.sources: list[dict[str, Any]] = []
        self._held: set[tuple[str, str]] = set()

    def add(
        self, row: Mapping[str, Any], split: dict[str, Any], source: dict[str, Any] | None = None
    ) -> bool:
        """Add a row; False if the same configuration on the same images is there already.

        Args:
            row: The row; its own `split` and `source`, if any, are replaced.
            split: What all losses share at its seed.
            source: The summary it was joined from; None for a run of this folder.
        """
        config, name = config_of(row), self._name(config_of(row), split)
        if (identity(config), name) in self._held:
            return False
        self._held.add((identity(config), name))
        self.splits.setdefault(name, split)
        own = {key: value for key, value in row.items() if key not in ("run", "split", "source")}
        new_row = {"run": row["run"], "split": name} | own
        if source is not None:
            if source not in self.sources:
                self.sources.append(source)
            new_row["source"] = self.sources.index(source)
        self.rows.append(new_row)
        return True

    def _name(self, config: RunConfig, split: dict[str, Any]) -> str:
        """Name of a split; a split of other images of the same data set gets a number."""
        name = unique = split_name(config, split.get("place", ""))
        number = 1
        while unique in self.splits and not alike(self.splits[unique], split):
            number += 1
            unique = f"{name} ({number})"
        return unique


def refuse_another_study(folder: Path, plan: Plan) -> None:
    """MaclError if the folder holds a benchmark that cannot share a summary with this plan."""
    last = _last(folder)
    if last["runs"] and last["about"]["study"] != plan.study:
        present = last["about"]["study"] or "not tuned"
        raise MaclError(
            f"--name: {folder} holds a benchmark of another kind ({present}): choose another name"
        )


def write(
    plan: Plan,
    outcome: Outcome,
    folder: Path,
    command: str,
    notes: Sequence[str],
    joined: Mapping[str, Joined] | None = None,
) -> list[str]:
    """Write `summary.json` into the folder of the benchmark.

    The metrics of every run not in the last summary are computed again from its saved embeddings. Joined rows
    stay unchanged; `about` says where they are from. Rows of the last summary that are not part of this call
    stay if their run folder exists or if they were joined, so that a smaller call removes nothing.

    Returns:
        One line for each run that is left out because it cannot be read or its saved scores are not those of
        its embeddings.
    """
    with _alone(folder):
        last = _last(folder)
        if last["runs"] and last["about"]["study"] != plan.study:
            last = NOTHING
        rows = Rows()
        wrong = _add_runs(rows, outcome.runs, last, plan.roots)
        for one in (joined or {}).values():
            rows.add(one.row, one.split, one.source)
        any_carried = _add_last(rows, last, folder, {run.id for run in outcome.runs})
        earlier = last["about"] if any_carried else {}
        about = {
            "made": time.strftime("%Y-%m-%d"),
            "command": command,
            "earlier": _without(command, [*earlier.get("earlier", ()), earlier.get("command", command)]),
            "preset": plan.preset,
            "tuned": {
                dataset: earlier.get("tuned", {}).get(dataset, {}) | outcome.tuned.get(dataset, {})
                for dataset in earlier.get("tuned", {}) | outcome.tuned
            },
            "study": plan.study,
            "devices": sorted({str(row["scores"]["device"]) for row in rows.rows}),
            "versions": {
                "macl-lab": version("macl-lab"),
                "python": platform.python_version(),
                **{name: version(name) for name in ("torch", "torchvision", "timm", "numpy")},
            },
            "notes": list(dict.fromkeys([*earlier.get("notes", ()), *notes])),
            "joined": rows.sources,
            "failures": [*outcome.failures, *wrong],
        }
        head = json.dumps(about, ensure_ascii=False, indent=1)
        splits = ",\n".join(
            f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(split, ensure_ascii=False)}"
            for name, split in rows.splits.items()
        )
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows.rows)
        text = f'{{"about": {head},\n"splits": {{\n{splits}\n}},\n"runs": [\n{lines}\n]}}\n'
        write_atomic(folder / FILE, text)
    return wrong


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lets no other process write the summary meanwhile: each would lose the rows of the other."""
    path = folder / ".summary.lock"
    while not lock(path):
        time.sleep(WAIT_SECONDS)
    try:
        yield
    finally:
        unlock(path)


def _last(folder: Path) -> dict[str, Any]:
    with suppress(MaclError):  # missing or damaged: all of it can be computed again
        return content(folder / FILE)
    return NOTHING


def _add_runs(
    rows: Rows, runs: Iterable[Run], last: dict[str, Any], roots: Mapping[str, str | None]
) -> list[str]:
    """Add finished runs; returns one line for each that is unreadable or inconsistent."""
    computed = {row["run"]: row for row in last["runs"] if _is_whole(row, last["splits"])}
    splits: dict[tuple[str, str | None, int], dict[str, Any]] = {}  # of data set, place and seed
    wrong = []
    for run in runs:
        if run.id in computed:
            rows.add(computed[run.id], last["splits"][computed[run.id]["split"]])
            continue
        try:
            config = run.config  # an archive may have been moved since it was trained
            config = config.model_copy(update={"data_root": roots[config.dataset]})
            row, same = _row(run), is_of(run, config)
            place = (config.dataset, config.data_root, config.seed)
            if row is not None and same and place not in splits:
                splits[place] = about_split(config, run.scores())
        except (MaclError, OSError, ValueError, KeyError, SafetensorError) as error:
            wrong.append(f"{run.id} cannot be read ({error}): delete its folder and train it again")
            continue
        if not same:
            wrong.append(
                f"{run.id}: {config.dataset} holds other images or labels now than it was tested on; give "
                "the earlier ones, or delete its folder and train it again"
            )
        elif row is None:
            wrong.append(f"{run.id}: its scores are not those of its saved embeddings; train it again")
        else:
            rows.add(row, splits[place])
    return wrong


def _is_whole(row: Mapping[str, Any], splits: Mapping[str, Any]) -> bool:
    """Whether a row was computed here and, for a person's own folder, says which one."""
    return "source" not in row and (row["config"]["dataset"] != "folder" or "place" in splits[row["split"]])


def _add_last(rows: Rows, last: dict[str, Any], folder: Path, done: set[str]) -> bool:
    """Add rows that other calls left in the last summary; returns whether there were any."""
    carried = False
    for row in last["runs"]:
        split = last["splits"][row["split"]]
        if row["run"] in done:
            continue
        if "source" in row:
            carried |= rows.add(row, split, last["about"]["joined"][row["source"]])
        elif (folder / row["run"] / "config.json").exists():
            carried |= rows.add(row, split)
    return carried


def _without(command: str, commands: Iterable[str]) -> list[str]:
    """The commands in order, each once, without this one."""
    return [one for one in dict.fromkeys(commands) if one != command]


def _row(run: Run) -> dict[str, Any] | None:
    """One row of the summary; None if the run's scores are not those of its embeddings."""
    config, scores = run.config, run.scores()
    z, y = run.embeddings()
    recomputed = metrics.evaluate(z, y)
    for name in recomputed.keys() & scores["metrics"].keys():  # an older run may lack some
        saved, value = scores["metrics"][name], recomputed[name]
        if (saved is None) != math.isnan(value) or (saved is not None and abs(saved - value) > 1e-9):
            return None
    defaults = {parameter.name: parameter.default for parameter in spec_of(config.loss).parameters}
    fields = config.model_dump(exclude={"preset", "params", "data_root", "device", "devices", "embed_every"})
    usual = RunConfig.build(config.preset).model_dump()
    changed = {name: value for name, value in fields.items() if value != usual.get(name)}
    per_label = dict(zip(run.classes(), metrics.per_label(z, y).tolist(), strict=True))
    return {
        "run": run.id,
        "preset": config.preset,
        "config": {
            **changed,
            "dataset": config.dataset,
            "loss": config.loss,
            "params": {name: value for name, value in config.params.items() if value != defaults[name]},
            "seed": config.seed,
        },
        "scores": {
            "metrics": rounded(scores["metrics"]),
            "training_s": scores["training_s"],
            "device": scores["device"],
            "label_ap": rounded(per_label),
        },
    }
