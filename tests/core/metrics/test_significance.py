"""The corrected resampled t-test and Holm: scipy, points worked by hand, simulated splits, sentences."""

import math

import numpy as np
import pytest
from scipy import stats

from core.metrics.significance import (
    Comparison,
    Estimate,
    compare,
    conclusion,
    corrected_t,
    holm,
    p_value,
    sentence,
)

RATIO = 411 / 1475


@pytest.mark.parametrize("n", [3, 5, 10, 30])
def test_without_a_common_training_split_it_is_the_paired_t_test(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(80, 2, n), rng.normal(79, 2, n)
    found, wanted = corrected_t(a - b, 0.0), stats.ttest_rel(a, b)
    interval = wanted.confidence_interval(0.95)
    got = found.mean, found.low, found.high, found.p
    np.testing.assert_allclose(got, ((a - b).mean(), interval.low, interval.high, wanted.pvalue), rtol=1e-12)


def test_a_point_worked_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, s² = 1; with n_test/n_train = 2/3 the variance is (1/3 + 2/3) · 1 = 1.

    t = 2 with 2 degrees of freedom, where P(T ≤ t) = 1/2 + t / (2 √(t² + 2)): p = 1 − 2/√6.
    The 97.5 % point solves t/√(t² + 2) = 0.95: t = 0.95 √(2 / (1 − 0.95²)) = 4.302653.
    """
    found = corrected_t([1, 2, 3], 2 / 3)
    assert found.p == pytest.approx(1 - 2 / math.sqrt(6), abs=1e-12)
    half = 0.95 * math.sqrt(2 / (1 - 0.95**2))
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-9)


def test_differences_that_do_not_vary() -> None:
    """Two losses that are the same function give 0 on every seed, but for rounding."""
    assert corrected_t([0.0, 1e-13, -1e-13], RATIO).p == 1.0
    assert corrected_t([2.0, 2.0, 2.0], RATIO).p == 0.0


@pytest.mark.parametrize("differences", [[], [1.0], [1.0, 1.2]])
def test_too_few_seeds_give_no_p_value(differences: list[float]) -> None:
    found = corrected_t(differences, RATIO)
    assert math.isnan(found.p)
    assert math.isnan(found.low)


@pytest.mark.parametrize(
    ("differences", "ratio"), [([1.0, math.nan, 2.0], 0.2), ([[1.0]], 0.2), ([1.0, 2.0, 3.0], -0.1)]
)
def test_bad_arguments(differences: list[float], ratio: float) -> None:
    with pytest.raises(ValueError, match="need"):
        corrected_t(differences, ratio)


def test_holm_worked_by_hand() -> None:
    """0.01·4, 0.03·3 and 0.04·2 (raised to the one before), 0.5·1; sorted back."""
    np.testing.assert_allclose(holm([0.5, 0.01, 0.04, 0.03]), [0.5, 0.04, 0.09, 0.09])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    np.testing.assert_array_equal(holm([0.02, np.nan, 0.02]), [0.04, np.nan, 0.04])
    assert holm([]).shape == (0,)


def test_holm_rejects_what_the_step_down_procedure_rejects() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        p = rng.random(rng.integers(1, 14)) ** 3
        rejected = np.zeros(len(p), dtype=bool)
        for place, i in enumerate(np.argsort(p, kind="stable")):
            if p[i] > 0.05 / (len(p) - place):
                break
            rejected[i] = True
        np.testing.assert_array_equal(holm(p) <= 0.05, rejected)


def resampled(rng: np.random.Generator, n: int, ratio: float) -> np.ndarray:
    """Differences (n,) of two equal methods over n random splits of one data set.

    Splits that share most of their images give differences with the correlation n_test / (n_test + n_train).
    """
    shared = ratio / (1 + ratio)
    return math.sqrt(shared) * rng.normal() + math.sqrt(1 - shared) * rng.normal(size=n)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_two_initialisations_of_one_loss_are_not_different(n: int) -> None:
    """At least 90 % of 50 trials; the usual t-test, blind to the shared images, errs far oftener."""
    rng = np.random.default_rng(n)
    trials = [resampled(rng, n, RATIO) for _ in range(50)]
    assert sum(corrected_t(d, RATIO).p >= 0.05 for d in trials) >= 45
    many = [resampled(rng, n, RATIO) for _ in range(2000)]
    corrected = np.mean([corrected_t(d, RATIO).p < 0.05 for d in many])
    usual = np.mean([corrected_t(d, 0.0).p < 0.05 for d in many])
    assert corrected == pytest.approx(0.05, abs=0.015)
    assert usual > 1.6 * corrected


def test_a_difference_that_is_there_is_found() -> None:
    rng = np.random.default_rng(1)
    assert np.mean([corrected_t(3 + resampled(rng, 10, RATIO), RATIO).p < 0.05 for _ in range(200)]) > 0.95


def test_the_family_of_a_table() -> None:
    rng = np.random.default_rng(2)
    rows = [rng.normal(shift, 1, 10) for shift in (9, -9, 0)] + [np.array([1.0])]
    seeds = [range(10)] * 3 + [[4]]
    found = compare(rows, [RATIO] * 4, seeds)
    assert [comparison.verdict for comparison in found] == ["better", "worse", "same", "unknown"]
    np.testing.assert_array_equal([c.holm for c in found[:3]], holm([c.test.p for c in found[:3]]))
    assert found[3].seeds == (4,)


def a(mean: float, low: float, high: float, p: float, n: int = 10) -> Comparison:
    return Comparison(tuple(range(n)), Estimate(mean, low, high, p), p)


UNKNOWN = Comparison((0,), Estimate(1.0, math.nan, math.nan, math.nan), math.nan)


def test_one_plain_sentence_for_each_method() -> None:
    assert sentence("LMsc", "MACL", a(8.9, 7.1, 10.7, 0.001)) == (
        "On these 10 seeds LMsc is better than MACL by 8.90 points "
        "(95 % interval +7.10 to +10.70, p = 0.001 after Holm)."
    )
    assert "is worse than MACL by 8.90 points" in sentence("LBase", "MACL", a(-8.9, -10.7, -7.1, 0.0))
    assert sentence("OML", "MACL", a(0.3, -0.5, 1.1, 0.4)) == (
        "On these 10 seeds OML cannot be told from MACL "
        "(difference +0.30 points, 95 % interval −0.50 to +1.10, p = 0.40 after Holm)."
    )
    assert sentence("MACL without w and T", "MulSupCon", a(0, 0, 0, 1, 3)) == (
        "On these 3 seeds MACL without w and T equals MulSupCon."
    )
    assert "Nothing may be concluded" in sentence("OML", "MACL", UNKNOWN)
    assert "1 seed in common" in sentence("OML", "MACL", UNKNOWN)
    none = Comparison((), Estimate(math.nan, math.nan, math.nan, math.nan), math.nan)
    assert "no seed in common" in sentence("OML", "MACL", none)


def test_one_plain_sentence_for_a_table() -> None:
    found = [("LMsc", a(8.9, 7, 10, 0.001)), ("LProto", a(8, 7, 9, 0.001)), ("OML", a(-3, -4, -2, 0.01))]
    found += [("MulSupCon", a(0.1, -1, 1, 0.8))]
    assert conclusion("MACL", "wAP@100", found) == (
        "wAP@100, on these 10 seeds: LMsc and LProto are better than MACL; OML is worse than MACL; "
        "MulSupCon cannot be told from MACL."
    )
    assert conclusion("MACL", "wAP@100", found[3:]) == (
        "wAP@100, on these 10 seeds: MulSupCon cannot be told from MACL."
    )
    assert "nothing may be concluded (fewer than 3" in conclusion("MACL", "wAP@100", [*found, ("X", UNKNOWN)])
    assert conclusion("MACL", "wAP@100", [("X", UNKNOWN)]).startswith(
        "wAP@100: nothing may be concluded about MACL and the others from 1 seed in common."
    )


def test_p_values_are_never_zero() -> None:
    assert [p_value(p) for p in (0.0, 0.0012, 0.049, 0.51)] == [
        "p < 0.001",
        "p = 0.001",
        "p = 0.049",
        "p = 0.51",
    ]
