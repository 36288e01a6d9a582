"""The heat maps of a batch (Fig. 3, live), and the open pair term by term."""

import itertools
import time
from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from app.kit import heatmaps, tiles
from app.kit.heatmaps import HeatMap
from app.kit.palette import JACCARD_SCALE
from app.kit.permalink import note_unknown
from app.kit.words import plain
from app.mechanism import batch, pair, selection
from app.mechanism.batch import Chosen, Order
from core import mechanism
from core.losses import Value, spec_of
from core.mechanism import LABELWISE, MACL, Answer, Maps

SHOWN = {"T": "T", "w": "w", "γ": "gamma", "J": "J", "s": "s", "pull": "pull", "force": "force"}
FIRST = ("T", "w", "force")
MOST = 3
ORDERS: tuple[Order, ...] = ("label", "rarity", "cluster")
CORRECTED, PRINTED, DIFFERENCE = "corrected", "as printed", "difference"

TEMPERATURE = [(0.0, "#3b1f5e"), (0.35, "#35608d"), (0.7, "#2fb47c"), (1.0, "#f0e04d")]
WEIGHT = [(0.0, "#4a2c63"), (0.5, "#c2456a"), (1.0, "#f8b566")]
SIMILARITY = [(0.0, "#8c5a1c"), (0.5, "#d9d4c8"), (1.0, "#0e7265")]
FORCE = {  # dark theme or not: the middle is the page itself, so that only forces show
    False: [(0.0, "#b8232f"), (0.5, "#f1f3f5"), (1.0, "#1f5fa8")],
    True: [(0.0, "#e5535c"), (0.5, "#1d2831"), (1.0, "#5aa5f0")],
}


def show(
    chosen: Chosen, key: str, params: Mapping[str, Value], answer: Answer | None, started: float
) -> None:
    """Widgets for the maps, the maps, and the open pair.

    Args:
        chosen: The batch.
        key: The loss.
        params: All of its parameters.
        answer: What the process says of a loss that has no numpy form.
        started: When the server began, `time.perf_counter`.
    """
    maps = mechanism.maps(key, chosen.batch, params, answer)
    note_unknown(m_maps=list(SHOWN), m_rows=ORDERS, m_eq7=(CORRECTED, PRINTED, DIFFERENCE))
    left, middle, right = st.columns([4, 3, 4], vertical_alignment="bottom")
    with left:
        titles = _choose_maps(maps)
    order = middle.segmented_control(
        "Rows by", ORDERS, default="label", required=True, key="m_rows", bind="query-params",
        help="label: blocks with the same rarest label, rare first. rarity: by the mean count of "
        "the labels. cluster: similar images side by side.",
    )  # fmt: skip
    with right:
        form = _choose_form(key, maps) if "force" in titles else CORRECTED
    st.caption(_reading(key, chosen, maps, answer))
    drawing = st.container()
    at = selection.opened(chosen)
    if maps.images:
        _pair(chosen, key, params, maps, *at)
    classes, names, y = chosen.source.classes, chosen.names, chosen.batch.y
    st.download_button(
        "CSV of all pairs", lambda: mechanism.pairs_csv(maps, y, names, classes), f"pairs-{key}.csv",
        "text/csv", on_click="ignore", help="All maps of this batch, unrounded: one line per pair",
    )  # fmt: skip
    with drawing:
        if titles:
            _draw(chosen, [heat_map(key, title, form, maps) for title in titles], maps, order, at, started)
        else:
            st.info("Choose a map.")


def _choose_maps(maps: Maps) -> list[str]:
    titles: list[str] = st.pills(
        "Maps, up to three", list(SHOWN), selection_mode="multi", default=list(FIRST), key="m_maps",
        bind="query-params", on_change=_drop_oldest, args=(set(maps.values),),
        help="T, γ and pull need a softmax, s and the force an embedding. pull: attraction alone.",
    )  # fmt: skip
    there = [title for title in SHOWN if SHOWN[title] in maps.values]
    # of a loss that does not say its weights, in a batch without embeddings, none of these is known
    return [title for title in there if title in titles[-MOST:]] or (there[:MOST] if titles else [])


def _drop_oldest(known: set[str]) -> None:
    """The map chosen last is drawn in place of the first one, or of one that the loss does not define."""
    titles = st.session_state["m_maps"]
    if len(titles) > MOST:
        titles = sorted(titles, key=lambda title: SHOWN[title] in known)
        st.session_state["m_maps"] = titles[-MOST:]


def _choose_form(key: str, maps: Maps) -> str:
    if "printed" not in maps.values:
        if key in MACL and "force" in maps.values:
            st.caption("Eq. 7 is about eq. 4; `own` has another gradient, shown here.")
        return CORRECTED
    form: str = st.segmented_control(
        "Force by eq. 7", [CORRECTED, PRINTED, DIFFERENCE], default=CORRECTED, required=True,
        key="m_eq7", bind="query-params",
        help="Eq. 7 prints the repulsion with the factor |y|. The gradient of eq. 5 has the sum of the "
        "pull's weights in its place: that is the corrected form, −∂L/∂s.",
    )  # fmt: skip
    return form


def _draw(
    chosen: Chosen,
    drawn: Sequence[HeatMap],
    maps: Maps,
    how: Order,
    at: tuple[int, int],
    started: float,
) -> None:
    order = chosen.order(how)
    size, width = len(order), drawn[0].values.shape[1]
    images, prototypes = selection.items(chosen), selection.prototypes(chosen)
    rows = [images[n] for n in order]
    own = rows if maps.images else []
    columns = np.concatenate([order, np.arange(size, width)]) if maps.images else np.arange(width)
    heatmaps.show(
        "m_heatmaps",
        [
            HeatMap(one.title, one.note, one.values[np.ix_(order, columns)], one.low, one.high, one.scale)
            for one in drawn
        ],
        rows,
        [*own, *prototypes][:width],
        lambda anchor, other: selection.pick(chosen, anchor, other),
        tiles=chosen.key,
        groups=groups(chosen, order, how),
        cuts=[size] if maps.images and width > size else [],
        chosen=(list(order).index(at[0]), list(columns).index(at[1])) if maps.images else None,
        same=maps.images,
        ms=1000 * (time.perf_counter() - started),
    )


def groups(chosen: Chosen, order: np.ndarray, how: Order) -> list[tuple[str, int, int]]:
    """Blocks of rows: by label the rarest of each image, by rarity the two ends."""
    size = len(order)
    if how == "rarity":
        return [("rare labels", 0, 2), ("frequent labels", size - 2, size)]
    if how == "cluster":
        return []
    label = mechanism.pictured(chosen.batch.y, chosen.batch.labels)[order]
    starts = [0, *(np.flatnonzero(np.diff(label)) + 1).tolist(), size]
    names = [*chosen.source.classes, "no label"]
    return [(names[int(label[a])], a, b) for a, b in itertools.pairwise(starts)]


def _pair(chosen: Chosen, key: str, params: Mapping[str, Value], maps: Maps, i: int, p: int) -> None:
    left, right = st.columns([2, 5], gap="medium")
    parts = [
        {"title": title, "note": "", "color": color, "kind": "first", "tiles": [selection.tile(chosen, row)]}
        for title, color, row in (
            ("Anchor", selection.ANCHOR_COLOR, i),
            ("Other image", selection.OTHER_COLOR, p),
        )
    ]
    with left:
        tiles.strips(chosen.key, parts, "", "m_faces")
    right.html(pair.terms(key, chosen.batch, maps, params, chosen.source, i, p))


def heat_map(key: str, title: str, form: str, maps: Maps) -> HeatMap:
    """One map of a loss with its scale and what it says.

    Args:
        key: The loss.
        title: Of `SHOWN`.
        form: Of the force: `CORRECTED`, `PRINTED` or `DIFFERENCE`.
        maps: All maps of the batch.
    """
    name = SHOWN[title]
    values = maps.values[name].copy()
    limit = 1.0
    if name == "force":
        limit = _limit(values, maps.images)  # one scale for all three forms, or their sizes would not show
        if form != CORRECTED:
            values = maps.values["printed" if form == PRINTED else "difference"].copy()
    if maps.images:
        np.fill_diagonal(values, np.nan)
    if name in ("w", "gamma", "pull"):
        values[values == 0] = np.nan  # no positive
    known = values[np.isfinite(values)]
    bottom, top = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if bottom == top:
        bottom = 0.0
    formula = {CORRECTED: "−∂L/∂s", PRINTED: "eq. 7 as printed", DIFFERENCE: "printed − corrected"}[form]
    gamma, pull = "the pull, × B" if mechanism.written(key) else "what the pair weighs", "γ over B"
    if key in LABELWISE:
        gamma, pull = "what a positive is pulled with", "γ over |P|, averaged as in the loss"
        gamma += " in eq. 8" if key in MACL else ""
    dark = st.context.theme.type == "dark"
    heading, note, low, high, scale = {
        "T": ("T · temperature", "low: sharp, small differences in s count", 0.0, top, TEMPERATURE),
        "w": ("w · weight of a positive", _about_w(key, maps), bottom, top, WEIGHT),
        "gamma": ("γ = w/T · influence", gamma, bottom, top, WEIGHT),
        "J": ("J · overlap", "shared labels over all labels of both", 0.0, 1.0, JACCARD_SCALE),
        "s": ("s · similarity", "in the embedding of the run", -1.0, 1.0, SIMILARITY),
        "pull": ("pull · attraction alone", pull, bottom, top, WEIGHT),
        "force": (f"force · {formula}", "blue pulls together, red pushes apart", -limit, limit, FORCE[dark]),
    }[name]
    return HeatMap(heading, note, values, low, high, scale)


def _about_w(key: str, maps: Maps) -> str:
    if not mechanism.written(key):
        return "as the loss's own pair_terms gives it"
    if key not in LABELWISE:
        return "factor of the pair in the loss, × B"
    overlap = bool(maps.params.get("overlap_weight"))
    if maps.params.get("use_w"):
        return "high: rare shared labels" + (", much overlap" if overlap else "")
    return "high: much overlap" if overlap else "1 for every shared label set"


def _limit(values: np.ndarray, images: bool) -> float:
    """End of a symmetric scale that a few strong pairs do not stretch; the diagonal is no pair."""
    if images:
        values = values[~np.eye(*values.shape).astype(bool)]
    size = np.abs(values[values != 0])
    return float(np.quantile(size, 0.97)) if size.size else 1.0


def _reading(key: str, chosen: Chosen, maps: Maps, answer: Answer | None) -> str:
    """How to read the maps, and what is special about this loss."""
    with_prototypes = maps.images and maps.values["J"].shape[1] > len(chosen.batch.y)
    if key == "lproto":
        text = "LProto has no pair term: images never meet. Rows are images, columns the labels' prototypes."
    else:
        text = "Each row is an anchor, each column an image it is compared with. Click a cell for its terms."
    if with_prototypes:
        text += " Right of the line: prototypes, which open no pair."
    if key == "oml":
        text += " OML ranks and has no softmax, so no T."
    if (with_prototypes or key == "lproto") and "s" in maps.values:
        text += " " + batch.about_prototypes(chosen.source.run)
    if answer is not None:
        text += f" {_unknown(key, answer)} {how(maps)}"
    return f"{text} {_pushed(maps)}"


def _unknown(key: str, answer: Answer) -> str:
    """What a loss that has no numpy form does not say of its pairs."""
    missing = [name for name in ("w", "T") if name not in answer.arrays]
    if not missing:
        return ""
    return f"{plain(spec_of(key).title)} does not say {' and '.join(missing)}: it has no `pair_terms` for it."


def how(maps: Maps) -> str:
    """How the force of a loss that has no numpy form was found."""
    return {
        "": "",
        "autograd": "The force is found by automatic differentiation of the loss.",
        "pull-back": "The force is found from −∂L/∂z: the gradient is written as a sum of the batch's own "
        "embeddings, and what it says of a pair is shared equally between the two anchors.",
    }[maps.how]


def _pushed(maps: Maps) -> str:
    """What the force does to the pairs that should end closest: those with the same labels."""
    if not maps.images or "force" not in maps.values:
        return ""
    size = len(maps.values["J"])
    J, force = maps.values["J"][:, :size].copy(), maps.values["force"][:, :size]
    np.fill_diagonal(J, 0)
    equal = J == 1
    if not equal.any():
        return ""
    some = (J > 0) & ~equal
    all_away, some_away = (100 * float((force[which] < 0).mean()) for which in (equal, some))
    return (
        f"In this embedding the loss pushes **{all_away:.0f} %** of the pairs with the same labels apart"
        + (f", and {some_away:.0f} % of those that share some." if some.any() else ".")
    )
