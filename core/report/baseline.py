"""A block of the comparison against one of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.losses import LOSSES
from core.losses.catalog import temperature
from core.metrics import METRICS
from core.metrics.significance import Comparison, compare
from core.report.rows import RECORDED, Result, Row
from core.runs import origin

Pair = tuple[Result, Result]  # baseline and method with one seed


def pin(block: Sequence[Row], baseline: Row) -> list[Row]:
    """The rows of a block with `against` filled: each method against the baseline, metric by metric.

    A seed counts where both have it, with the same test images. Chance and oracle are compared with nothing.

    Args:
        block: Rows of one data set and protocol.
        baseline: One of them.

    Raises:
        ValueError: The baseline is none of the rows, or chance or oracle.
    """
    if baseline.reference or not any(row is baseline for row in block):
        raise ValueError(f"need a method of the block as its baseline, got {baseline.name}")
    others = [row for row in block if not row.reference and row is not baseline]
    against: list[dict[str, Comparison]] = [{} for _ in others]
    for key in METRICS:
        pairs = [_pairs(baseline, row, key) for row in others]
        found = compare(
            [[_difference(pair, key) for pair in row.kept] for row in pairs],
            [_ratio(row.kept) for row in pairs],
            [[ours.config.seed for ours, _ in row.kept] for row in pairs],
        )
        for comparisons, comparison, row in zip(against, found, pairs, strict=True):
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
    """The row of that name, its parameters by name or symbol; or of that key of a loss, with its defaults.

    Else the only one of its loss, if nothing but the temperature differs, such as its tuned variant in
    another study; None if the block has none.

    Args:
        block: Rows of one data set and protocol.
        name: As the table or the page names it, or the key of a loss.
        variant: Take one of another temperature too.
    """
    loss, changed = _parsed(name)
    alike = [row for row in block if row.loss == loss and (row.recorded or not name.endswith(RECORDED))]
    exact = [row for row in alike if _parsed(row.method)[1] == changed]
    if exact:
        return min(exact, key=lambda row: row.recorded)
    if not variant or len(alike) != 1:
        return None
    tuned = temperature(alike[0].loss, alike[0].results[0].config.params)
    both = [dict(parameters) for parameters in (changed, _parsed(alike[0].method)[1])]
    for parameters in both:
        parameters.pop(tuned, None)
    return alike[0] if both[0] == both[1] else None


def _parsed(name: str) -> tuple[str, dict[str, str]]:
    """Key of the loss and its changed parameters, as text; the key is empty where there is no such loss."""
    title, bracket, changed = name.removesuffix(RECORDED).partition(" (")
    keys = [key for key, spec in LOSSES.items() if title == spec.title or name == key]
    loss = keys[0] if keys else ""
    if not loss or (bracket and not changed.endswith(")")):
        return "", {}
    names = {parameter.symbol: parameter.name for parameter in LOSSES[loss].parameters if parameter.symbol}
    parts = [part.partition("=") for part in changed.removesuffix(")").split(", ") if part]
    return loss, {names.get(key, key): value for key, _, value in parts}


def common(baseline: Row, row: Row) -> list[Pair]:
    """The results of two rows by the seeds that both have, whatever their test images."""
    theirs = {result.config.seed: result for result in row.results}
    return [
        (result, theirs[result.config.seed]) for result in baseline.results if result.config.seed in theirs
    ]


def moved(block: Sequence[Row]) -> list[int]:
    """The seeds of a block at which its rows have different test images: the data changed between them."""
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
    found = _Pairs([], [], [], [])
    for ours, theirs in common(baseline, row):
        if not one_split(ours, theirs):
            found.moved.append(ours.config.seed)
        elif any(key not in result.scores["metrics"] for result in (ours, theirs)):
            found.missing.append(ours.config.seed)
        elif any(result.scores["metrics"][key] is None for result in (ours, theirs)):
            found.empty.append(ours.config.seed)
        else:
            found.kept.append((ours, theirs))
    return found


def one_split(a: Result, b: Result) -> bool:
    """Whether two results stand on the same test images."""
    ours, theirs = (r.data or origin.of_scores(r.config.dataset, r.scores) for r in (a, b))
    return origin.compare(ours, theirs).split


def _difference(pair: Pair, key: str) -> float:
    """Method − baseline in percentage points."""
    ours, theirs = (result.scores["metrics"][key] for result in pair)
    return float(100 * (theirs - ours))


def _ratio(pairs: Sequence[Pair]) -> float:
    """n_test / n_train, mean over the seeds; a paper-like 20 to 70 where the sizes are not known."""
    known = [
        ours.scores["images"] / ours.scores["train_images"]
        for ours, _ in pairs
        if ours.scores.get("images") and ours.scores.get("train_images")
    ]
    return sum(known) / len(known) if known else 2 / 7
