"""Finding a query: by its name, labels, rarity, by where runs fail or differ, and from one to the next."""

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from app import cache
from app.kit import permalink, query
from app.kit.gallery import foreign, label_names, unreadable
from app.kit.words import plain
from app.retrieval.askable import Askable
from app.retrieval.rows import Query
from core.errors import MaclError
from core.metrics import METRICS
from core.retrieval.search import RARITIES, rare, worst_first
from core.runs import Run

RARE = {"": "any", **RARITIES}


def matching(labels: np.ndarray, columns: Sequence[int], exact: bool = False, rarity: str = "") -> list[int]:
    """Rows of labels (N, L) that hold all labels of these columns, and no others if `exact`."""
    fits = labels[:, list(columns)].astype(bool).all(axis=1)  # (N,)
    if exact and columns:
        fits &= labels.astype(bool).sum(1) == len(columns)
    if rarity:
        fits &= rare(labels, rarity)
    rows: list[int] = np.flatnonzero(fits).tolist()
    return rows


def tools(
    runs: Sequence[Run],
    titles: dict[str, str],
    names: Sequence[str],
    labels: np.ndarray,
    classes: Sequence[str],
) -> tuple[list[str], dict[str, str]]:
    """Widgets that say which images are offered as queries, and in which order.

    Args:
        runs: The chosen runs.
        titles: Their names among each other, by folder name.
        names: Of the test images of the first run.
        labels: Theirs, (N, L).
        classes: Name of each label.

    Returns:
        The images that are offered, in order; and, in words, the value of each that decides the order.
    """
    state = st.session_state
    for key in (query.OF, query.OVER):  # the order's runs: by default the first ones
        others = [run.id for run in runs if key == query.OF or run.id != state[query.OF]]
        if state[query.ORDER] and state[key] not in others and others:
            state[key] = others[0]
    fitting = filtered(labels, classes)
    with st.popover(
        f"Find queries ({len(fitting)} of {len(names)})", help="By labels, by rarity, by where runs fail"
    ):
        st.multiselect(
            "With these labels", list(classes), key=query.LABELS, on_change=query.moved, placeholder="any",
            persist_state="session",
        )  # fmt: skip
        st.checkbox("and no others", key=query.EXACT, on_change=query.moved, persist_state="session")
        _choice("Rarity", RARE, query.RARITY, query.moved)
        _choice("Order", query.ORDERS, query.ORDER, query.jumped)
        of_runs = {"": "–", **titles}
        left, right = st.columns(2)
        with left:
            _choice("Run", of_runs, query.OF, query.jumped, disabled=not state[query.ORDER])
        with right:
            _choice("over", of_runs, query.OVER, query.jumped, disabled=state[query.ORDER] != "lead")
        metric = state[query.BY] or "map_sim"
        st.caption(
            f"Worst and lead go by {METRICS[metric]} on the test split; “Rows by” chooses another metric."
        )
    try:
        order, values = _order(runs, names, metric)
    except (MaclError, OSError) as error:
        st.warning(plain(unreadable(error)))
        order, values = list(range(len(names))), {}
    missing = _no_order(runs, titles)
    if missing:
        st.warning(plain(missing))
    passing = set(fitting)
    rows = [row for row in order if row in passing]
    offered = [names[row] for row in rows]
    if state.pop(query.JUMP, False) and offered:
        state[query.QUERY], state[query.UPLOAD] = offered[0], None
    return offered, {names[row]: values[row] for row in rows if row in values}


def _choice(
    label: str, options: dict[str, str], key: str, on_change: Callable[[], None], disabled: bool = False
) -> None:
    st.selectbox(
        label, list(options), key=key, format_func=lambda value: options.get(value, value),
        on_change=on_change, persist_state="session", disabled=disabled,
    )  # fmt: skip


def forget_unknown(classes: Sequence[str]) -> None:
    """Take labels that the data set does not have out of the filter, and say which."""
    labels = st.session_state[query.LABELS]
    st.session_state[query.LABELS] = [label for label in labels if label in classes]
    for label in labels:
        if label not in classes:
            permalink.note(f"No label {plain(label)} here.")


def filtered(labels: np.ndarray, classes: Sequence[str]) -> list[int]:
    """Rows of labels (N, L) that pass the filters of the widgets."""
    state = st.session_state
    columns = [classes.index(label) for label in state[query.LABELS]]
    return matching(labels, columns, state[query.EXACT], state[query.RARITY])


def _no_order(runs: Sequence[Run], titles: dict[str, str]) -> str:
    """Why queries cannot be put into the chosen order, in words; empty if they can."""
    state, by_id = st.session_state, {run.id: run for run in runs}
    if state[query.ORDER] == "lead" and len(runs) < 2:
        return "A lead needs two runs: choose a second one. Until then queries come as in the data set."
    for key in {"worst": [query.OF], "lead": [query.OF, query.OVER]}.get(state[query.ORDER], []):
        run = by_id.get(state[key])
        reason = foreign(run, runs[0]) if run else ""
        if run and reason:
            return f"Queries come as in the data set, not by {titles[run.id]}: {reason}"
    return ""


def _order(runs: Sequence[Run], names: Sequence[str], metric: str) -> tuple[list[int], dict[int, str]]:
    """Rows of the first run's test images in the chosen order, and their values in words."""
    state, by_id = st.session_state, {run.id: run for run in runs}
    as_given: list[int] = list(range(len(names)))
    of, over = by_id.get(state[query.OF]), by_id.get(state[query.OVER])
    if not state[query.ORDER] or of is None or (state[query.ORDER] == "lead" and over is None):
        return as_given, {}
    values = _values(of, runs[0], names, metric)
    if state[query.ORDER] == "lead" and over is not None:
        others = _values(over, runs[0], names, metric)
        order = worst_first(values, others)
        shown = {n: f"{100 * (values[n] - others[n]):+.1f} points" for n in as_given}
        known = ~np.isnan(values - others)
    else:
        order = worst_first(values)
        shown = {n: f"{100 * values[n]:.1f} %" for n in as_given}
        known = ~np.isnan(values)
    return order.tolist(), {n: text for n, text in shown.items() if known[n]}


def _values(run: Run, reference: Run, names: Sequence[str], metric: str) -> np.ndarray:
    """The metric of a run for each of these images (N,); nan for those that its test split lacks."""
    if foreign(run, reference):
        return np.full(len(names), np.nan)
    scores, rows = cache.query_scores(run)[metric], cache.test_rows(run)
    return np.array([scores[rows[name]] if name in rows else np.nan for name in names])


def pick(
    names: Sequence[str],
    labels: np.ndarray,
    classes: Sequence[str],
    offered: Sequence[str],
    values: dict[str, str],
    askable: Askable,
) -> None:
    """Widgets that choose the query among the offered images.

    Args:
        names: Of all test images.
        labels: Theirs, (N, L).
        classes: Name of each label.
        offered: From `tools`.
        values: Likewise.
        askable: What can ask besides, such as a result of another split.
    """
    state = st.session_state
    order = {name: row for row, name in enumerate(names)}
    text = {name: f"{name} · {', '.join(label_names(labels[row], classes))}" for name, row in order.items()}
    text |= {name: f"{value} · {text[name]}" for name, value in values.items()}
    here: str = state[query.QUERY]
    own = askable.labels(here)
    text.setdefault(here, here if own is None else f"{here} · {', '.join(label_names(own, classes))}")
    left, right = st.columns([7, 4], vertical_alignment="bottom")
    left.selectbox(
        "Query",
        list(offered) if here in offered else [here, *offered],
        key=query.QUERY,
        format_func=text.__getitem__,
        filter_mode="contains",
        on_change=query.go_on,
        persist_state="session",
        help="Type a part of an image's name or of its labels. The images below can be clicked, too: arrow "
        "keys move from one to the next, Enter asks with it, W shows why it is similar.",
    )
    before, after = _neighbours(here, offered, order)
    others = [name for name in offered if name != here]
    with right.container(horizontal=True, gap="small"):
        st.button("Previous", on_click=query.go, args=before, disabled=not others, shortcut="P")
        st.button("Next", on_click=query.go, args=after, disabled=not others, shortcut="N")
        st.button("Random", on_click=_random, args=(others,), disabled=not others, shortcut="X")
        can = bool(query.earlier(askable.known) or state.get(query.UPLOAD))
        st.button("Back", on_click=query.back, args=(askable.known,), disabled=not can, shortcut="B")


def query_of(askable: Askable) -> Query:
    """The image that asks, with its labels."""
    name: str = st.session_state[query.QUERY]
    return Query(name, askable.labels(name))


def _neighbours(
    query_name: str, offered: Sequence[str], order: dict[str, int]
) -> tuple[list[str], list[str]]:
    """The offered images before and after the query, round the end; by its position if it is not offered."""
    if not offered:
        return [], []
    if query_name in offered:
        here = list(offered).index(query_name)
        return [offered[here - 1]], [offered[(here + 1) % len(offered)]]
    position = order.get(query_name, -1)  # of another split: before all of them
    before = [name for name in offered if order[name] < position] or list(offered)
    after = [name for name in offered if order[name] > position] or list(offered)
    return before[-1:], after[:1]


def _random(names: Sequence[str]) -> None:
    query.go(str(np.random.default_rng().choice(list(names))))
