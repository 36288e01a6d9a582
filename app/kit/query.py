"""Which runs and which query: the state of the retrieval page and its permalink.

The address holds the runs' folder names, the query's image name, k, what is searched, the order of the rows,
and how queries are found. It is written when a person has changed something, and read when they come with a
link or go back in the browser. An uploaded picture is nobody's link: it stays out of it.

The widgets are not bound to the address, as those of other pages are: a click moves several parts of it (the
order of the queries, its runs, the query), and is to be one step back. A bound widget overwrites the step
before, and spells its value as it reads, where links have had `by=map_easy`.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from app import cache
from app.kit import permalink
from app.kit.names import config_label, method, told_apart
from app.kit.permalink import Between
from app.kit.words import plain
from core.errors import MaclError
from core.losses.own import place
from core.metrics import METRICS
from core.retrieval.search import RARITIES
from core.runs import Run, origin

RUNS, QUERY, COUNT = "retrieval_runs", "retrieval_query", "retrieval_k"
GALLERY, BY = "retrieval_gallery", "retrieval_by"  # what is searched; the metric that rows are ordered by
LABELS, EXACT, RARITY = "retrieval_labels", "retrieval_exact", "retrieval_rarity"  # which queries
ORDER, OF, OVER = "retrieval_order", "retrieval_of", "retrieval_over"  # and in which order they come
UPLOAD = "retrieval_upload"  # the uploaded picture that asks, None while a test image does
WHY = "retrieval_why"  # run and image whose similarity is being explained, and to which query
JUMP = "retrieval_jump"  # the next query is the first that is offered
_WRITTEN = "retrieval_now"  # the address that the page has written last
_MOVED = "retrieval_moved"  # a widget was used: what it says is newer than the address
_SHOWN, _EARLIER = "retrieval_shown", "retrieval_earlier"
TOP, MOST = 6, 50
MOST_ROWS = 4  # shown where nobody has chosen runs; these losses before others
FIRST = ("mulsupcon", "macl", "macl_nested", "wg_macl", "supcon_any")
REMEMBERED = 100
RECENT = 5
GALLERIES = {"": "Test split", "all": "All splits"}
ORDERS = {
    "": "As in the data set",
    "worst": "Worst of a run first",
    "lead": "Lead of one run over another first",
}

CHOICES = {  # part of the address to the widget and its values; the first one, the default, is left out of it
    "gallery": (GALLERY, tuple(GALLERIES)),
    "by": (BY, ("", *METRICS)),
    "rarity": (RARITY, ("", *RARITIES)),
    "order": (ORDER, tuple(ORDERS)),
}
PARTS = ("runs", "query", "k", *CHOICES, "labels", "exact", "of", "over")
Address = dict[str, list[str]]


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

    MulSupCon and MACL's family come before others, which are left out beyond `MOST_ROWS`; shown in the order
    of the losses. A preset with a single method is seen beside the other presets.
    """
    if not finished:
        return []
    newest = cache.config(finished[0])
    alike = [run for run in finished if run == finished[0] or one_split(run, finished[0])]
    by_method = _by_method([run for run in alike if cache.config(run).preset == newest.preset])
    if len(by_method) < 2:
        by_method = _by_method(alike)
    preferred = sorted(by_method, key=lambda key: FIRST.index(key[0]) if key[0] in FIRST else len(FIRST))
    return [by_method[key] for key in sorted(preferred[:MOST_ROWS], key=lambda key: place(key[0]))]


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
    newest: dict[tuple[str, str], str] = {}
    for run in finished:
        config = cache.config(run)
        newest.setdefault((config.loss, method(config)), run.id)
    return dict(sorted(newest.items()))


def option_labels(finished: Sequence[Run]) -> dict[str, str]:
    """A name for each run by its folder name, no two alike."""
    texts = []
    for run in finished:
        text = run.title or config_label(cache.config(run))
        texts.append(f"{text} · recorded" if run.recorded else text)
    return dict(zip((run.id for run in finished), told_apart(texts, finished), strict=True))


def restore(known: Sequence[str], default: Sequence[str]) -> None:
    """Bring a link, or a step back in the browser, into the widgets; call it before they are made.

    What it names and does not exist (any more) is said below the title.

    Args:
        known: Folder names of all finished runs.
        default: Runs to show where nothing else says which.
    """
    state, address = st.session_state, _address()
    used = state.pop(_MOVED, False)
    if RUNS not in state or (address and address != state.get(_WRITTEN) and not used):
        _take(address, known, default)
    gone = [run for run in state[RUNS] if run not in known]  # deleted in another tab, say
    permalink.note_gone(gone)
    kept = [run for run in state[RUNS] if run in known]
    state[RUNS] = kept or (list(default) if gone else [])
    for key in (OF, OVER):
        state[key] = state[key] if state[key] in state[RUNS] else ""


def _take(address: Address, known: Sequence[str], default: Sequence[str]) -> None:
    """Fill the widgets from an address, and with defaults what it leaves out or has wrong."""
    state, count = st.session_state, Between(1, MOST, whole=True)
    fitting = {key: values[1:] for key, (_, values) in CHOICES.items()}
    permalink.note_unknown(k=count, of=known, over=known, **fitting)
    first = defaultdict(str, {key: values[0] for key, values in address.items()})
    state[RUNS] = list(dict.fromkeys(address.get("runs", default)))
    state[QUERY], state[OF], state[OVER] = first["query"], first["of"], first["over"]
    state[COUNT] = int(first["k"]) if first["k"] in count else TOP
    for key, (widget, values) in CHOICES.items():
        state[widget] = first[key] if first[key] in values else ""
    state[LABELS], state[EXACT] = list(address.get("labels", ())), first["exact"] == "1"
    state[UPLOAD], state[JUMP] = None, bool(state[ORDER] and not state[QUERY])


def settle(names: Sequence[str], labels: np.ndarray, known: Callable[[str], bool]) -> None:
    """Make sure that the query can ask; by default it is the one of these images with most labels (N, L).

    Args:
        names: Of the images that are offered.
        labels: Theirs.
        known: Whether some chosen run can be asked for an image: results of a run become queries, too.
    """
    state = st.session_state
    name = state[QUERY] or ""
    if name in names or known(name):
        return
    if name:
        permalink.note(f"{plain(name)} is not among the images of these runs; another query is shown.")
    state[QUERY] = names[int(labels.sum(1).argmax())]


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
    chosen = left.multiselect(
        "Runs",
        list(known),
        key=RUNS,
        format_func=labels.__getitem__,
        on_change=moved,
        persist_state="session",
    )
    right.slider("Images per run", 1, MOST, key=COUNT, on_change=moved, persist_state="session")
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
    """Write what is shown into the address; one step in the browser's history, whatever has changed."""
    state = st.session_state
    more = {key: state[widget] for key, (widget, _) in CHOICES.items()}
    if state[ORDER]:
        more["of"] = state[OF]
    if state[ORDER] == "lead":
        more["over"] = state[OVER]
    more |= {"labels": state[LABELS], "exact": "1" if state[EXACT] and state[LABELS] else ""}
    parts = link(state[RUNS], state[QUERY], state[COUNT], **more)
    state[_WRITTEN] = {key: [value] if isinstance(value, str) else value for key, value in parts.items()}
    if state[_WRITTEN] != _address():
        st.query_params.from_dict(parts)


def _address() -> Address:
    """The parts of the address that say something."""
    return {key: st.query_params.get_all(key) for key in PARTS if any(st.query_params.get_all(key))}


def moved() -> None:
    """Say that a widget was used: what it holds is newer than the address."""
    st.session_state[_MOVED] = True


def jumped() -> None:
    """Likewise, and go to the first query that is offered."""
    st.session_state[JUMP] = True
    moved()
