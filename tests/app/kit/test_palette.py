"""Colours: one per loss, a shade of it per variant, the same everywhere and in every session."""

import itertools
import subprocess
import sys

import pytest

from app.kit import palette
from core.losses import LOSSES

LIGHT, DARK = "#ffffff", "#10171d"
VARIANTS = [{"tau": 0.1}, {"tau": 0.2}, {"tau": 0.5}, {"alpha": 2.0}, {"beta": 0.25}, {"use_T": False}]
VARIANTS += [{"denominator": "own"}, {"use_w": False}, {"tau_scale": 0.5}, {"rarity": "min"}]


def variants(key: str) -> list[dict[str, float | bool | str]]:
    known = {parameter.name: parameter.default for parameter in LOSSES[key].parameters}
    return [each for each in VARIANTS if all(known.get(name, value) != value for name, value in each.items())]


def contrast(one: str, other: str) -> float:
    low, high = sorted((palette.luminance(one), palette.luminance(other)))
    return (high + 0.05) / (low + 0.05)


def apart(one: str, other: str) -> float:
    """Distance in OKLab, in which 0.02 is just seen."""

    def lab(color: str) -> list[float]:
        r, g, b = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        )
        long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
        middle = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
        short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
        return [
            0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
            1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
            0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
        ]

    return sum((a - b) ** 2 for a, b in zip(lab(one), lab(other), strict=True)) ** 0.5


@pytest.mark.parametrize("key", LOSSES)
def test_a_variant_is_told_from_its_loss_on_both_backgrounds(key: str) -> None:
    for params in variants(key):
        shade = palette.loss_color(key, params)
        assert apart(shade, palette.loss_color(key)) > 0.045
        assert min(contrast(shade, LIGHT), contrast(shade, DARK)) >= 3
        assert palette.symbol(key, params) != palette.symbol(key)
        assert "gradient" in palette.swatch(key, params)
        assert shade in palette.swatch(key, params)


def test_macl_with_own_is_like_no_other_loss() -> None:
    own = palette.loss_color("macl", {"denominator": "own"})
    assert min(apart(own, palette.loss_color(key)) for key in LOSSES) > 0.08


def test_macl_nested_is_like_no_other_loss_on_both_backgrounds() -> None:
    nested = palette.loss_color("macl_nested")
    assert min(apart(nested, palette.loss_color(key)) for key in LOSSES if key != "macl_nested") > 0.1
    assert min(contrast(nested, LIGHT), contrast(nested, DARK)) >= 3


def test_defaults_are_the_loss_itself_however_they_are_given() -> None:
    for key, spec in LOSSES.items():
        defaults = {parameter.name: parameter.default for parameter in spec.parameters}
        for params in (None, {}, defaults):
            assert palette.loss_color(key, params) == palette.LOSS_COLORS[key] == palette.swatch(key, params)
            assert palette.symbol(key, params) == "circle"
        full = {**defaults, **(variants(key) or [{}])[0]}
        assert palette.loss_color(key, full) == palette.loss_color(key, (variants(key) or [{}])[0])
    assert palette.loss_color("macl", {"alpha": 2}) == palette.loss_color("macl", {"alpha": 2.0})
    both = {"alpha": 2.0, "beta": 0.25}
    turned = dict(reversed(both.items()))
    assert palette.loss_color("macl", both) == palette.loss_color("macl", turned)


def test_a_loss_without_a_colour_of_its_own_gets_one_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(palette.LOSS_COLORS) == set(LOSSES)
    monkeypatch.delitem(palette.LOSS_COLORS, "lmsc")
    color = palette.loss_color("lmsc")
    assert min(contrast(color, LIGHT), contrast(color, DARK)) >= 3
    assert color == palette.loss_color("lmsc", {}) != palette.loss_color("lmsc", {"tau": 0.1})
    monkeypatch.delitem(palette.LOSS_COLORS, "lbase")
    assert palette.loss_color("lbase") != color


def test_variants_use_every_shade() -> None:
    shades = {palette.loss_color("macl", {"alpha": alpha / 100}) for alpha in range(1, 90)}
    assert len(shades) == 4
    assert all(apart(a, b) > 0.05 for a, b in itertools.combinations(shades, 2))


def test_a_shade_is_the_same_in_every_session() -> None:
    script = "from app.kit import palette; print(palette.loss_color('macl', {'alpha': 2.5}))"
    for seed in ("1", "2"):
        said = subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.strip() == palette.loss_color("macl", {"alpha": 2.5})
