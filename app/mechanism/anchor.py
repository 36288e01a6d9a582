"""Fig. 1, live: an anchor, the positives of each of its labels, its negatives; its weights in all losses."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from app.kit import heatmaps, tiles
from app.kit.heatmaps import HeatMap
from app.kit.palette import JACCARD_SCALE
from app.mechanism import selection
from app.mechanism.batch import Chosen
from core import mechanism
from core.labels import counts, jaccard
from core.losses import LOSSES, Value, check_params

MOST = 40  # pictures in a strip
SCALE = [(0.0, "#4a2c63"), (0.5, "#c2456a"), (1.0, "#f8b566")]


def show(chosen: Chosen, key: str, params: Mapping[str, Value], started: float) -> None:
    """The anchor's sets in pictures, and its weights under the 13 losses.

    Args:
        chosen: The batch.
        key: The loss whose parameters are set.
        params: All of its parameters.
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
    _losses(chosen, key, params, i, near)


def _strip(chosen: Chosen, title: str, note: str, rows: np.ndarray, kind: str, color: str) -> dict[str, Any]:
    if len(rows) > MOST:
        note += f", the first {MOST} shown"
    shown = [selection.tile(chosen, int(row)) for row in rows[:MOST]]
    return {"title": title, "note": note, "color": color, "kind": kind, "tiles": shown}


def _losses(chosen: Chosen, key: str, params: Mapping[str, Value], i: int, near: np.ndarray) -> None:
    st.header("What each loss takes for a positive of this anchor, and with which weight", divider=False)
    st.caption(
        "Each image's share of the whole pull on the anchor; images from the most to the least overlap, "
        f"prototypes, which open no pair, right of the line. {LOSSES[key].title} as set above, the others at "
        "their defaults."
    )
    size, name = len(chosen.batch.y), chosen.names[i]
    every = {loss: params if loss == key else check_params(loss, {}) for loss in LOSSES}
    rows = np.stack([mechanism.shares(loss, chosen.batch, given, i) for loss, given in every.items()])
    others = np.concatenate([near, np.arange(size, rows.shape[1])])
    shown = np.where(rows > 0, rows, np.nan)[:, others]  # (13, B−1+L)
    high = float(np.nanquantile(shown, 0.95)) if np.isfinite(shown).any() else 1.0
    titles, facts = [LOSSES[loss].title for loss in LOSSES], [_fact(row, size) for row in rows]
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


def _fact(row: np.ndarray, size: int) -> str:
    images, prototypes = int((row[:size] > 0).sum()), float(row[size:].sum())
    if not images:
        return "prototypes only" if prototypes else "no positive"
    count = f"{images} positive{'s' if images > 1 else ''}"
    return f"{count}, {100 * prototypes:.0f} % prototypes" if prototypes else count
