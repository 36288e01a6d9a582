"""Why is it similar? Both images of a pair with the regions that carry their cosine, in a dialog."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import streamlit as st

from app import cache
from app.kit import query
from app.kit.component import component
from app.kit.names import run_label
from app.kit.waiting import progress
from app.kit.words import plain
from app.retrieval.rows import Query
from core.errors import MaclError
from core.retrieval import ask
from core.runs import Run

HERE = Path(__file__).parent

_component = component(
    "macl_why",
    html='<div class="why"></div>',
    css=(HERE / "why.css").read_text(),
    js=(HERE / "why.js").read_text(),
)


def open_for(run: str, name: str) -> None:
    """Explain why that run finds this image similar to the query."""
    st.session_state[query.WHY] = run, name, query.asking()


def close() -> None:
    """The dialog was closed."""
    st.session_state[query.WHY] = None


def show(runs: Sequence[Run], asking: Query, uri: Callable[[str], str] | None) -> None:
    """The dialog, if somebody wants it; it closes when another query asks."""
    explained = st.session_state.get(query.WHY)
    if explained is None:
        return
    run_id, name, of = explained
    run = next((run for run in runs if run.id == run_id), None)
    if run is None or of != query.asking() or (name == asking.name and not asking.upload):
        close()
        return
    _dialog(run, asking, name, uri)


@st.dialog("Why is it similar?", width="large", on_dismiss=close)
def _dialog(run: Run, asking: Query, name: str, uri: Callable[[str], str] | None) -> None:
    first = ask.PICTURE + asking.upload if asking.upload else asking.name
    question = ask.Question("explain", str(run.path), first, name)
    try:
        reply = ask.ask(question)
    except MaclError as error:
        st.error(plain(str(error)))
        return
    if reply.state == "failed":
        st.error(plain(reply.error))
        st.button("Try again", on_click=ask.again, args=(question,))
    elif reply.state == "waiting":
        progress([question])
    else:
        _draw(run, asking, name, uri, reply.arrays)


def _draw(
    run: Run, asking: Query, second: str, uri: Callable[[str], str] | None, regions: dict[str, np.ndarray]
) -> None:
    first = asking.name
    cosine, constant = float(regions["cosine"]), float(regions["first_constant"])
    high, wide = regions["first"].shape
    st.caption(
        f"{plain(run_label(run))} takes the two for similar: cosine {cosine:.3f}, a sum over the "
        f"{high} × {wide} regions of either image. The brighter a region, the more it adds; blue takes away. "
        "Point at one, or walk there with Tab, to see which regions of the other image it goes with."
    )
    _component(
        key="why",
        data={
            "images": [uri(asking.image) if uri else "", uri(second) if uri else ""],
            "names": [f"Query: {first}", f"Result: {second}"],
            "alts": [spoken(first, regions["first"], cosine), spoken(second, regions["second"], cosine)],
            "maps": [regions["first"].tolist(), regions["second"].tolist()],
            "pairs": regions["pairs"].reshape(high * wide, -1).round(6).tolist(),
            "cosine": cosine,
        },
    )
    config = cache.config(run)
    st.caption(
        "Exact, not a sketch: on the piece of the two-layer head where an image lies, its embedding is a sum "
        f"over the positions of the last map of {plain(config.backbone)} at {config.image_size:d} px "
        "(Stylianou et al., Visualizing Deep Similarity Networks, WACV 2019; the head's ReLUs as they are "
        "for the image). "
        f"Regions {cosine - constant:.3f} and biases of the head {constant:+.3f} make {cosine:.3f}. "
        "What a position sees reaches beyond its region."
    )


def spoken(name: str, values: np.ndarray, cosine: float) -> str:
    """The strongest regions (H, W) in words, for those who cannot see the picture."""
    high, wide = values.shape
    best = np.argsort(-values, axis=None)[:3]
    strongest = []
    for position in best:
        row, column = divmod(int(position), wide)
        share = 100 * float(values[row, column]) / cosine if not math.isclose(cosine, 0) else 0.0
        strongest.append(f"row {row + 1} column {column + 1} with {share:.0f} %")
    return f"{name}: of {high} rows and {wide} columns of regions, most comes from {'; '.join(strongest)}"
