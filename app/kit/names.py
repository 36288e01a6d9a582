"""Names for people: runs, data sets, presets and states read the same on every page."""

from collections import Counter
from collections.abc import Sequence

from core.data import DATASETS
from core.errors import MaclError
from core.report import method_name
from core.runs import Run, RunConfig

PRESET_TITLES = {
    "instant": "Frozen ImageNet features, only the head is trained: seconds.",
    "quick": "ResNet-18 from scratch at 96 px: minutes.",
    "paper": "ResNet-18 from ImageNet at 256 px, 100 epochs as in the paper: a GPU's work.",
}
STATES = (
    "queued",
    "running",
    "stopping",
    "stopped",
    "finished",
    "failed",
    "interrupted",
    "recorded",
)


def run_label(run: Run) -> str:
    """The person's own name for a run, else method, data set, preset and seed."""
    title = run.title
    if title:
        return title
    try:
        return config_label(run.config)
    except MaclError:  # a folder that an older or newer version wrote
        return run.id


def config_label(config: RunConfig) -> str:
    """Method with its changed parameters, data set, preset and seed."""
    return f"{method(config)} · {dataset_title(config.dataset)} · {config.preset} · seed {config.seed}"


def method(config: RunConfig) -> str:
    """Title of the loss with the parameters that differ from their defaults, by their symbols."""
    name, title = method_name(config), config.spec.title
    changed = name.removeprefix(title).removeprefix(" (").removesuffix(")")
    if not changed:
        return name
    symbols = {p.name: p.symbol for p in config.spec.parameters if p.symbol}
    parts = [part.partition("=") for part in changed.split(", ")]
    return f"{title} ({', '.join(f'{symbols.get(key, key)}={value}' for key, _, value in parts)})"


def dataset_title(name: str) -> str:
    """Title of a data set, short enough for a table cell."""
    return DATASETS[name].title if name in DATASETS else name


def state_word(run: Run, state: str | None = None) -> str:
    """One of `STATES`; `state` spares a second look at the folder where it is known already."""
    if run.recorded:
        return "recorded"
    state = state or run.state
    return "stopping" if state == "running" and (run.path / "stop").exists() else state


def short_labels(runs: list[Run]) -> list[str]:
    """Labels without what all of these runs have in common, no two alike."""
    if len(runs) < 2:
        return [run_label(run) for run in runs]
    parts = []
    for run in runs:
        config = run.config
        parts.append((method(config), dataset_title(config.dataset), config.preset, f"seed {config.seed}"))
    differs = [len({row[i] for row in parts}) > 1 for i in range(4)]
    differs[0] = True
    labels = [
        run.title or " · ".join(part for part, keep in zip(row, differs, strict=True) if keep)
        for run, row in zip(runs, parts, strict=True)
    ]
    return told_apart(labels, runs)


def told_apart(labels: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """The labels of these runs, no two alike: equal ones get when they started, then the folder's name."""
    # a copied folder has the time of the first
    return unique(labels, [started(run) for run in runs], [run.id for run in runs])


def unique(labels: Sequence[str], *more: Sequence[str]) -> list[str]:
    """Labels with what tells them apart: of those that are equal the first of `more`, and so on.

    A list from which a person chooses takes each of several equal entries for the last of them.
    """
    for texts in more:
        seen = Counter(labels)
        labels = [
            label if seen[label] == 1 else f"{label} · {text}"
            for label, text in zip(labels, texts, strict=True)
        ]
    return list(labels)


def started(run: Run) -> str:
    """When the run was created, to the second, as its folder name says; the folder name for any other."""
    return created(run) or run.id


def created(run: Run) -> str:
    """When the run was created, to the second; empty where its folder name does not say."""
    stamp = run.id[:15]
    if len(stamp) == 15 and stamp[8] == "-" and stamp.replace("-", "").isdigit():
        return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}:{stamp[13:]}"
    return ""
