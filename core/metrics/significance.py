"""Whether two losses differ: the corrected resampled t-test over seeds, Holm over the comparisons.

The unit is the seed: split and initialisation together. Random splits of one data set share most of their
images, so the usual paired t-test finds far too many differences; the corrected one (Nadeau and Bengio,
Inference for the Generalization Error, Machine Learning 52, 2003) widens the variance by n_test / n_train.
Queries are not a valid unit: over them, two initialisations of the same loss often differ "significantly".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.05  # of the whole family of comparisons
ENOUGH = 3  # seeds; with fewer nothing is known about the spread of a difference
ROUNDING = 1e-9  # differences that agree to this count as equal

Verdict = Literal["better", "worse", "same", "unknown"]


@dataclass(frozen=True)
class Estimate:
    """Mean difference with its 95 % interval and two-sided p-value.

    Attributes:
        mean: Mean of the differences, in their unit; nan without any.
        low: Lower end of the interval of this comparison alone; nan below `ENOUGH` seeds, like the next two.
        high: Upper end.
        p: p-value of this comparison alone.
    """

    mean: float
    low: float
    high: float
    p: float


def corrected_t(differences: ArrayLike, ratio: float) -> Estimate:
    """Corrected resampled t-test of differences (n,) between two methods, one per seed.

    The variance of the mean is taken as (1/n + n_test/n_train) · s², with n − 1 degrees of freedom.

    Args:
        differences: (n,) finite.
        ratio: n_test / n_train, ≥ 0; 0 is the ordinary paired t-test.

    Raises:
        ValueError: Values that are not finite, or a negative ratio.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or not np.isfinite(d).all():
        raise ValueError(f"need a row of finite differences, got {d}")
    if not (math.isfinite(ratio) and ratio >= 0):
        raise ValueError(f"need n_test / n_train ≥ 0, got {ratio}")
    from scipy.special import stdtr, stdtrit  # the t distribution; a third of a second to import

    n, mean = len(d), float(d.mean()) if len(d) else math.nan
    if n < ENOUGH:
        return Estimate(mean, math.nan, math.nan, math.nan)
    if np.ptp(d) <= ROUNDING:
        return Estimate(mean, mean, mean, float(abs(mean) <= ROUNDING))
    error = math.sqrt((1 / n + ratio) * float(d.var(ddof=1)))
    half = float(stdtrit(n - 1, 1 - LEVEL / 2)) * error
    return Estimate(mean, mean - half, mean + half, 2 * float(stdtr(n - 1, -abs(mean) / error)))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p-values (m,), which bound the error rate of the whole family of m comparisons.

    nan (no test was possible) stays nan and does not count.
    """
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full_like(values, np.nan)
    order = [int(i) for i in np.argsort(values, kind="stable") if not math.isnan(values[i])]
    largest = 0.0
    for position, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - position) * float(values[i])))
        adjusted[i] = largest
    return adjusted


@dataclass(frozen=True)
class Comparison:
    """One method against the baseline in one metric, in percentage points; positive: better.

    Attributes:
        seeds: Seeds that both have with the same test images.
        test: Test of the differences, method − baseline.
        holm: Its p-value adjusted for all comparisons of the table in this metric; nan without a test.
        moved: Seeds that both have, but with other test images.
        empty: Seeds that both have with the same test images, none of which counts as a query.
        missing: Seeds that both have with the same test images, but one lacks the metric.
        family: Number of comparisons that Holm counts; 0 if unknown.
    """

    seeds: tuple[int, ...]
    test: Estimate
    holm: float
    moved: tuple[int, ...] = ()
    empty: tuple[int, ...] = ()
    family: int = 0
    missing: tuple[int, ...] = ()

    @property
    def lack(self) -> str:
        """Why there is no seed to compare, in words."""
        if self.moved:
            return "the same seeds, but other test images"
        if self.missing:
            return "the same seeds, but not this metric of all runs"
        return "no value on the common seeds" if self.empty else "no seed in common"

    @property
    def uncounted(self) -> bool:
        """Whether some common seed does not count."""
        return bool(self.moved or self.empty or self.missing)

    @property
    def verdict(self) -> Verdict:
        """The conclusion at the 5 % level: `same` means that the two cannot be told apart."""
        if math.isnan(self.holm):
            return "unknown"
        if self.holm >= LEVEL:
            return "same"
        return "better" if self.test.mean > 0 else "worse"


def compare(
    differences: Sequence[ArrayLike], ratios: Sequence[float], seeds: Sequence[Sequence[int]]
) -> list[Comparison]:
    """Compare m methods with one baseline: a corrected resampled t-test each, Holm over all of them.

    Args:
        differences: m rows of method − baseline, one value per common seed.
        ratios: n_test / n_train of each row.
        seeds: The common seeds of each row.
    """
    tests = [corrected_t(row, ratio) for row, ratio in zip(differences, ratios, strict=True)]
    adjusted = holm([test.p for test in tests])
    return [
        Comparison(tuple(common), test, float(p), family=int(np.isfinite(adjusted).sum()))
        for common, test, p in zip(seeds, tests, adjusted, strict=True)
    ]


def sentence(name: str, baseline: str, found: Comparison) -> str:
    """The conclusion about one method, in plain words with the numbers."""
    n, test = len(found.seeds), found.test
    if n == 0:
        return f"{name} and {baseline} have {found.lack}: nothing may be concluded.{_advice([found])}"
    if found.verdict == "unknown":
        return (
            f"Nothing may be concluded about {name} and {baseline}: {_seeds(n)} in common, and "
            f"a spread needs at least {ENOUGH}. Two seeds of one and the same loss can differ as much."
            + (_advice([found]) if found.uncounted else "")
        )
    numbers = f"95 % interval {_signed(test.low)} to {_signed(test.high)}, {p_value(found.holm)} after Holm"
    if found.family:
        numbers += f" over {found.family} comparison{'s' if found.family > 1 else ''}"
    if found.verdict == "same":
        if test.low == test.high == 0:
            return f"On these {n} seeds {name} equals {baseline}."
        return (
            f"On these {n} seeds {name} cannot be told from {baseline} "
            f"(difference {_signed(test.mean)} points, {numbers})."
        )
    points = f"{abs(test.mean):.2f} points ({numbers})"
    return f"On these {n} seeds {name} is {found.verdict} than {baseline} by {points}."


def conclusion(baseline: str, metric: str, found: Sequence[tuple[str, Comparison]]) -> str:
    """The conclusion from one metric of a table, in one plain sentence.

    Args:
        baseline: Name of the baseline.
        metric: Title of the metric.
        found: Name of each other method with its comparison.
    """
    groups: dict[Verdict, list[str]] = {"better": [], "worse": [], "same": [], "unknown": []}
    for name, comparison in found:
        groups[comparison.verdict].append(name)
    conclusive = [comparison for _, comparison in found if comparison.verdict != "unknown"]
    if not conclusive:
        most = max((len(comparison.seeds) for _, comparison in found), default=0)
        lacking = [comparison for _, comparison in found if comparison.uncounted]
        if lacking and not most:
            return (
                f"{metric}: nothing may be concluded about {baseline} and the others, which have "
                f"{lacking[0].lack}.{_advice(lacking)}"
            )
        return (
            f"{metric}: nothing may be concluded about {baseline} and the others from {_seeds(most)} in "
            f"common. At least {ENOUGH} are needed to see how much a difference varies; 10 are a good number."
            + _advice(lacking)
        )
    counts = sorted({len(comparison.seeds) for comparison in conclusive})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    parts = []
    for verdict in ("better", "worse"):
        if names := groups[verdict]:
            parts.append(f"{_listed(names)} {_is(names)} {verdict} than {baseline}")
    if names := groups["same"]:
        parts.append(f"{_listed(names)} cannot be told from {baseline}")
    if names := groups["unknown"]:
        parts.append(f"about {_listed(names)} nothing may be concluded (fewer than {ENOUGH} seeds in common)")
    lacking = [comparison for _, comparison in found if comparison.verdict == "unknown"]
    advice = _advice([comparison for comparison in lacking if comparison.uncounted])
    return f"{metric}, on these {seeds} seeds: " + "; ".join(parts) + "." + advice


def _advice(found: Sequence[Comparison]) -> str:
    """What to do about comparisons that lack seeds; empty without any."""
    if not found:
        return ""
    if any(comparison.moved for comparison in found):
        seeds = sorted({seed for comparison in found for seed in comparison.moved})
        word = "seed" if len(seeds) == 1 else "seeds"
        return f" At {word} {_listed([*map(str, seeds)])} the data changed between them: train again."
    if any(comparison.missing for comparison in found):
        return " macl evaluate RUN --write adds the metric to a run that lacks it."
    if any(comparison.empty for comparison in found):
        return " Of the test images of these seeds none counts as a query of this metric."
    return " Train both with the same seeds."


def p_value(p: float) -> str:
    """`p = 0.012`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _seeds(n: int) -> str:
    return "no seed" if n == 0 else "1 seed" if n == 1 else f"{n} seeds"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
