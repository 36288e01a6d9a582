"""What is searched, and how: the state of the archive page and its permalink.

As on the retrieval page the address is written when a person has changed something, in one step, and read
when they come with a link or go back in the browser. An uploaded picture stays out of it.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import streamlit as st

from app.kit import permalink, upload
from app.kit.permalink import Between
from core.archive.query import Filter

PAGE = "archive"
URI, RUNS, COUNT = "archive_uri", "archive_encoders", "archive_k"
QUERY = "archive_query"  # LIKE and the id of an image of the archive, or IMAGE and a name in a data set
PLUS, MINUS = "archive_plus", "archive_minus"  # ids of further examples
LABELS, SOURCE, BOX, EXACT = "archive_labels", "archive_source", "archive_box", "archive_exact"
LOOKING = "archive_looking"  # what the marks are about
UPLOAD = upload.key(PAGE)
LIKE, IMAGE = "like:", "image:"
_WRITTEN, _MOVED = "archive_now", "archive_moved"
_SHOWN, _EARLIER = "archive_shown", "archive_earlier"
TOP, MOST = 8, 50
REMEMBERED, RECENT = 100, 5

PARTS = ("archive", "runs", "query", "k", "plus", "minus", "labels", "source", "box", "exact", "looking")
Address = dict[str, list[str]]


def restore() -> None:
    """Bring a link, or a step back in the browser, into the widgets; call it before they are made."""
    state, address = st.session_state, _address()
    used = state.pop(_MOVED, False)
    if URI not in state or (address and address != state.get(_WRITTEN) and not used):
        _take(address)


def _take(address: Address) -> None:
    state, count = st.session_state, Between(1, MOST, whole=True)
    permalink.note_unknown(k=count, plus=_ID, minus=_ID, exact=("1",))
    first = defaultdict(str, {key: values[0] for key, values in address.items()})
    state[URI], state[RUNS] = first["archive"], list(dict.fromkeys(address.get("runs", ())))
    state[COUNT] = int(first["k"]) if first["k"] in count else TOP
    state[QUERY] = first["query"]
    for key, part in ((PLUS, "plus"), (MINUS, "minus")):
        state[key] = list(dict.fromkeys(int(one) for one in address.get(part, ()) if one in _ID))
    state[LABELS], state[SOURCE] = list(address.get("labels", ())), first["source"]
    state[BOX], state[EXACT], state[LOOKING] = first["box"], first["exact"] == "1", first["looking"]
    state[UPLOAD] = None


class _Id(Between):
    """Ids of images as an address spells them."""


_ID = _Id(0, 2**63 - 1, whole=True)


def publish() -> None:
    """Write what is shown into the address; one step in the browser's history, whatever has changed."""
    state = st.session_state
    parts: Address = {
        "archive": [state[URI]],
        "runs": list(state[RUNS]),
        "query": [state[QUERY]],
        "k": [str(state[COUNT])] if state[COUNT] != TOP else [],
        "plus": [str(one) for one in state[PLUS]],
        "minus": [str(one) for one in state[MINUS]],
        "labels": list(state[LABELS]),
        "source": [state[SOURCE]],
        "box": [state[BOX]],
        "exact": ["1"] if state[EXACT] else [],
        "looking": [state[LOOKING]],
    }
    state[_WRITTEN] = {key: values for key, values in parts.items() if any(values)}
    if state[_WRITTEN] != _address():
        st.query_params.from_dict(state[_WRITTEN])


def _address() -> Address:
    """The parts of the address that say something."""
    return {key: st.query_params.get_all(key) for key in PARTS if any(st.query_params.get_all(key))}


def moved() -> None:
    """Say that a widget was used: what it holds is newer than the address."""
    st.session_state[_MOVED] = True


def opened() -> None:
    """Another archive was chosen: nothing of what was asked before is in it."""
    state = st.session_state
    state[RUNS], state[QUERY], state[PLUS], state[MINUS] = [], "", [], []
    state[LABELS], state[SOURCE], state[BOX], state[LOOKING] = [], "", "", ""
    state[_SHOWN], state[_EARLIER], state[UPLOAD] = "", [], None
    moved()


def go(query: str) -> None:
    """Let this ask, without further examples."""
    state = st.session_state
    state[QUERY], state[UPLOAD], state[PLUS], state[MINUS] = query, None, [], []
    moved()


def example(kind: str, image: int) -> None:
    """Put an image among the wanted (PLUS) or unwanted (MINUS) examples, or take it away again."""
    state, other = st.session_state, MINUS if kind == PLUS else PLUS
    there = image in state[kind]
    state[kind] = [one for one in state[kind] if one != image] + ([] if there else [image])
    state[other] = [one for one in state[other] if one != image]
    moved()


def note_shown() -> None:
    """Remember the query that is shown now; the one before it goes to the earlier ones."""
    state = st.session_state
    shown = state.get(_SHOWN)
    if shown and shown != state[QUERY]:
        state[_EARLIER] = [*state.get(_EARLIER, []), shown][-REMEMBERED:]
    state[_SHOWN] = state[QUERY]


def earlier() -> list[str]:
    """Queries before this one, latest first, each once."""
    state = st.session_state
    trail = [*state.get(_EARLIER, []), state.get(_SHOWN)]  # the last one may not be noted yet
    return [query for query in dict.fromkeys(reversed(trail)) if query and query != state[QUERY]][:RECENT]


def back(known: Callable[[str], bool]) -> None:
    """Make the query before this one the query again; after examples or an upload, the query alone."""
    state = st.session_state
    if state.get(UPLOAD) or state[PLUS] or state[MINUS]:
        go(state[QUERY])
        return
    trail = list(state.get(_EARLIER, []))
    while trail and (trail[-1] == state[QUERY] or not known(trail[-1])):
        trail.pop()
    if trail:
        go(trail[-1])
        state[_EARLIER], state[_SHOWN] = trail[:-1], trail[-1]


def filters(classes: Sequence[str]) -> tuple[Filter, str]:
    """What the widgets let through, and what is wrong with the place; of the labels, those that are known."""
    state = st.session_state
    labels = tuple(label for label in state[LABELS] if label in classes)
    box, fault = boxed(state[BOX])
    return Filter(labels, state[SOURCE], box), fault


def boxed(text: str) -> tuple[tuple[float, float, float, float] | None, str]:
    """West, south, east and north of a text, and what is wrong with it; None for an empty one."""
    if not text.strip():
        return None, ""
    try:
        west, south, east, north = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        return None, f"{text}: need four numbers, west, south, east, north, such as 9.5, 47, 12, 49"
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        return None, f"{text}: need longitudes from -180 to 180, and latitudes from -90 to 90, south first"
    return (west, south, east, north), ""
