"""One visual language: a loss has one colour on every page, and Jaccard has one scale."""

from itertools import pairwise

from core.losses import LOSSES

# Twelve hues that stay apart on white and on the dark background, baselines calmer than the two MACL losses.
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
}
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


def loss_color(key: str) -> str:
    """Colour of a loss, as #rrggbb."""
    return LOSS_COLORS[key]


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


if set(LOSS_COLORS) != set(LOSSES):  # a loss without a colour would be invisible on half of the pages
    raise RuntimeError("every loss needs a colour in app/palette.py")
