"""Tables of finished runs: mean ± std over seeds, best and second, chance and oracle; CSV, LaTeX and text."""

import csv
import io
import statistics
from collections import defaultdict
from dataclasses import dataclass, field

from core.losses import LOSSES
from core.metrics import METRICS
from core.runs import PRESETS, Run, RunConfig

Value = tuple[float, float | None]  # mean and sample standard deviation (None for one seed), in percent


@dataclass
class Row:
    """One line of the table: a loss with its parameters on one data set under one protocol."""

    dataset: str
    protocol: str
    method: str
    loss: str  # key; "chance" and "oracle" for the two reference rows
    seeds: tuple[int, ...]
    values: dict[str, Value]
    rank: dict[str, int] = field(default_factory=dict)  # metric -> 1 best, 2 second
    runs: tuple[str, ...] = ()


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


def summary(finished: list[Run], *, dataset: str | None = None, preset: str | None = None) -> list[Row]:
    """Rows of the comparison: runs that differ only in their seed are one row.

    Per data set and protocol: the chance row, the losses in the order of `LOSSES`, the oracle row. Chance and
    oracle are means over the distinct seeds of the block, since each seed has its own test split.
    """
    groups: dict[tuple[str, str], dict[tuple[str, str], dict[int, Run]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for run in sorted(finished, key=lambda run: run.id):
        config = run.config
        if (dataset and config.dataset != dataset) or (preset and config.preset != preset):
            continue
        key = (config.loss, method_name(config))
        groups[config.dataset, protocol_name(config)][key][config.seed] = run  # the newest of a seed counts
    rows = []
    for (name, protocol), methods in sorted(groups.items()):
        block = [
            Row(name, protocol, method, loss, tuple(sorted(found)), _values(found, "metrics"),
                runs=tuple(found[seed].id for seed in sorted(found)))
            for (loss, method), found in methods.items()
        ]  # fmt: skip
        order = list(LOSSES)
        block.sort(key=lambda row: (order.index(row.loss), row.method))
        _rank(block)
        by_seed = {seed: run for found in methods.values() for seed, run in found.items()}
        seeds = tuple(sorted(by_seed))
        rows.append(Row(name, protocol, "chance", "chance", seeds, _values(by_seed, "chance")))
        rows.extend(block)
        rows.append(Row(name, protocol, "oracle", "oracle", seeds, _values(by_seed, "oracle")))
    return rows


def _values(found: dict[int, Run], part: str) -> dict[str, Value]:
    scores = [run.scores()[part] for run in found.values()]
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
    blocks: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        blocks[row.dataset, row.protocol].append(row)
    parts = []
    for (name, protocol), block in blocks.items():
        lines = [
            f"% {_tex(name)}, {_tex(protocol)}",
            r"\begin{tabular}{l" + "r" * len(METRICS) + "}",
            r"\toprule",
            " & ".join(["Method", *(_tex(title) for title in METRICS.values())]) + r" \\",
            r"\midrule",
        ]
        for row in block:
            cells = [_tex(row.method)]
            for key in METRICS:
                text = _cell(row, key).replace("±", r"$\pm$").replace("–", "--")
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
        cells = [_cell(row, key) + marks.get(row.rank.get(key, 0), " ") for key in METRICS]
        lines.append([row.dataset, row.protocol, row.method, str(len(row.seeds)), *cells])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    texts = []
    for line in lines:
        left = [cell.ljust(width) for cell, width in zip(line[:4], widths[:4], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(line[4:], widths[4:], strict=True)]
        texts.append("  ".join(left + right).rstrip())
    return "\n".join(texts)


def _cell(row: Row, key: str) -> str:
    if key not in row.values:
        return "–"
    mean, spread = row.values[key]
    return f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.2f}"


def _harmless(cell: str) -> str:
    """A cell that a spreadsheet would take for a formula gets a leading apostrophe."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not _number(cell) else cell


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def _tex(text: str) -> str:
    return "".join(rf"\{c}" if c in "&%$#_{}" else _TEX.get(c, c) for c in text)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
