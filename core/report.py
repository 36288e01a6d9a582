"""Tables of finished runs: mean ± std over seeds, best and second, chance and oracle; CSV, LaTeX and text."""

import csv
import io
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from core.losses import LOSSES
from core.metrics import METRICS
from core.runs import PRESETS, Run, RunConfig

Value = tuple[float, float | None]  # mean and sample standard deviation (None for one seed), in percent


@dataclass(frozen=True)
class Result:
    """What the table needs of a finished run, read once: reading hundreds of folders takes a while.

    Attributes:
        id: Name of the run folder, or of the line of a benchmark.
        config: Of the run.
        scores: `metrics`, `chance`, `oracle`: the seven keys each, fractions; and what was noted beside them.
        recorded: It came with the product.
        study: What tells its protocol from that of other runs with such a configuration, in words.
        folder: There is a run folder behind it, with curve and embeddings.
    """

    id: str
    config: RunConfig
    scores: dict[str, Any]
    recorded: bool = False
    study: str = ""
    folder: bool = True


def read(run: Run) -> Result:
    """Configuration and scores of a finished run; MaclError if its configuration cannot be read."""
    return Result(run.id, run.config, run.scores(), run.recorded)


@dataclass
class Row:
    """One line of the table: a loss with its parameters on one data set under one protocol.

    Attributes:
        dataset: Key of the data set; with its folder where that alone tells two apart.
        protocol: Preset, and what differs from it.
        method: Title of the loss and the parameters that differ from their defaults; "chance", "oracle".
        loss: Key; "chance" and "oracle" for the two reference rows.
        seeds: Ascending, one run each.
        values: Metric to mean and standard deviation in percent; a metric that no run has is left out.
        rank: Metric to 1 (best of the block) or 2 (second); reference rows have none.
        results: The runs behind the row, in the order of `seeds`; for a reference row one run per seed.
    """

    dataset: str
    protocol: str
    method: str
    loss: str
    seeds: tuple[int, ...]
    values: dict[str, Value]
    results: tuple[Result, ...]
    rank: dict[str, int] = field(default_factory=dict)

    @property
    def reference(self) -> bool:
        """Whether this is the chance or the oracle row."""
        return self.loss not in LOSSES

    @property
    def recorded(self) -> bool:
        """Whether its results came with the product; a person's own are another row."""
        return not self.reference and all(result.recorded for result in self.results)


def method_name(config: RunConfig) -> str:
    """Title of the loss, with the parameters that differ from its defaults."""
    spec = LOSSES[config.loss]
    changed = [
        f"{parameter.name}={_short(config.params[parameter.name])}"
        for parameter in spec.parameters
        if config.params.get(parameter.name, parameter.default) != parameter.default
    ]
    return f"{spec.title} ({', '.join(changed)})" if changed else spec.title


def protocol_name(config: RunConfig) -> str:
    """Everything but data set, loss and seed that tells two rows apart, in short."""
    changed = [
        f"{key}={_short(getattr(config, key))}"
        for key in _PROTOCOL_FIELDS
        if getattr(config, key) != {**_DEFAULTS, **PRESETS.get(config.preset, {})}[key]
    ]
    return " ".join([config.preset, *changed])


_NOT_PROTOCOL = {"dataset", "data_root", "skip_broken", "loss", "params", "preset", "seed", "device"}
_PROTOCOL_FIELDS = [key for key in RunConfig.model_fields if key not in _NOT_PROTOCOL]
_DEFAULTS = {key: RunConfig.model_fields[key].default for key in _PROTOCOL_FIELDS}


def dataset_name(config: RunConfig) -> str:
    """Key of the data set; a person's own folders differ by their path."""
    return f"folder {config.data_root}" if config.dataset == "folder" else config.dataset


def summary(results: Iterable[Result], *, dataset: str | None = None, preset: str | None = None) -> list[Row]:
    """Rows of the comparison: runs that differ only in their seed are one row.

    What came with the product and what a person has trained are two rows, even of the same method.

    Per data set and protocol: the chance row, the losses in the order of `LOSSES`, the oracle row. Chance and
    oracle are means over the distinct seeds of the block, since each seed has its own test split.

    Args:
        results: Finished runs; of several with the same configuration and seed the newest counts.
        dataset: Only this key.
        preset: Only this preset.
    """
    groups: dict[tuple[str, str], dict[tuple[str, str, bool], dict[int, Result]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for result in sorted(results, key=lambda result: result.id):
        config = result.config
        if (dataset and config.dataset != dataset) or (preset and config.preset != preset):
            continue
        key = (config.loss, method_name(config), result.recorded)
        protocol = ", ".join(part for part in (protocol_name(config), result.study) if part)
        groups[dataset_name(config), protocol][key][config.seed] = result
    rows = []
    for (name, protocol), methods in sorted(groups.items()):
        block = [
            _row(name, protocol, method, loss, found, "metrics")
            for (loss, method, _), found in methods.items()
        ]
        order = list(LOSSES)
        block.sort(key=lambda row: (order.index(row.loss), row.method, row.recorded))
        _rank(block)
        by_seed = {seed: result for found in methods.values() for seed, result in found.items()}
        rows.append(_row(name, protocol, "chance", "chance", by_seed, "chance"))
        rows.extend(block)
        rows.append(_row(name, protocol, "oracle", "oracle", by_seed, "oracle"))
    return rows


def blocks(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows by data set and protocol, in their order: the tables of a page or a paper."""
    parts: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        parts[row.dataset, row.protocol].append(row)
    return list(parts.values())


def _row(name: str, protocol: str, method: str, loss: str, found: dict[int, Result], part: str) -> Row:
    seeds = tuple(sorted(found))
    chosen = tuple(found[seed] for seed in seeds)
    return Row(name, protocol, method, loss, seeds, _values(chosen, part), chosen)


def _values(results: Iterable[Result], part: str) -> dict[str, Value]:
    scores = [result.scores[part] for result in results]
    values: dict[str, Value] = {}
    for key in METRICS:
        numbers = [100 * score[key] for score in scores if score[key] is not None]
        if numbers:
            spread = statistics.stdev(numbers) if len(numbers) > 1 else None
            values[key] = (statistics.fmean(numbers), spread)
    return values


def _rank(block: list[Row]) -> None:
    """Mark best and second of each metric by the value that the table shows; equal values share a mark."""
    for key in METRICS:
        shown = sorted({round(row.values[key][0], 2) for row in block if key in row.values}, reverse=True)
        for row in block:
            if key in row.values and round(row.values[key][0], 2) in shown[:2] and len(block) > 1:
                row.rank[key] = shown.index(round(row.values[key][0], 2)) + 1


def to_csv(rows: list[Row]) -> str:
    """One line per row; mean and std of every metric in percent with two decimals."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    head = ["dataset", "protocol", "method", "seeds"]
    writer.writerow(head + [f"{key}{part}" for key in METRICS for part in ("", "_std")])
    for row in rows:
        cells = [row.dataset, row.protocol, row.method, " ".join(map(str, row.seeds))]
        for key in METRICS:
            mean, spread = row.values.get(key, (None, None))
            cells += ["" if mean is None else f"{mean:.2f}", "" if spread is None else f"{spread:.2f}"]
        writer.writerow([_harmless(cell) for cell in cells])
    return file.getvalue()


def to_latex(rows: list[Row]) -> str:
    """A booktabs table per data set and protocol; best bold, second underlined."""
    parts = []
    for block in blocks(rows):
        seeds = sorted({seed for row in block for seed in row.seeds})
        lines = [
            f"% {' '.join(block[0].dataset.split())}, {block[0].protocol}; percent, mean and standard "
            f"deviation over seeds {', '.join(map(str, seeds))}; needs booktabs",
            r"\begin{tabular}{l" + "r" * len(METRICS) + "}",
            r"\toprule",
            " & ".join(["Method", *(_tex(title) for title in METRICS.values())]) + r" \\",
            r"\midrule",
        ]
        for row in block:
            cells = [_tex(row.method)]
            for key in METRICS:
                text = cell(row, key).replace("±", r"$\pm$").replace("–", "--")
                cells.append(
                    {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(row.rank.get(key, 0), text)
                )
            lines.append(" & ".join(cells) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def to_text(rows: list[Row]) -> str:
    """Aligned columns for a terminal; * best, ' second."""
    head = ["data set", "protocol", "method", "seeds", *METRICS.values()]
    lines = [head]
    for row in rows:
        marks = {1: "*", 2: "'"}
        cells = [cell(row, key) + marks.get(row.rank.get(key, 0), " ") for key in METRICS]
        lines.append([row.dataset, row.protocol, row.method, str(len(row.seeds)), *cells])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    texts = []
    for line in lines:
        left = [cell.ljust(width) for cell, width in zip(line[:4], widths[:4], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(line[4:], widths[4:], strict=True)]
        texts.append("  ".join(left + right).rstrip())
    return "\n".join(texts)


def to_markdown(rows: list[Row]) -> str:
    """A table per data set and protocol; best bold, second in italics."""
    parts = []
    for block in blocks(rows):
        lines = [f"{block[0].dataset}, {block[0].protocol}", ""]
        lines.append("| " + " | ".join(["method", *METRICS.values()]) + " |")
        lines.append("|---" + "|---:" * len(METRICS) + "|")
        for row in block:
            marks = {1: "**", 2: "*"}
            cells = [f"{(m := marks.get(row.rank.get(key, 0), ''))}{cell(row, key)}{m}" for key in METRICS]
            method = " ".join(row.method.split()).replace("|", "\\|")
            lines.append("| " + " | ".join([method, *cells]) + " |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def cell(row: Row, key: str) -> str:
    """What a table shows: mean ± standard deviation in percent, two decimals; the mean alone for one seed."""
    if key not in row.values:
        return "–"
    mean, spread = row.values[key]
    return f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.2f}"


def _harmless(cell: str) -> str:
    """One line; a cell that a spreadsheet would take for a formula gets a leading apostrophe."""
    cell = " ".join(cell.split())
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") and not _number(cell) else cell


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def _tex(text: str) -> str:
    return "".join(rf"\{c}" if c in "&%$#_{}" else _TEX.get(c, c) for c in text)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
