"""The one model of a cell of the comparison; screen, CSV, LaTeX, Markdown and text only format it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.metrics import METRICS
from core.metrics.significance import Comparison
from core.report.paper import published
from core.report.rows import Row

NO_QUERY = "–"  # no test image can query
NOT_COMPUTED = "not computed"  # the run was scored before the metric existed
NAMED = 4  # runs named in a sentence


@dataclass(frozen=True)
class Cell:
    """One metric of one row, in percent.

    Attributes:
        mean: Mean over the seeds; None if there is no value.
        spread: Sample standard deviation; None for one seed.
        seeds: How many seeds have a value, if not all of the row.
        rank: 1 is the best of its block, 2 the second, 0 any other.
        against: Comparison with the baseline of the block.
        published: The value printed in the paper.
        lack: Why there is no value: `NO_QUERY` or `NOT_COMPUTED`; empty if there is one.
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
        """`(n = 2)` if the metric has fewer seeds than the row; else empty."""
        return f"(n = {self.seeds})" if self.seeds else ""

    @property
    def text(self) -> str:
        """Mean ± standard deviation, with the number of seeds if they are fewer."""
        deviation = f"± {self.deviation}" if self.deviation else ""
        return " ".join(part for part in (self.value, deviation, self.fewer) if part)

    @property
    def verdict(self) -> str:
        """The verdict of the comparison with the baseline; empty without one."""
        return self.against.verdict if self.against else ""


def cell(row: Row, key: str) -> Cell:
    """One metric of a row, as every table shows it."""
    printed = published(row).get(key)
    scores_of = _scores(row)
    without = sum(scores.get(key) is None for scores in scores_of)
    if key not in row.values:
        return Cell(lack=lack(scores_of, key), against=row.against.get(key), published=printed)
    mean, spread = row.values[key]
    fewer = len(row.results) - without if without else None
    return Cell(mean, spread, fewer, row.rank.get(key, 0), row.against.get(key), printed)


def cells(row: Row) -> dict[str, Cell]:
    """The cells of a row, by metric."""
    return {key: cell(row, key) for key in METRICS}


def single(scores: Mapping[str, float | None], key: str) -> Cell:
    """The cell for one metric of one run; scores are fractions."""
    value = scores.get(key)
    return Cell(lack=lack([scores], key)) if value is None else Cell(100 * value)


def lack(given: Iterable[Mapping[str, float | None]], key: str) -> str:
    """Why none of these scores has this metric."""
    return NOT_COMPUTED if any(key not in scores for scores in given) else NO_QUERY


def missing(rows: Sequence[Row], keys: Iterable[str] = tuple(METRICS)) -> str:
    """Which metrics some runs of these rows lack, and how to add them; empty if none."""
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
