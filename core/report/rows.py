"""Rows of the comparison: mean ± std over seeds, best and second, chance and oracle."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import MaclError
from core.losses.own import place
from core.metrics import METRICS
from core.metrics.significance import Comparison
from core.runs import PRESETS, Run, RunConfig, origin

Value = tuple[float, float | None]  # mean and sample standard deviation (None for one seed), in percent
ANEW = ", or write it anew from its embeddings with `macl evaluate RUN --write`"
RECORDED = ", recorded"  # suffix of a row that came with the product, if the block has a person's own too


@dataclass(frozen=True)
class Result:
    """What the table needs of a finished run, read once because reading hundreds of folders takes a while.

    Attributes:
        id: Name of the run folder, or of the row of a benchmark.
        config: Configuration of the run.
        scores: `metrics`, `chance`, `oracle`: a fraction by metric, None if no image can query, absent if the
            version that scored the run did not have the metric; and what was noted beside them.
        recorded: Whether it came with the product.
        study: What tells its protocol from that of other runs with the same configuration, in words.
        folder: Whether it has a run folder, with curve and embeddings.
        data: What is known of its images and labels; None: only what the scores say.
    """

    id: str
    config: RunConfig
    scores: dict[str, Any]
    recorded: bool = False
    study: str = ""
    folder: bool = True
    data: origin.Data | None = None


def read(run: Run) -> Result:
    """Configuration and scores of a finished run, with the size of its training split.

    Raises:
        MaclError: If its configuration or its scores cannot be read.
    """
    scores = run.scores()
    if wrong := flaw(scores):
        raise MaclError(f"{run.path / 'scores.json'} is damaged ({wrong}): copy the run again{ANEW}")
    data = origin.of_run(run)
    scores.setdefault("train_images", data.train_images)
    return Result(run.id, run.config, scores, run.recorded, data=data)


def flaw(scores: Mapping[str, Any]) -> str:
    """What is wrong with the scores of a run; empty if nothing.

    Required are metrics, chance and oracle, with numbers or None wherever numbers belong. An absent metric is
    not a flaw: the version that scored the run did not have it.
    """
    for part in ("metrics", "chance", "oracle"):
        values = scores.get(part)
        if not isinstance(values, Mapping):
            return f"no {part}"
        if not any(key in values for key in METRICS):
            return f"no metric in {part}"
        for key in METRICS:
            if not _is_number(values.get(key)):
                return f"{key} in {part} is {values[key]!r}, no number"
    sizes = [name for name in ("images", "train_images", "training_s") if not _is_number(scores.get(name))]
    return f"{sizes[0]} is {scores[sizes[0]]!r}, no number" if sizes else ""


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and math.isfinite(value))


@dataclass
class Row:
    """One line of the table: a loss with its parameters on one data set under one protocol.

    Attributes:
        dataset: Key of the data set, with its folder if only that tells two apart.
        protocol: Preset, and what differs from it.
        method: Title of the loss and the parameters that differ from their defaults; "chance", "oracle".
        loss: Key of the loss; "chance" and "oracle" for the two reference rows.
        seeds: Ascending, one run each.
        values: Mean and standard deviation in percent by metric; a metric that no run has is left out.
        rank: 1 (best of the block) or 2 (second) by metric; reference rows have none.
        results: The runs behind the row, in the order of `seeds`; for a reference row one run per seed.
        name: The method, with "recorded" if the block holds a person's own rows too.
        baseline: Whether the others of its block are compared with this row.
        against: Comparison with the baseline by metric; empty without one.
    """

    dataset: str
    protocol: str
    method: str
    loss: str
    seeds: tuple[int, ...]
    values: dict[str, Value]
    results: tuple[Result, ...]
    rank: dict[str, int] = field(default_factory=dict)
    name: str = ""
    baseline: bool = False
    against: dict[str, Comparison] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = self.name or self.method

    @property
    def reference(self) -> bool:
        """Whether this is the chance or the oracle row."""
        return self.loss in ("chance", "oracle")

    @property
    def recorded(self) -> bool:
        """Whether its results came with the product; a person's own form another row."""
        return not self.reference and all(result.recorded for result in self.results)


def method_name(config: RunConfig) -> str:
    """Title of the loss, with the parameters that differ from its defaults."""
    title = config.spec.title
    changed = [f"{name}={_short(value)}" for name, value in _changed(config)]
    return f"{title} ({', '.join(changed)})" if changed else title


_Changed = tuple[tuple[str, float | bool | str], ...]


def _changed(config: RunConfig) -> _Changed:
    """Name and value of the parameters that differ from the defaults of the loss."""
    return tuple(
        (parameter.name, config.params[parameter.name])
        for parameter in config.spec.parameters
        if config.params.get(parameter.name, parameter.default) != parameter.default
    )


def _place(changed: _Changed) -> list[tuple[str, float, str]]:
    """Sort key of a method among those of its loss: numbers by value, not as text."""
    return [
        (name, value, "") if isinstance(value, int | float) else (name, 0.0, value) for name, value in changed
    ]


def protocol_name(config: RunConfig) -> str:
    """Short name for everything but data set, loss and seed that tells two rows apart."""
    changed = [
        f"{key}={_short(getattr(config, key))}"
        for key in _PROTOCOL_FIELDS
        if getattr(config, key) != {**_DEFAULTS, **PRESETS.get(config.preset, {})}[key]
    ]
    read = [f"{name}={value}" for name, value in config.reading.model_dump(exclude_defaults=True).items()]
    return " ".join([config.preset, *changed, *read])


_NOT_PROTOCOL = {
    *("dataset", "data_root", "skip_broken", "loss", "own", "params", "preset", "seed"),
    *("device", "devices"),  # change the last bits at most
    "embed_every",  # does not change the outcome
    "reading",  # told field by field
}
_PROTOCOL_FIELDS = [key for key in RunConfig.model_fields if key not in _NOT_PROTOCOL]
_DEFAULTS = {key: RunConfig.model_fields[key].default for key in _PROTOCOL_FIELDS}


def dataset_name(config: RunConfig) -> str:
    """Key of the data set; a person's own folders differ by their path."""
    return f"folder {config.place or None}" if config.dataset == "folder" else config.dataset


def summary(results: Iterable[Result], *, dataset: str | None = None, preset: str | None = None) -> list[Row]:
    """Rows of the comparison: runs that differ only in their seed form one row.

    Runs that came with the product and a person's own form two rows, even for the same method.

    Per data set and protocol: the chance row, the losses in the order of `core.losses.own.place`, the oracle
    row. Chance and oracle are means over the block's distinct seeds, since each seed has its own test split.

    Args:
        results: Finished runs; of several with the same configuration and seed one counts: the newest with a
            run folder, else the newest.
        dataset: Only this key.
        preset: Only this preset.
    """
    groups: dict[tuple[str, str], dict[tuple[str, _Changed, bool], dict[int, Result]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    # the name of a run, with which the id of a benchmark's row ends, begins with its time
    for result in sorted(results, key=lambda result: (result.folder, result.id.rpartition("/")[2])):
        config = result.config
        if (dataset and config.dataset != dataset) or (preset and config.preset != preset):
            continue
        key = (config.loss, _changed(config), result.recorded)
        protocol = ", ".join(part for part in (protocol_name(config), result.study) if part)
        groups[dataset_name(config), protocol][key][config.seed] = result
    rows = []
    for (name, protocol), methods in sorted(groups.items()):
        block = []
        for loss, changed, recorded in sorted(
            methods, key=lambda key: (place(key[0]), _place(key[1]), key[2])
        ):
            result_of = methods[loss, changed, recorded]
            method = method_name(next(iter(result_of.values())).config)
            block.append(_row(name, protocol, method, loss, result_of, "metrics"))
        mixed = any(not row.recorded for row in block)
        for row in block:
            if row.recorded and mixed:
                row.name = f"{row.method}{RECORDED}"
        _rank(block)
        by_seed = {seed: result for result_of in methods.values() for seed, result in result_of.items()}
        rows.append(_row(name, protocol, "chance", "chance", by_seed, "chance"))
        rows.extend(block)
        rows.append(_row(name, protocol, "oracle", "oracle", by_seed, "oracle"))
    return rows


def blocks(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows by data set and protocol, in order: the tables of a page or a paper."""
    parts: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        parts[row.dataset, row.protocol].append(row)
    return list(parts.values())


def _row(name: str, protocol: str, method: str, loss: str, by_seed: dict[int, Result], part: str) -> Row:
    seeds = tuple(sorted(by_seed))
    chosen = tuple(by_seed[seed] for seed in seeds)
    return Row(name, protocol, method, loss, seeds, _values(chosen, part), chosen)


def _values(results: Iterable[Result], part: str) -> dict[str, Value]:
    scores = [result.scores[part] for result in results]
    values: dict[str, Value] = {}
    for key in METRICS:
        numbers = [100 * value for score in scores if (value := score.get(key)) is not None]
        if numbers:
            spread = statistics.stdev(numbers) if len(numbers) > 1 else None
            values[key] = (statistics.fmean(numbers), spread)
    return values


def _rank(block: list[Row]) -> None:
    """Mark best and second of each metric by the value shown in the table; equal values share a mark."""
    for key in METRICS:
        printed_values = sorted(
            {round(row.values[key][0], 2) for row in block if key in row.values}, reverse=True
        )
        for row in block:
            if key in row.values and round(row.values[key][0], 2) in printed_values[:2] and len(block) > 1:
                row.rank[key] = printed_values.index(round(row.values[key][0], 2)) + 1


def _short(value: object) -> str:
    """A value as short as possible without making two values look the same."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
