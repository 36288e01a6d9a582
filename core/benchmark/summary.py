"""The one file that a benchmark leaves: numbers, configuration, versions and date, and no image."""

import json
import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from core import metrics
from core.benchmark.plan import Plan
from core.benchmark.train import Outcome
from core.data import load
from core.errors import MaclError
from core.files import write_atomic
from core.losses import LOSSES
from core.report import Result
from core.runs import Run, RunConfig

FILE = "summary.json"
TUNED = "τ tuned on validation"
DIGITS = 6
PROJECT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Benchmark:
    """A summary, read.

    Attributes:
        name: Of its folder or file.
        about: `made` (ISO date), `command`, `versions`, `devices`, `notes`, `tuned` (what the search found),
            `failures`.
        results: One per run, as `core.report.summary` takes them.
    """

    name: str
    about: Mapping[str, Any]
    results: tuple[Result, ...]


def write(plan: Plan, outcome: Outcome, folder: Path, command: str, notes: Sequence[str]) -> list[str]:
    """Write `summary.json` into the folder of the benchmark.

    The metrics of every run that the last summary did not hold are computed again from its saved embeddings.

    Returns:
        One line for each run whose saved scores are not those of its embeddings; such a run is left out.
    """
    path = folder / FILE
    last: dict[str, Any] = {"runs": [], "splits": {}}
    with suppress(MaclError):  # none yet, or a damaged one: all of it can be computed again
        last = _read(path)
    known = {row["run"]: row for row in last["runs"]}
    splits = dict(last["splits"])
    rows, wrong = [], []
    for run in outcome.runs:
        config = run.config
        split = _split(config)
        if split not in splits:
            splits[split] = _about_split(config, run.scores())
        if (row := known.get(run.id) or _row(run)) is not None:
            rows.append(row)
        else:
            wrong.append(f"{run.id}: its scores are not those of its saved embeddings; train it again")
    about = {
        "made": time.strftime("%Y-%m-%d"),
        "command": command,
        "preset": plan.preset,
        "tuned": outcome.tuned,
        "study": TUNED if plan.tune else "",
        "devices": sorted({str(row["scores"]["device"]) for row in rows}),
        "versions": {
            "macl-lab": version("macl-lab"),
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "torchvision", "timm", "numpy")},
        },
        "notes": list(notes),
        "failures": [*outcome.failures, *wrong],
    }
    head = json.dumps(about, ensure_ascii=False, indent=1)
    used = {_split(run.config) for run in outcome.runs}
    middle = ",\n".join(f"{json.dumps(name)}: {json.dumps(splits[name])}" for name in splits if name in used)
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    write_atomic(path, f'{{"about": {head},\n"splits": {{\n{middle}\n}},\n"runs": [\n{lines}\n]}}\n')
    return wrong


def read(path: Path) -> Benchmark:
    """A benchmark from its summary file; MaclError if it is none."""
    content = _read(path)
    name = path.parent.name if path.name == FILE else path.stem
    recorded = path.name != FILE
    try:
        results = tuple(
            Result(
                f"benchmark/{name}/{row['run']}",
                RunConfig.build(row["preset"], **row["config"]),
                content["splits"][row["split"]] | row["scores"],
                recorded=recorded,
                study=content["about"]["study"],
                folder=False,
            )
            for row in content["runs"]
        )
    except (KeyError, TypeError) as error:
        raise MaclError(f"{path} is no summary of a benchmark: {error!r} in a run") from error
    return Benchmark(name, content["about"], results)


def recorded() -> list[Benchmark]:
    """The benchmarks that came with the product, by name."""
    root = Path(os.environ.get("MACL_BENCHMARK_ROOT") or PROJECT / "assets" / "benchmarks")
    return [read(path) for path in sorted(root.glob("*.json"))]


def own(run_root: Path) -> list[Path]:
    """The summaries of a person's own benchmarks, by name."""
    return sorted(run_root.glob(f"benchmarks/*/{FILE}"))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise MaclError(f"cannot read the summary {path}: {error}") from error
    if not isinstance(content, dict) or not {"about", "splits", "runs"} <= content.keys():
        raise MaclError(f"{path} is no summary of a benchmark: need about, splits and runs")
    return content


def _split(config: RunConfig) -> str:
    """Name of what all losses share at a seed."""
    return f"{config.dataset} {config.seed}"


def _about_split(config: RunConfig, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of a split, its chance and oracle, and how many of its training images have each label."""
    data = load(config.dataset, config.data_root, image_size=config.image_size, seed=config.seed)
    rows = data.splits["train"]
    counts = np.asarray(data.labels[rows]).sum(0)
    return {
        "images": scores["images"],
        "train_images": len(rows),
        "chance": _rounded(scores["chance"]),
        "oracle": _rounded(scores["oracle"]),
        "label_counts": dict(zip(data.classes, counts.tolist(), strict=True)),
    }


def _row(run: Run) -> dict[str, Any] | None:
    """One line of the summary; None if the run's scores are not those of its embeddings."""
    config, scores = run.config, run.scores()
    z, y = run.embeddings()
    again = metrics.evaluate(z, y)
    for name, value in again.items():
        saved = scores["metrics"][name]
        if (saved is None) != math.isnan(value) or (saved is not None and abs(saved - value) > 1e-9):
            return None
    defaults = {parameter.name: parameter.default for parameter in LOSSES[config.loss].parameters}
    fields = config.model_dump(exclude={"preset", "params", "data_root", "device", "embed_every"})
    usual = RunConfig.build(config.preset).model_dump()
    changed = {name: value for name, value in fields.items() if value != usual[name]}
    per_label = dict(zip(run.classes(), metrics.per_label(z, y).tolist(), strict=True))
    return {
        "run": run.id,
        "split": _split(config),
        "preset": config.preset,
        "config": {
            **changed,
            "dataset": config.dataset,
            "loss": config.loss,
            "params": {name: value for name, value in config.params.items() if value != defaults[name]},
            "seed": config.seed,
        },
        "scores": {
            "metrics": _rounded(scores["metrics"]),
            "training_s": scores["training_s"],
            "device": scores["device"],
            "label_ap": _rounded(per_label),
        },
    }


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {
        name: None if value is None or math.isnan(value) else round(value, DIGITS)
        for name, value in values.items()
    }
