"""What the colour of a point says: labels, their number and rarity, quality, split. No streamlit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.embeddings.points import Points
from app.kit.palette import JACCARD_SCALE

Bytes = NDArray[np.uint8]

NONE = 255  # drawn grey
MODES = {
    "label": "Label (rarest of the image)",
    "one": "One label",
    "count": "Number of labels",
    "rarity": "Rarity of its labels",
    "ap": "Average precision as query",
    "split": "Split",
}
# Twenty hues of middle lightness that stay apart on white and on the dark background.
HUES = (
    "#d8433f", "#3d6fd6", "#3f9b46", "#ef8a2b", "#8e44ad", "#1ba6b8", "#e055b6", "#9bbf2e", "#8a6239",
    "#d4ab1e", "#5a5fc7", "#0f7f6e", "#f28ba0", "#7d8b2f", "#6db3f2", "#b03a6b", "#63c79a", "#c58ae0",
    "#c46a3a", "#7a8794",
)  # fmt: skip
COUNT_SCALE = ((0.0, "#6db3f2"), (0.35, "#3d6fd6"), (0.7, "#8e44ad"), (1.0, "#d8433f"))
RARITY_SCALE = ((0.0, "#7d9bb0"), (0.5, "#dfa233"), (1.0, "#c8322b"))
SPLITS = {"train": ("training", "#7d9bb0"), "val": ("validation", "#dfa233"), "test": ("test", "#c8322b")}


@dataclass(frozen=True, eq=False)
class Coloring:
    """Colours of all points, or of each picture's own.

    Attributes:
        legend: As app/embeddings/scatter.js draws it.
        shared: (n,) number of a group, or 0 … 254 along a scale; 255: none. None: each picture has its own.
        each: For each picture the same for its points; empty where they share theirs.
    """

    legend: dict[str, Any]
    shared: Bytes | None
    each: tuple[Bytes, ...] = ()

    def color(self, point: int) -> str:
        """#rrggbb of a point where all pictures agree; empty where it has none."""
        value = NONE if self.shared is None else int(self.shared[point])
        if value == NONE:
            return ""
        if self.legend["kind"] == "groups":
            return str(self.legend["items"][value][1])
        return mix(self.legend["scale"], value / (NONE - 1))


def by_label(points: Points, classes: Sequence[str]) -> Coloring:
    """Groups by the rarest label that an image holds: what tells it from most others."""
    counts = points.y.sum(0).astype(np.int64)
    order = np.lexsort((np.arange(len(counts)), -counts))  # frequent first
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    rank = np.where(points.y.astype(bool), position, -1).max(1) if len(points.y) else np.zeros(0, np.int64)
    present = [int(label) for label in order if (rank == position[label]).any()]
    groups = present[::-1][: len(HUES)]  # the rarest ones, where there are more labels than hues
    values = np.full(len(rank), NONE, np.uint8)
    for number, label in enumerate(sorted(groups)):
        values[rank == position[label]] = number
    names = [classes[label] for label in sorted(groups)]
    none = "other labels" if len(groups) < len(present) or (rank < 0).any() else ""
    return groups_of("Rarest label", values, names, HUES, none)


def by_one(points: Points, classes: Sequence[str], label: int) -> Coloring:
    """Whether an image holds one label."""
    values = np.where(points.y[:, label] > 0, 0, NONE).astype(np.uint8)
    without = len(values) - int((values == 0).sum())
    return groups_of("Label", values, [classes[label]], ("#d8433f",), f"without it {without}")


def by_count(points: Points) -> Coloring:
    """Groups by the number of labels."""
    count = points.y.sum(1).astype(np.int64)
    sizes = np.unique(count)
    values = np.searchsorted(sizes, count).astype(np.uint8)
    shades = [mix(COUNT_SCALE, k / max(1, len(sizes) - 1)) for k in range(len(sizes))]
    return groups_of("Number of labels", values, [str(size) for size in sizes], shades)


def by_rarity(points: Points) -> Coloring:
    """How few of the images shown hold the rarest label of an image, on a logarithmic scale."""
    counts = points.y.sum(0).astype(np.float64)
    rarest = np.where(points.y.astype(bool), counts, np.inf).min(1) if len(points.y) else np.zeros(0)
    known = np.isfinite(rarest)
    low, high = (rarest[known].min(), rarest[known].max()) if known.any() else (1.0, 1.0)
    span = np.log(high / low) if high > low else 1.0
    share = np.where(known, np.log(high / np.where(known, rarest, high)) / span, np.nan)
    return Coloring(
        scale_of(
            "Images that hold its rarest label", RARITY_SCALE, f"{high:.0f}", f"{low:.0f}",
            "" if known.all() else "no label",
        ),
        to_bytes(share),
    )  # fmt: skip


def by_quality(each: Sequence[NDArray[np.float64]], metric: str) -> Coloring:
    """A metric of every image as query, 0 to 1, in each picture that of its run; nan where there is none."""
    values = tuple(to_bytes(quality) for quality in each)
    none = "" if all((part != NONE).all() for part in values) else "none"
    return Coloring(
        scale_of(f"{metric} of the image as query", JACCARD_SCALE, "0 %", "100 %", none), None, values
    )


def by_split(each: Sequence[Sequence[str]]) -> Coloring:
    """The split that each run has an image in."""
    order = list(SPLITS)
    values = tuple(np.array([order.index(split) for split in part], dtype=np.uint8) for part in each)
    first = values[0]
    items = [[name, color, int((first == k).sum())] for k, (name, color) in enumerate(SPLITS.values())]
    return Coloring({"kind": "groups", "title": "Split", "items": items, "none": ""}, None, values)


def groups_of(
    title: str, values: Bytes, names: Sequence[str], colors: Sequence[str], none: str = ""
) -> Coloring:
    """Groups with their sizes."""
    items = [[name, colors[k], int((values == k).sum())] for k, name in enumerate(names)]
    return Coloring({"kind": "groups", "title": title, "items": items, "none": none}, values)


def scale_of(
    title: str, scale: Sequence[tuple[float, str]], low: str, high: str, none: str = ""
) -> dict[str, Any]:
    """The legend of a scale."""
    return {
        "kind": "scale", "title": title, "scale": [list(stop) for stop in scale],
        "low": low, "high": high, "none": none,
    }  # fmt: skip


def to_bytes(share: NDArray[np.float64]) -> Bytes:
    """0 … 1 as 0 … 254; nan as `NONE`."""
    known = ~np.isnan(share)
    values = np.full(share.shape, NONE, np.uint8)
    values[known] = np.rint(np.clip(share[known], 0, 1) * (NONE - 1)).astype(np.uint8)
    return values


def mix(scale: Sequence[Sequence[Any]], share: float) -> str:
    """The colour of a scale at a share of 0 to 1."""
    stops = [at for at, _ in scale]
    parts = [[int(color[i : i + 2], 16) for _, color in scale] for i in (1, 3, 5)]
    return "#" + "".join(f"{round(float(np.interp(share, stops, part))):02x}" for part in parts)
