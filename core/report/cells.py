"""One model of a cell of the comparison; screen, CSV, LaTeX, Markdown and text only write it down."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.metrics import METRICS
from core.metrics.significance import Comparison
from core.report.paper import published
from core.report.rows import Row

NO_QUERY = "–"  # no test image can query
NOT_COMPUTED = "not computed"  # the run was scored before there was the metric
NAMED = 4  # runs in a sentence


@dataclass(frozen=True)
class Cell:
    """One metric of one row, in percent.

    Attributes:
        mean: Over the seeds; None where there is no value.
        spread: Sample standard deviation; None for one seed.
        seeds: How many have a value, where the row has more.
        rank: 1 is the best of its block, 2 the second, 0 any other.
        against: Comparison with the baseline of the block.
        published: What the paper prints.
        lack: Why there is no value: `NO_QUERY` or `NOT_COMPUTED`; empty where there is one.
    """

    mean: float | None = None
    spread: float | None = None
    seeds: int | None = None
    rank: int = 0
    against: Comparison | None = None
    published: float | None = None
    lack: str = ""

    @property
    def value(self) -> str:
        """The mean with two decimals, or why there is none."""
        return self.lack if self.mean is None else f"{self.mean:.2f}"

    @property
    def deviation(self) -> str:
        """The standard deviation with two decimals; empty without one."""
        return "" if self.spread is None else f"{self.spread:.2f}"

    @property
    def fewer(self) -> str:
        """`(n = 2)` where the metric has fewer seeds than the row; else empty."""
        return f"(n = {self.seeds})" if self.seeds else ""

    @property
    def text(self) -> str:
        """Mean ± standard deviation, with the number of seeds where these are fewer."""
        deviation = f"± {self.deviation}" if self.deviation else ""
        return " ".join(part for part in (self.value, deviation, self.fewer) if part)

    @property
    def verdict(self) -> str:
        """Of the comparison with the baseline; empty without one."""
        return self.against.verdict if self.against else ""


def cell(row: Row, key: str) -> Cell:
    """What every table shows of a metric of a row."""
    known = published(row).get(key)
    given = _scores(row)
    lacking = sum(scores.get(key) is None for scores in given)
    if key not in row.values:
        return Cell(lack=lack(given, key), against=row.against.get(key), published=known)
    mean, spread = row.values[key]
    fewer = len(row.results) - lacking if lacking else None
    return Cell(mean, spread, fewer, row.rank.get(key, 0), row.against.get(key), known)


def cells(row: Row) -> dict[str, Cell]:
    """The cells of a line, by metric."""
    return {key: cell(row, key) for key in METRICS}


def single(scores: Mapping[str, float | None], key: str) -> Cell:
    """The cell of one run's metric, given as a fraction."""
    value = scores.get(key)
    return Cell(lack=lack([scores], key)) if value is None else Cell(100 * value)


def lack(given: Iterable[Mapping[str, float | None]], key: str) -> str:
    """Why none of these scores has a value."""
    return NOT_COMPUTED if any(key not in scores for scores in given) else NO_QUERY


def missing(rows: Sequence[Row], keys: Iterable[str] = tuple(METRICS)) -> str:
    """Which metrics runs of these rows were scored without, and how to add them; empty if none."""
    lacking = {
        key: {
            result.id: result for row in rows for result in row.results if key not in result.scores["metrics"]
        }
        for key in keys
    }
    titles = [METRICS[key] for key, results in lacking.items() if results]
    if not titles:
        return ""
    names = list(dict.fromkeys(r.id for results in lacking.values() for r in results.values() if r.folder))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    text = f"Not computed when these runs were scored: {', '.join(titles)}."
    return f"{text} macl evaluate RUN --write adds it to {', '.join(names[:NAMED])}{more}." if names else text


def _scores(row: Row) -> list[Mapping[str, float | None]]:
    part = row.loss if row.reference else "metrics"
    return [result.scores[part] for result in row.results if part in result.scores]
