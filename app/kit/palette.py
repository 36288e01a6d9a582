"""One visual language: a loss has one colour on every page, its variants shades of it, Jaccard one scale."""

import colorsys
import zlib
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise

from core.losses import Value, spec_of

# Hues that stay apart on white and on the dark background, baselines calmer than the three MACL losses.
LOSS_COLORS = {
    "supcon_all": "#8c8f94",
    "supcon_any": "#b08d57",
    "lbase": "#5b8fd6",
    "lproto": "#2f9e8f",
    "lmsc": "#7f6bd1",
    "oml": "#c25b9b",
    "mulsupcon": "#e08a2c",
    "wg_mulsupcon": "#c9a227",
    "simdis": "#6f9440",
    "lreg": "#2a8fb0",
    "lworeg": "#6cb4cc",
    "macl": "#d1453b",
    "wg_macl": "#e8837b",
    "macl_nested": "#9d2fd0",
}
# A variant is a loss with changed parameters. Its shade is turned a little in hue, to either side, and darker
# or lighter than the colour of the loss: luminance as of WCAG, at which 3 : 1 holds on white and on dark.
TURNS = (-0.05, 0.035)
LUMINANCES = ((0.13, 0.29), (0.13, 0.195))  # of variants of a dark colour, and of a bright one
BRIGHT = 0.24
# beside MACL in the recorded benchmarks: as far from its red as a neighbour of OML and MACL-nested may be
MARKED = {"macl denominator=own": "#b52d82"}
# the form of a dot, for those who do not see shades apart
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross")
CHANCE_COLOR = "#9aa4ad"
ORACLE_COLOR = "#5c6670"

# Jaccard 0 to 1: from "nothing shared" to "the same label set"; ordered in lightness as well, so that it
# reads without colour.
JACCARD_SCALE = [
    (0.0, "#b8402f"),
    (0.25, "#d9793a"),
    (0.5, "#e0b13e"),
    (0.75, "#7fae5a"),
    (1.0, "#23936b"),
]


def loss_color(key: str, params: Mapping[str, Value] | None = None) -> str:
    """Colour of a loss, or of its variant with these parameters, as #rrggbb; the same in every session."""
    text = _changed(key, params)
    return _shade(key, text) if text else _plain(key)


def swatch(key: str, params: Mapping[str, Value] | None = None) -> str:
    """The same as a CSS background: plain for a loss, striped for a variant."""
    color = loss_color(key, params)
    if not _changed(key, params):
        return color
    pale = f"color-mix(in srgb, {color} 60%, transparent)"
    return f"repeating-linear-gradient(135deg, {color} 0 3px, {pale} 3px 5px)"


def symbol(key: str, params: Mapping[str, Value] | None = None) -> str:
    """Form of its dots in a figure: a circle for a loss, another for a variant."""
    text = _changed(key, params)
    return SYMBOLS[1 + zlib.crc32(text.encode()) // 4 % (len(SYMBOLS) - 1)] if text else SYMBOLS[0]


def is_variant(key: str, params: Mapping[str, Value]) -> bool:
    """Whether these parameters differ from the defaults of the loss."""
    return bool(_changed(key, params))


def _changed(key: str, params: Mapping[str, Value] | None) -> str:
    """What makes a variant, in one spelling; empty for the loss with its defaults."""
    parts = []
    for parameter in spec_of(key).parameters if params else ():
        value = (params or {}).get(parameter.name, parameter.default)
        if value != parameter.default:
            parts.append(f"{parameter.name}={float(value) if parameter.kind == 'float' else value}")
    return " ".join([key, *parts]) if parts else ""


def _plain(key: str) -> str:
    """Colour of a loss with its defaults; of one that has none here a hue by its name."""
    return LOSS_COLORS.get(key) or _of_luminance(zlib.crc32(key.encode()) % 360 / 360, 0.55, 0.2)


@lru_cache(maxsize=1000)
def _shade(key: str, text: str) -> str:
    if text in MARKED:
        return MARKED[text]
    number = zlib.crc32(text.encode()) % 4  # not `hash`, which differs from session to session
    red, green, blue = (int(_plain(key)[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, _, saturation = colorsys.rgb_to_hls(red, green, blue)
    hue, saturation = (hue + TURNS[number % 2]) % 1, max(saturation, 0.3)  # a grey has no hue to turn
    wanted = LUMINANCES[luminance(_plain(key)) > BRIGHT][number // 2]
    return _of_luminance(hue, saturation, wanted)


def _of_luminance(hue: float, saturation: float, wanted: float) -> str:
    """The colour of that hue and saturation (0 to 1) which has a luminance, as #rrggbb."""
    low, high, color = 0.0, 1.0, ""
    for _ in range(12):
        lightness = (low + high) / 2
        channels = colorsys.hls_to_rgb(hue, lightness, saturation)
        color = "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)
        low, high = (lightness, high) if luminance(color) < wanted else (low, lightness)
    return color


def luminance(color: str) -> float:
    """Relative luminance of #rrggbb, 0 to 1 (WCAG 2)."""
    channels = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def jaccard_color(value: float) -> str:
    """Colour of a Jaccard index in 0 to 1, as #rrggbb."""
    value = min(max(value, 0.0), 1.0)
    for (low, a), (high, b) in pairwise(JACCARD_SCALE):
        if value <= high:
            share = (value - low) / (high - low)
            channels = (
                round((1 - share) * int(a[i : i + 2], 16) + share * int(b[i : i + 2], 16)) for i in (1, 3, 5)
            )
            return "#" + "".join(f"{channel:02x}" for channel in channels)
    return JACCARD_SCALE[-1][1]
