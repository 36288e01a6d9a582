"""Which runs and which query: the state of the retrieval page and its permalink.

The address holds the runs' folder names, the query's image name, k, what is searched, the order of the rows,
and how queries are found. It is written when a person has changed something, and read when they come with a
link or go back in the browser. An uploaded picture is nobody's link: it stays out of it.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import streamlit as st

from app import cache
from app.kit.names import config_label, method, told_apart
from core.errors import MaclError
from core.losses import LOSSES
from core.metrics import METRICS
from core.retrieval.search import RARITIES
from core.runs import Run, origin

RUNS, QUERY, COUNT = "retrieval_runs", "retrieval_query", "retrieval_k"
GALLERY, BY = "retrieval_gallery", "retrieval_by"  # what is searched; the metric that rows are ordered by
LABELS, EXACT, RARITY = "retrieval_labels", "retrieval_exact", "retrieval_rarity"  # which queries
ORDER, OF, OVER = "retrieval_order", "retrieval_of", "retrieval_over"  # and in which order they come
UPLOAD = "retrieval_upload"  # the uploaded picture that asks, None while a test image does
WHY = "retrieval_why"  # run and image whose similarity is being explained, and to which query
JUMP = "retrieval_jump"  # the next query is the first that is found
_NOW = "retrieval_now"  # what the page showed last, as the address says it
_KEPT = "retrieval_kept"  # the same, kept while another page is open
_MOVED = "retrieval_moved"  # a widget was used: what it says is newer than the address
_SHOWN, _EARLIER = "retrieval_shown", "retrieval_earlier"
TOP, MOST = 6, 50
MOST_ROWS = 4  # shown where nobody has chosen runs; these losses before others
FIRST = ("mulsupcon", "macl", "wg_macl", "supcon_any")
REMEMBERED = 100
RECENT = 5
GALLERIES = {"": "Test split", "all": "All splits"}
ORDERS = {
    "": "As in the data set",
    "worst": "Worst of a run first",
    "lead": "Lead of one run over another first",
}

PLAIN = {  # of the address to the widget: those with one value, their values and the first as default
    "gallery": (GALLERY, tuple(GALLERIES)),
    "by": (BY, ("", *METRICS)),
    "rarity": (RARITY, ("", *RARITIES)),
    "order": (ORDER, tuple(ORDERS)),
}
Address = dict[str, tuple[str, ...]]


def link(runs: Sequence[str], query: str = "", k: int = TOP, **more: object) -> dict[str, str | list[str]]:
    """Query parameters of a link to this page, for `st.page_link`.

    Args:
        runs: Folder names.
        query: Image name.
        k: Images per run.
        more: Other parts of the address: gallery, by, labels, exact, rarity, order, of, over.
    """
    parts: dict[str, str | list[str]] = {"runs": list(runs)}
    if query:
        parts["query"] = query
    if k != TOP:
        parts["k"] = str(k)
    for key, value in more.items():
        if value:
            parts[key] = [str(one) for one in value] if isinstance(value, list | tuple) else str(value)
    return parts


def default_runs(finished: Sequence[Run]) -> list[str]:
    """The newest run of a few methods on the data set, preset and seed of the newest run.

    MulSupCon and the variants of MACL come before others, which are left out beyond `MOST_ROWS`; shown in the
    order of the losses. A preset with a single method is seen beside the other presets.
    """
    if not finished:
        return []
    newest = cache.config(finished[0])
    alike = [run for run in finished if run == finished[0] or one_split(run, finished[0])]
    by_method = _by_method([run for run in alike if cache.config(run).preset == newest.preset])
    if len(by_method) < 2:
        by_method = _by_method(alike)
    wanted = sorted(by_method, key=lambda key: FIRST.index(key[0]) if key[0] in FIRST else len(FIRST))
    return [by_method[key] for key in sorted(wanted[:MOST_ROWS], key=lambda key: list(LOSSES).index(key[0]))]


def one_split(run: Run, other: Run) -> bool:
    """Whether two runs were tested on the same images; False where their files cannot be read."""
    mine, theirs = cache.config(run), cache.config(other)
    if (mine.dataset, mine.seed) != (theirs.dataset, theirs.seed):
        return False  # of most runs nothing has to be read
    try:
        return origin.compare(cache.data(run), cache.data(other)).split
    except MaclError:
        return False


def _by_method(finished: Sequence[Run]) -> dict[tuple[str, str], str]:
    """Folder name of the newest run of each loss and its parameters, in the order of the parameters."""
    found: dict[tuple[str, str], str] = {}
    for run in finished:
        config = cache.config(run)
        found.setdefault((config.loss, method(config)), run.id)
    return dict(sorted(found.items()))


def option_labels(finished: Sequence[Run]) -> dict[str, str]:
    """A name for each run by its folder name, no two alike."""
    texts = []
    for run in finished:
        text = run.title or config_label(cache.config(run))
        texts.append(f"{text} · recorded" if run.recorded else text)
    return dict(zip((run.id for run in finished), told_apart(texts, finished), strict=True))


def restore(known: Sequence[str], default: Sequence[str]) -> list[str]:
    """Bring address or memory into the widgets; call it before they are made.

    Args:
        known: Folder names of all finished runs.
        default: Runs to show where nothing else says which.

    Returns:
        What the address or the widgets ask for and does not exist (any more), in words.
    """
    state, asked, gone = st.session_state, _address(), []
    used = state.pop(_MOVED, False)
    arrived = COUNT not in state
    if arrived:
        state.pop(_NOW, None)  # so that the address is written
    if asked and (arrived or (asked != state.get(_NOW) and not used)):
        gone = _unknown(asked, known)
        _take(asked, known, default)
        state[UPLOAD] = None
    elif arrived:
        _take(state.get(_KEPT, {}), known, default)
    else:
        lost = [run for run in state[RUNS] if run not in known]  # deleted in another tab, say
        gone = [_lost(run) for run in lost]
        kept = [run for run in state[RUNS] if run in known]
        state[RUNS] = kept or (list(default) if lost else [])
        for key in (OF, OVER):
            state[key] = state[key] if state[key] in state[RUNS] else ""
        for key in (GALLERY, BY, LABELS, EXACT, RARITY, ORDER):
            state[key] = state[key]  # of a widget that is not drawn, too
    return gone


def _take(asked: Mapping[str, tuple[str, ...]], known: Sequence[str], default: Sequence[str]) -> None:
    """Fill the widgets from an address, and with defaults what it leaves out or has wrong."""
    state, one = st.session_state, {key: values[0] for key, values in asked.items() if values}
    state[RUNS] = [run for run in dict.fromkeys(asked.get("runs", ())) if run in known] or list(default)
    state[QUERY] = one.get("query", "")
    state[COUNT] = int(one["k"]) if _valid(one.get("k", "")) else TOP
    for key, (widget, values) in PLAIN.items():
        state[widget] = one.get(key, "") if one.get(key, "") in values else values[0]
    state[LABELS] = list(asked.get("labels", ()))
    state[EXACT] = one.get("exact") == "1"
    for key, widget in (("of", OF), ("over", OVER)):
        state[widget] = one.get(key, "") if one.get(key, "") in state[RUNS] else ""
    if not state[QUERY] and state[ORDER]:
        state[JUMP] = True


def _unknown(asked: Mapping[str, tuple[str, ...]], known: Sequence[str]) -> list[str]:
    """What an address names and does not exist (any more), in words."""
    gone = [_lost(run) for run in asked.get("runs", ()) if run not in known]
    count = "".join(asked.get("k", ()))
    if count and not _valid(count):
        gone.append(f"k = {count}: need 1 to {MOST}.")
    for key, (_, values) in PLAIN.items():
        gone += [f"{key} = {value} is unknown." for value in asked.get(key, ()) if value not in values]
    for key in ("of", "over"):
        gone += [f"{key} = {value}: no such row." for value in asked.get(key, ()) if value not in known]
    return gone


def _lost(run: str) -> str:
    return f"Run {run} is not here (any more)."


def settle(names: Sequence[str], labels: np.ndarray, known: Callable[[str], bool]) -> list[str]:
    """Make sure that the query can ask; by default it is the one of these images with most labels (N, L).

    Args:
        names: Of the images that are offered.
        labels: Theirs.
        known: Whether some chosen run can be asked for an image: results of a run become queries, too.

    Returns:
        What is wrong with the query that was asked for, in words.
    """
    state = st.session_state
    asked = state.get(QUERY) or ""
    if asked in names or known(asked):
        return []
    state[QUERY] = names[int(labels.sum(1).argmax())]
    return [f"{asked} is not among the images of these runs; another query is shown."] if asked else []


def note_shown() -> None:
    """Remember the query that is shown now; the one before it goes to the earlier ones."""
    state = st.session_state
    shown = state.get(_SHOWN)
    if shown and shown != state[QUERY]:
        state[_EARLIER] = [*state.get(_EARLIER, []), shown][-REMEMBERED:]
    state[_SHOWN] = state[QUERY]


def choose_runs(finished: Sequence[Run]) -> list[Run]:
    """Widgets that choose runs, and how many images each of them shows."""
    labels, known = option_labels(finished), {run.id: run for run in finished}
    left, right = st.columns([8, 3])
    chosen = left.multiselect("Runs", list(known), key=RUNS, format_func=labels.__getitem__, on_change=moved)
    right.slider("Images per run", 1, MOST, key=COUNT, on_change=moved)
    return [known[name] for name in chosen]


def go(name: str) -> None:
    """Make this image the query."""
    st.session_state[QUERY] = name
    st.session_state[UPLOAD] = None
    moved()


def asking() -> str:
    """Who asks: the key of an uploaded picture, else the name of the query."""
    upload = st.session_state.get(UPLOAD)
    return str(upload["key"] if upload else st.session_state[QUERY])


def go_on() -> None:
    """The query was chosen by its name: a picture that was uploaded asks no longer."""
    go(st.session_state[QUERY])


def earlier(known: Callable[[str], bool]) -> list[str]:
    """Queries before this one that can still ask, latest first, each once."""
    trail, now = reversed(st.session_state.get(_EARLIER, [])), st.session_state.get(QUERY)
    return [name for name in dict.fromkeys(trail) if known(name) and name != now][:RECENT]


def back(known: Callable[[str], bool]) -> None:
    """Make the query before this one the query again."""
    state = st.session_state
    if state.get(UPLOAD):
        go(state[QUERY])
        return
    trail = list(state.get(_EARLIER, []))
    while trail and (trail[-1] == state[QUERY] or not known(trail[-1])):
        trail.pop()
    if trail:
        go(trail[-1])
        state[_EARLIER], state[_SHOWN] = trail[:-1], trail[-1]


def publish() -> None:
    """Remember what is shown, and write it into the address where that says something else."""
    state = st.session_state
    more = {key: state[widget] for key, (widget, _) in PLAIN.items()}
    if state[ORDER]:
        more["of"] = state[OF]
    if state[ORDER] == "lead":
        more["over"] = state[OVER]
    more |= {"labels": state[LABELS], "exact": "1" if state[EXACT] and state[LABELS] else ""}
    parts = link(state[RUNS], state[QUERY], state[COUNT], **more)
    now = _normal({key: [value] if isinstance(value, str) else value for key, value in parts.items()})
    asked = _address()
    # an empty address when this was shown before: the person is on their way back, to another page perhaps
    if now != asked and (asked or now != state.get(_NOW)):
        st.query_params.from_dict(parts)
    state[_NOW] = state[_KEPT] = now


def _address() -> Address:
    url = st.query_params
    return _normal({key: url.get_all(key) for key in url})


def _normal(parts: Mapping[str, Sequence[str]]) -> Address:
    """The parts of an address that say something, in one order."""
    known = ("runs", "query", "k", *PLAIN, "labels", "exact", "of", "over")
    return {key: tuple(parts[key]) for key in known if any(parts.get(key, ()))}


def _valid(count: str) -> bool:
    return count.isascii() and count.isdecimal() and len(count) < 4 and 1 <= int(count) <= MOST


def moved() -> None:
    """Say that a widget was used: what it holds is newer than the address."""
    st.session_state[_MOVED] = True


def jumped() -> None:
    """Likewise, and go to the first query that is found."""
    st.session_state[JUMP] = True
    moved()
