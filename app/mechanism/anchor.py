"""Fig. 1, live: an anchor, the positives of each of its labels, its negatives; its weights in all losses."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from app.figures import mechanism as figures
from app.kit import heatmaps, tiles
from app.kit.heatmaps import HeatMap
from app.kit.palette import JACCARD_SCALE, loss_color
from app.kit.steady import steady_chart
from app.kit.words import plain
from app.mechanism import selection
from app.mechanism.batch import Chosen
from app.mechanism.pairs import how
from core import mechanism
from core.labels import counts, jaccard
from core.losses import LOSSES, Value, check_params, spec_of
from core.mechanism import Answer, Maps

MOST = 40  # pictures in a strip
SCALE = [(0.0, "#4a2c63"), (0.5, "#c2456a"), (1.0, "#f8b566")]


def show(
    chosen: Chosen, key: str, params: Mapping[str, Value], answer: Answer | None, started: float
) -> None:
    """The anchor's sets in pictures, the force on each image, and the weights under all losses.

    Args:
        chosen: The batch.
        key: The loss whose parameters are set.
        params: All of its parameters.
        answer: What the process says of a loss that has no numpy form.
        started: Not used here.
    """
    names, y = list(chosen.names), chosen.batch.y.astype(bool)
    i, p = selection.opened(chosen)
    st.session_state["m_anchor"] = names[i]
    st.selectbox(
        "Anchor", names, key="m_anchor", filter_mode="contains", width=420,
        on_change=lambda: selection.open_pair(st.session_state["m_anchor"], ""),
    )  # fmt: skip
    J = jaccard(y[i : i + 1], y)[0]  # (B,)
    J[i] = -1
    near = np.argsort(-J, kind="stable")[:-1]  # (B−1,), the anchor left out
    train = counts(chosen.batch.labels)
    parts = [
        _strip(
            chosen,
            "Anchor",
            ", ".join(selection.label_names(chosen, i)),
            np.array([i]),
            "first",
            selection.ANCHOR_COLOR,
        )
    ]
    counted = chosen.source.counted
    for label in np.flatnonzero(y[i]).tolist():
        note = f"{y[:, label].sum() - 1} positives here; {train[label]:,} {counted} images hold the label"
        members = near[y[near, label]]
        parts.append(
            _strip(chosen, f"P({chosen.source.classes[label]})", note, members, "", JACCARD_SCALE[-1][1])
        )
    away = near[J[near] == 0]
    parts.append(
        _strip(chosen, "Negatives", f"{len(away)} share no label", away, "away", JACCARD_SCALE[0][1])
    )
    tiles.strips(chosen.key, parts, names[p], "m_strips", lambda name: selection.open_pair(names[i], name))
    if key == "macl_nested" and mechanism.is_nested(params):
        _compared(chosen, i, near, J)
    _forces(chosen, mechanism.maps(key, chosen.batch, params, answer), key, params, i, near)
    _losses(chosen, key, params, answer, i, near)


def _forces(
    chosen: Chosen, maps: Maps, key: str, params: Mapping[str, Value], i: int, near: np.ndarray
) -> None:
    """The force between the anchor and every other image, a bar each."""
    if not maps.images or "force" not in maps.values:
        return
    st.header("How the loss moves each image against this anchor", divider=False)
    st.caption(
        "The force −∂L/∂s; above 0 it pulls the two together, below 0 it pushes them apart. Images from the "
        f"most to the least overlap. {how(maps)}"
    )
    force, J = maps.values["force"][i, near], maps.values["J"][i, near]
    steady_chart(
        figures.forces([chosen.names[n] for n in near], force, J, loss_color(key, params)),
        "m_anchor_forces",
        "Force between the anchor and every other image of the batch",
    )
    table = [[chosen.names[n] for n in near], J, force]
    st.download_button(
        "CSV of these forces", lambda: mechanism.table_csv(["image", "J", "force"], table),
        "anchor-forces.csv", "text/csv", on_click="ignore",
    )  # fmt: skip


def _strip(chosen: Chosen, title: str, note: str, rows: np.ndarray, kind: str, color: str) -> dict[str, Any]:
    if len(rows) > MOST:
        note += f", the first {MOST} shown"
    shown = [selection.tile(chosen, int(row)) for row in rows[:MOST]]
    return {"title": title, "note": note, "color": color, "kind": kind, "tiles": shown}


def _compared(chosen: Chosen, i: int, near: np.ndarray, J: np.ndarray) -> None:
    """The comparison sets of MACL-nested for one anchor: a staircase, because they lie in each other."""
    sets, positives = mechanism.compared(chosen.batch.y, i), near[J[near] > 0]
    st.header("Whom each positive of this anchor is compared with", divider=False)
    if not len(positives):
        st.caption("No other image of the batch shares a label with this one.")
        return
    st.caption(
        "A row for each positive, a column for each other image, from the most to the least overlap. "
        "Coloured: they are compared. A positive never competes with images that share as much or more, so "
        "all that its row asks for is the order by overlap."
    )
    shown = np.where(sets, J[None, :], np.nan)[np.ix_(positives, near)]  # (P, B−1)
    images, name = selection.items(chosen), chosen.names[i]
    heatmaps.show(
        "m_compared",
        [
            HeatMap(
                "overlap J with the anchor",
                f"of those that are compared; anchor: {name}",
                shown,
                0,
                1,
                JACCARD_SCALE,
            )
        ],
        [images[p] for p in positives],
        [images[n] for n in near],
        lambda _, other: selection.pick(chosen, name, other),
        tiles=chosen.key,
        who=("positive", "compared image"),
        same=False,
    )


def _losses(
    chosen: Chosen,
    key: str,
    params: Mapping[str, Value],
    answer: Answer | None,
    i: int,
    near: np.ndarray,
) -> None:
    st.header("What each loss takes for a positive of this anchor, and with which weight", divider=False)
    st.caption(
        "Each image's share of the whole pull on the anchor; images from the most to the least overlap, "
        f"prototypes, which open no pair, right of the line. {plain(spec_of(key).title)} as set above, the "
        f"others at their defaults. {_row_of(key, answer)}"
    )
    size, name = len(chosen.batch.y), chosen.names[i]
    every = {loss: check_params(loss, {}) for loss in LOSSES if mechanism.written(loss)} | {key: params}
    rows = np.stack([mechanism.shares(loss, chosen.batch, given, i, answer) for loss, given in every.items()])
    others = np.concatenate([near, np.arange(size, rows.shape[1])])
    shown = np.where(rows > 0, rows, np.nan)[:, others]  # (losses, B−1+L)
    high = float(np.nanquantile(shown, 0.95)) if np.isfinite(shown).any() else 1.0
    titles, facts = [spec_of(loss).title for loss in every], [_fact(row, size) for row in rows]
    images = selection.items(chosen)
    columns = [*(images[n] for n in near), *selection.prototypes(chosen)]
    heatmaps.show(
        "m_losses",
        [
            HeatMap(
                "share of the pull",
                f"on {name}; {high:.3f} and more in the last colour",
                shown,
                0,
                high,
                SCALE,
            )
        ],
        [heatmaps.item(title, [fact]) for title, fact in zip(titles, facts, strict=True)],
        columns,
        lambda _, other: selection.pick(chosen, name, other),
        tiles=chosen.key,
        groups=[
            (f"{title} · {fact}", n, n + 1) for n, (title, fact) in enumerate(zip(titles, facts, strict=True))
        ],
        cuts=[len(near)],
        who=("loss", "image"),
        same=False,
        gutter="17rem",
        widest="none",
        row_height=24,
    )
    head = ["loss", *(column["name"] for column in columns)]
    table = [titles, *rows[:, others].T]
    st.download_button(
        "CSV of these shares", lambda: mechanism.table_csv(head, table), "anchor-weights.csv", "text/csv",
        on_click="ignore",
    )  # fmt: skip


def _row_of(key: str, answer: Answer | None) -> str:
    """What the row of a loss shows that has no numpy form."""
    if mechanism.written(key):
        return ""
    title = plain(spec_of(key).title)
    if answer is None:
        return f"The row of {title} is empty."
    if "w" in answer.arrays:
        return f"{title}: by {'w/T' if 'T' in answer.arrays else 'w'} of its `pair_terms`."
    by = "by the forces that pull" if "force" in answer.arrays else "empty"
    return f"{title} offers no weights: its row is {by}."


def _fact(row: np.ndarray, size: int) -> str:
    images, prototypes = int((row[:size] > 0).sum()), float(row[size:].sum())
    if not images:
        return "prototypes only" if prototypes else "no positive"
    count = f"{images} positive{'s' if images > 1 else ''}"
    return f"{count}, {100 * prototypes:.0f} % prototypes" if prototypes else count
