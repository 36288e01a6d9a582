"""The one file that a benchmark leaves: numbers, configuration, versions and date, and no image."""

import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from core import metrics
from core.benchmark.files import FILE, content
from core.benchmark.join import Joined, label_counts
from core.benchmark.plan import Plan, split_name
from core.benchmark.train import Outcome
from core.data import load
from core.errors import MaclError
from core.files import write_atomic
from core.losses import LOSSES
from core.runs import Run, RunConfig

TUNED = "τ tuned on validation"
DIGITS = 6


def write(
    plan: Plan,
    outcome: Outcome,
    folder: Path,
    command: str,
    notes: Sequence[str],
    joined: Mapping[str, Joined] | None = None,
) -> list[str]:
    """Write `summary.json` into the folder of the benchmark.

    The metrics of every run that the last summary did not hold are computed again from its saved embeddings.
    Rows that were joined stand as they came; `about` says where from.

    Returns:
        One line for each run whose saved scores are not those of its embeddings; such a run is left out.
    """
    path = folder / FILE
    last: dict[str, Any] = {"runs": [], "splits": {}}
    with suppress(MaclError):  # none yet, or a damaged one: all of it can be computed again
        last = content(path)
    known = {row["run"]: row for row in last["runs"]}
    splits = dict(last["splits"])
    rows, wrong = [], []
    for run in outcome.runs:
        config = run.config
        split = split_name(config)
        if split not in splits:
            splits[split] = _about_split(config, run.scores())
        if (row := known.get(run.id) or _row(run)) is not None:
            rows.append(row)
        else:
            wrong.append(f"{run.id}: its scores are not those of its saved embeddings; train it again")
    sources: list[dict[str, Any]] = []
    for one in [joined[name] for name in outcome.joined] if joined else []:
        if one.source not in sources:
            sources.append(one.source)
        rows.append(one.row | {"source": sources.index(one.source)})
        splits.setdefault(one.row["split"], one.split)
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
        "joined": sources,
        "failures": [*outcome.failures, *wrong],
    }
    head = json.dumps(about, ensure_ascii=False, indent=1)
    used = {row["split"] for row in rows}
    middle = ",\n".join(f"{json.dumps(name)}: {json.dumps(splits[name])}" for name in splits if name in used)
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    write_atomic(path, f'{{"about": {head},\n"splits": {{\n{middle}\n}},\n"runs": [\n{lines}\n]}}\n')
    return wrong


def _about_split(config: RunConfig, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of a split, its chance and oracle, and how many of its training images have each label."""
    data = load(config.dataset, config.data_root, image_size=config.image_size, seed=config.seed)
    return {
        "images": scores["images"],
        "train_images": len(data.splits["train"]),
        "chance": _rounded(scores["chance"]),
        "oracle": _rounded(scores["oracle"]),
        "label_counts": label_counts(data),
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
        "split": split_name(config),
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
