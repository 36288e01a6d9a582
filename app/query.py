"""Which runs and which query: the state of the retrieval page, its permalink, and the ways to another query.

The address holds the runs' folder names, the query's image name and k. It is written when a person has
changed something, and read when they come with a link or go back in the browser.
"""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from app import cache
from app.gallery import held
from app.names import config_label, method, started
from core.losses import LOSSES
from core.runs import Run, RunConfig

RUNS, QUERY, LABELS, COUNT = "retrieval_runs", "retrieval_query", "retrieval_labels", "retrieval_k"
_NOW = "retrieval_now"  # what the page showed last, as the address says it
_KEPT = "retrieval_kept"  # the same, kept while another page is open
_MOVED = "retrieval_moved"  # a widget was used: what it says is newer than the address
_SHOWN, _EARLIER = "retrieval_shown", "retrieval_earlier"
TOP, MOST = 6, 50
MOST_ROWS = 4  # shown where nobody has chosen runs; these losses before others
FIRST = ("mulsupcon", "macl", "wg_macl", "supcon_any")
REMEMBERED = 100
RECENT = 5

Address = tuple[tuple[str, ...], str, str]


def link(runs: Sequence[str], query: str = "", k: int = TOP) -> dict[str, str | list[str]]:
    """Query parameters of a link to this page, for `st.page_link`."""
    return {"runs": list(runs), **({"query": query} if query else {}), **({"k": str(k)} if k != TOP else {})}


def default_runs(finished: Sequence[Run]) -> list[str]:
    """The newest run of a few methods on the data set, preset and seed of the newest run.

    MulSupCon and the variants of MACL come before others, which are left out beyond `MOST_ROWS`; shown in the
    order of the losses. A preset with a single method is seen beside the other presets.
    """
    if not finished:
        return []
    newest = cache.config(finished[0])
    alike = [run for run in finished if _split(cache.config(run)) == _split(newest)]
    by_method = _by_method([run for run in alike if cache.config(run).preset == newest.preset])
    if len(by_method) < 2:
        by_method = _by_method(alike)
    wanted = sorted(by_method, key=lambda key: FIRST.index(key[0]) if key[0] in FIRST else len(FIRST))
    return [by_method[key] for key in sorted(wanted[:MOST_ROWS], key=lambda key: list(LOSSES).index(key[0]))]


def _split(config: RunConfig) -> tuple[str, str | None, int]:
    return config.dataset, config.data_root if config.dataset == "folder" else None, config.seed


def _by_method(finished: Sequence[Run]) -> dict[tuple[str, str], str]:
    """Folder name of the newest run of each loss and its parameters, in the order of the parameters."""
    found: dict[tuple[str, str], str] = {}
    for run in finished:
        config = cache.config(run)
        found.setdefault((config.loss, method(config)), run.id)
    return dict(sorted(found.items()))


def option_labels(finished: Sequence[Run]) -> dict[str, str]:
    """A name for each run by its folder name, no two alike."""
    texts = {}
    for run in finished:
        text = run.title or config_label(cache.config(run))
        texts[run.id] = f"{text} · recorded" if run.recorded else text
    seen = list(texts.values())
    return {
        run.id: texts[run.id] if seen.count(texts[run.id]) == 1 else f"{texts[run.id]} · {started(run)}"
        for run in finished
    }


def restore(known: Sequence[str], default: Sequence[str]) -> list[str]:
    """Bring address or memory into the widgets; call it before they are made.

    Args:
        known: Folder names of all finished runs.
        default: Runs to show where nothing else says which.

    Returns:
        What the address asked for and does not exist (any more), in words.
    """
    state, asked, gone = st.session_state, _address(), []
    used = state.pop(_MOVED, False)
    arrived = COUNT not in state
    if arrived:
        state.pop(_NOW, None)  # so that the address is written
    if any(asked) and (arrived or (asked != state.get(_NOW) and not used)):
        runs, query, count = asked
        gone = [f"Run {run} is not here (any more)." for run in runs if run not in known]
        if count and not _valid(count):
            gone.append(f"k = {count}: need 1 to {MOST}.")
    elif arrived:
        runs, query, count = state.get(_KEPT, ((), "", ""))
    else:
        state[RUNS] = [run for run in state[RUNS] if run in known]
        return []
    state[RUNS] = [run for run in dict.fromkeys(runs) if run in known] or list(default)
    state[QUERY] = query
    state[COUNT] = int(count) if _valid(count) else TOP
    return gone


def settle(names: Sequence[str], labels: np.ndarray) -> list[str]:
    """Make sure that the query is one of these images, by default the one with most labels (N, L).

    The query before it goes to the earlier ones.

    Returns:
        What is wrong with the query that was asked for, in words.
    """
    state = st.session_state
    asked, shown = state.get(QUERY) or "", state.get(_SHOWN)
    if asked not in names:
        state[QUERY] = names[int(labels.sum(1).argmax())]
    if shown and shown != state[QUERY]:
        state[_EARLIER] = [*state.get(_EARLIER, []), shown][-REMEMBERED:]
    state[_SHOWN] = state[QUERY]
    if asked in names or not asked:
        return []
    return [f"{asked} is no test image of the first run; another query is shown."]


def choose_runs(finished: Sequence[Run]) -> list[Run]:
    """Widgets that choose runs, and how many images each of them shows."""
    labels, known = option_labels(finished), {run.id: run for run in finished}
    left, right = st.columns([8, 3])
    chosen = left.multiselect("Runs", list(known), key=RUNS, format_func=labels.__getitem__, on_change=moved)
    right.slider("Images per run", 1, MOST, key=COUNT, on_change=moved)
    return [known[name] for name in chosen]


def pick(names: Sequence[str], labels: np.ndarray, classes: Sequence[str]) -> str:
    """Widgets that choose the query among these images with labels (N, L)."""
    state = st.session_state
    state[LABELS] = [label for label in state.get(LABELS, []) if label in classes]
    wanted = [classes.index(label) for label in state[LABELS]]
    fitting = [names[row] for row in matching(labels, wanted)]
    text = {
        name: f"{name} · {', '.join(held(row, classes))}" for name, row in zip(names, labels, strict=True)
    }
    left, middle, right = st.columns([4, 3, 4], vertical_alignment="bottom")
    left.selectbox(
        "Query",
        fitting if state[QUERY] in fitting else [state[QUERY], *fitting],
        key=QUERY,
        format_func=text.__getitem__,
        filter_mode="contains",
        on_change=moved,
        help="Type a part of an image's name or of its labels. The images below can be clicked, too: arrow "
        "keys move from one to the next, Enter asks with it.",
    )
    middle.multiselect(
        f"Only with these labels ({len(fitting)} of {len(names)})",
        list(classes),
        key=LABELS,
        on_change=moved,
        placeholder="any",
    )
    with right.container(horizontal=True, gap="small"):
        order = {name: row for row, name in enumerate(names)}
        query: str = state[QUERY]
        here = order[query]
        before = [name for name in fitting if order[name] < here] or fitting
        after = [name for name in fitting if order[name] > here] or fitting
        others = [name for name in fitting if name != query]
        st.button("Previous", on_click=go, args=before[-1:], disabled=not others, shortcut="P")
        st.button("Next", on_click=go, args=after[:1], disabled=not others, shortcut="N")
        st.button("Random", on_click=_random, args=(others,), disabled=not others, shortcut="X")
        st.button("Back", on_click=_back, args=(names,), disabled=not earlier(names), shortcut="B")
    return query


def matching(labels: np.ndarray, wanted: Sequence[int]) -> list[int]:
    """Rows of labels (N, L) that hold all of the wanted ones."""
    rows: list[int] = np.flatnonzero(labels[:, list(wanted)].astype(bool).all(axis=1)).tolist()
    return rows


def go(name: str) -> None:
    """Make this image the query."""
    st.session_state[QUERY] = name
    moved()


def earlier(names: Sequence[str]) -> list[str]:
    """Queries before this one that are among these images, latest first, each once."""
    known, trail = set(names), reversed(st.session_state.get(_EARLIER, []))
    now = st.session_state.get(QUERY)
    return [name for name in dict.fromkeys(trail) if name in known and name != now][:RECENT]


def publish() -> None:
    """Remember what is shown, and write it into the address where that says something else."""
    state = st.session_state
    asked, count = _address(), "" if state[COUNT] == TOP else str(state[COUNT])
    now = tuple(state[RUNS]), state[QUERY], count
    # an empty address when this was shown before: the person is on their way back, to another page perhaps
    if now != asked and (any(asked) or now != state.get(_NOW)):
        st.query_params.from_dict(link(state[RUNS], state[QUERY], state[COUNT]))
    state[_NOW] = state[_KEPT] = now


def _address() -> Address:
    url = st.query_params
    return tuple(url.get_all("runs")), url.get("query", ""), url.get("k", "")


def _valid(count: str) -> bool:
    return count.isascii() and count.isdecimal() and 1 <= int(count) <= MOST


def moved() -> None:
    """Say that a widget was used: what it holds is newer than the address."""
    st.session_state[_MOVED] = True


def _random(names: Sequence[str]) -> None:
    go(str(np.random.default_rng().choice(list(names))))


def _back(names: Sequence[str]) -> None:
    state = st.session_state
    trail = list(state.get(_EARLIER, []))
    while trail and (trail[-1] == state[QUERY] or trail[-1] not in names):
        trail.pop()
    if trail:
        go(trail[-1])
        state[_EARLIER], state[_SHOWN] = trail[:-1], trail[-1]
