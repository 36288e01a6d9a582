"""Comparison of a block of rows with one of them, the baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from core.losses import LossSpec, spec_of
from core.losses.make import temperature
from core.metrics import METRICS
from core.metrics.significance import Comparison, compare
from core.report.rows import RECORDED, Result, Row
from core.runs import origin

Pair = tuple[Result, Result]  # baseline and method with one seed


def pin(block: Sequence[Row], baseline: Row) -> list[Row]:
    """The rows of a block with `against` filled: each method against the baseline, metric by metric.

    A seed counts if both have it with the same test images. Chance and oracle are not compared.

    Args:
        block: Rows of one data set and protocol.
        baseline: One of them.

    Raises:
        ValueError: The baseline is not in the block, or is chance or oracle.
    """
    if baseline.reference or not any(row is baseline for row in block):
        raise ValueError(f"need a method of the block as its baseline, got {baseline.name}")
    others = [row for row in block if not row.reference and row is not baseline]
    against: list[dict[str, Comparison]] = [{} for _ in others]
    for key in METRICS:
        pairs = [_pairs(baseline, row, key) for row in others]
        compared = compare(
            [[_difference(pair, key) for pair in row.kept] for row in pairs],
            [_ratio(row.kept) for row in pairs],
            [[ours.config.seed for ours, _ in row.kept] for row in pairs],
        )
        for comparisons, comparison, row in zip(against, compared, pairs, strict=True):
            comparisons[key] = replace(
                comparison, moved=tuple(row.moved), empty=tuple(row.empty), missing=tuple(row.missing)
            )
    filled = iter(against)
    return [
        replace(row, baseline=row is baseline)
        if row.reference or row is baseline
        else replace(row, against=next(filled))
        for row in block
    ]


def named(block: Sequence[Row], name: str, variant: bool = True) -> Row | None:
    """The row of this name, its parameters by name or symbol; or of this key of a loss, with its defaults.

    Failing that, the only row of the loss if just the temperature differs, such as its tuned variant in
    another study; None if there is none.

    Args:
        block: Rows of one data set and protocol.
        name: Name as in the table or on the page, or the key of a loss.
        variant: Accept a row with another temperature too.
    """
    specs = {row.loss: spec_of(row.loss) for row in block if not row.reference}
    loss, changed = _parsed(name, specs)
    rows_of_loss = [
        row for row in block if row.loss == loss and (row.recorded or not name.endswith(RECORDED))
    ]
    exact = [row for row in rows_of_loss if _parsed(row.method, specs)[1] == changed]
    if exact:
        return min(exact, key=lambda row: row.recorded)
    if not variant or len(rows_of_loss) != 1:
        return None
    tuned = temperature(rows_of_loss[0].loss, rows_of_loss[0].results[0].config.params)
    parameter_sets = [dict(parameters) for parameters in (changed, _parsed(rows_of_loss[0].method, specs)[1])]
    for parameters in parameter_sets:
        parameters.pop(tuned, None)
    return rows_of_loss[0] if parameter_sets[0] == parameter_sets[1] else None


def _parsed(name: str, specs: Mapping[str, LossSpec]) -> tuple[str, dict[str, str]]:
    """Key of the loss and its changed parameters, as text; the key is empty if there is no such loss."""
    text = name.removesuffix(RECORDED)
    if name in specs:
        return name, {}
    fitting = [key for key, spec in specs.items() if f"{text} (".startswith(f"{spec.title} (")]
    if not fitting:
        return "", {}
    loss = max(fitting, key=lambda key: len(specs[key].title))  # "margin (2)" is not "margin" with a "2"
    changed = text.removeprefix(specs[loss].title).removeprefix(" (")
    if changed and not changed.endswith(")"):
        return "", {}
    names = {p.symbol: p.name for p in specs[loss].parameters if p.symbol}
    parts = [part.partition("=") for part in changed.removesuffix(")").split(", ") if part]
    return loss, {names.get(key, key): value for key, _, value in parts}


def common(baseline: Row, row: Row) -> list[Pair]:
    """Pairs of results at the seeds that both rows have, whatever their test images."""
    theirs = {result.config.seed: result for result in row.results}
    return [
        (result, theirs[result.config.seed]) for result in baseline.results if result.config.seed in theirs
    ]


def moved(block: Sequence[Row]) -> list[int]:
    """Seeds at which the rows of a block have different test images: the data changed between them."""
    first: dict[int, Result] = {}
    results = [result for row in block if not row.reference for result in row.results]
    pairs = [(first.setdefault(result.config.seed, result), result) for result in results]
    return sorted({a.config.seed for a, b in pairs if a is not b and not one_split(a, b)})


@dataclass(frozen=True)
class _Pairs:
    """The pairs of two rows that count for a metric, and the common seeds that do not."""

    kept: list[Pair]
    moved: list[int]
    empty: list[int]
    missing: list[int]


def _pairs(baseline: Row, row: Row, key: str) -> _Pairs:
    pairs = _Pairs([], [], [], [])
    for ours, theirs in common(baseline, row):
        if not one_split(ours, theirs):
            pairs.moved.append(ours.config.seed)
        elif any(key not in result.scores["metrics"] for result in (ours, theirs)):
            pairs.missing.append(ours.config.seed)
        elif any(result.scores["metrics"][key] is None for result in (ours, theirs)):
            pairs.empty.append(ours.config.seed)
        else:
            pairs.kept.append((ours, theirs))
    return pairs


def one_split(a: Result, b: Result) -> bool:
    """Whether two results have the same test images."""
    ours, theirs = (r.data or origin.of_scores(r.config.dataset, r.scores) for r in (a, b))
    return origin.compare(ours, theirs).split


def _difference(pair: Pair, key: str) -> float:
    """Method − baseline in percentage points."""
    ours, theirs = (result.scores["metrics"][key] for result in pair)
    return float(100 * (theirs - ours))


def _ratio(pairs: Sequence[Pair]) -> float:
    """n_test / n_train, mean over the seeds; 20 to 70, as in the paper, if the sizes are unknown."""
    ratios = [
        ours.scores["images"] / ours.scores["train_images"]
        for ours, _ in pairs
        if ours.scores.get("images") and ours.scores.get("train_images")
    ]
    return sum(ratios) / len(ratios) if ratios else 2 / 7
