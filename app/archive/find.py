"""What asks the archive, and what is searched: the widgets above the grid."""

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from app import cache
from app.archive import state
from app.archive.rows import Outcome, Part, Query, called, number_of, uri
from app.kit import permalink, upload
from app.kit.pictures import opened, pictures
from app.kit.upload import UPLOADED
from app.kit.words import plain
from core.archive import Record
from core.archive.query import Filter
from core.errors import MaclError
from core.runs import Run

_PICKED = "archive_picked"  # the widget that chooses an image of a data set
EXAMPLES = {state.PLUS: "Also wanted", state.MINUS: "Unwanted"}
NEAR = 64  # rows among which one that is not removed is looked for


def choose_runs(parts: Sequence[Part]) -> list[Part]:
    """The widget that chooses whose embeddings are searched; all where nobody has chosen."""
    by_id = {part.id: part for part in parts}
    chosen = [one for one in st.session_state[state.RUNS] if one in by_id]
    permalink.note_gone([one for one in st.session_state[state.RUNS] if one not in by_id])
    st.session_state[state.RUNS] = chosen or list(by_id)
    ids = st.multiselect(
        "Runs", list(by_id), key=state.RUNS, format_func=lambda one: by_id[one].title,
        on_change=state.moved, persist_state="session",
    )  # fmt: skip
    return [by_id[one] for one in ids]


class Known:
    """The images of the archive that a page names: its query, earlier ones and examples."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.runs = [part.run for part in parts if part.run is not None]
        page = st.session_state
        numbers = [number_of(key) for key in (page[state.QUERY], *state.earlier())]
        wanted = {*page[state.PLUS], *page[state.MINUS], *(one for one in numbers if one is not None)}
        self.records: dict[int, Record] = {}
        for part in parts:
            if missing := sorted(wanted - self.records.keys()):
                self.records |= part.records(missing)

    def has(self, key: str) -> bool:
        """Whether a query can ask."""
        number = number_of(key)
        if number is not None:
            return number in self.records
        name = key.removeprefix(state.IMAGE)
        return key.startswith(state.IMAGE) and any(name in names_of(run) for run in self.runs)

    def title(self, key: str) -> str:
        """What a query is called."""
        number = number_of(key)
        if number is not None:
            return called(self.records[number]) if number in self.records else key
        return key.removeprefix(state.IMAGE)

    def uri(self, key: str) -> str:
        """Its picture, a data URI; empty for none."""
        number = number_of(key)
        if number is not None:
            return uri(self.records[number]) if number in self.records else ""
        for run in self.runs:
            if (images := opened(cache.config(run))) and (found := images.uri(key.removeprefix(state.IMAGE))):
                return found
        return ""


def names_of(run: Run) -> list[str]:
    """Its test images; none where they cannot be read."""
    try:
        return cache.test_names(run)
    except MaclError:
        return []


def settle(parts: Sequence[Part]) -> Known:
    """Make sure that the query can ask; by default it is the first image of the archive."""
    page, known = st.session_state, Known(parts)
    if not known.has(page[state.QUERY]):
        if page[state.QUERY]:
            permalink.note(f"{plain(page[state.QUERY])} is not in this archive; another query is shown.")
        first = some(parts[0], 0.0)
        page[state.QUERY] = "" if first is None else f"{state.LIKE}{first}"
        known = Known(parts)
    for key in (state.PLUS, state.MINUS):
        page[key] = [one for one in page[key] if one in known.records]
    return known


def query_of(known: Known) -> Query | None:
    """What asks; None if the archive is empty."""
    page = st.session_state
    examples = tuple(page[state.PLUS]), tuple(page[state.MINUS])
    if asking := upload.picture(state.PAGE):
        return Query(UPLOADED, asking["name"], asking["uri"], *examples)
    key = page[state.QUERY]
    if not key:
        return None
    if number_of(key) is None and known.runs:
        pictures(cache.config(known.runs[0]))  # prepares them where they are not
    return Query(key, known.title(key), known.uri(key), *examples)


def pictures_of(query: Query, outcomes: Sequence[Outcome], known: Known) -> Callable[[str], str]:
    """Gives the picture of the query, of results and of earlier queries as a data URI."""
    hits = {f"{state.LIKE}{hit.record.id}": hit.record for outcome in outcomes for hit in outcome.hits}

    def of(key: str) -> str:
        if key == query.key:
            return query.uri
        return uri(hits[key]) if key in hits else known.uri(key)

    return of


def some(part: Part, where: float) -> int | None:
    """Id of an image of the archive at this share of its rows, 0 to 1; None if it has none."""
    with part.lock:
        archive = part.archive
        start = int(where * (len(archive) + archive.removed))
        near = archive.ids(f"row >= {start} AND row < {start + NEAR}")
        ids = near if len(near) else archive.ids()
    return int(ids[0]) if len(ids) else None


def tools(parts: Sequence[Part], known: Known) -> str | None:
    """The widgets; the condition on what is searched."""
    runs = known.runs
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if runs:
            upload.popover(state.PAGE, runs, _taken)
            _by_image(runs[0])
        found, fault = _filter(parts)
        st.button("Random", on_click=_random, args=(parts[0],), shortcut="X")
        page = st.session_state
        can = state.earlier() or page.get(state.UPLOAD) or page[state.PLUS] or page[state.MINUS]
        st.button("Back", on_click=state.back, args=(known.has,), disabled=not can, shortcut="B")
    if fault:
        st.warning(plain(f"Not filtered by place: {fault}"))
    examples = [(key, words) for key, words in EXAMPLES.items() if page[key]]
    columns = st.columns(len(examples)) if examples else []
    for column, (key, words) in zip(columns, examples, strict=True):
        column.multiselect(
            words, list(page[key]), key=key, on_change=state.moved, persist_state="session",
            format_func=lambda one: known.title(f"{state.LIKE}{one}"),
            help="The query is the mean of the wanted images less that of the unwanted ones",
        )  # fmt: skip
    return found.where


def _filter(parts: Sequence[Part]) -> tuple[Filter, str]:
    """What is searched, by label, source and place; and what is wrong with the place."""
    classes = list(dict.fromkeys(name for part in parts for name in part.archive.encoder.classes))
    page = st.session_state
    for label in page[state.LABELS]:
        if label not in classes:
            permalink.note(f"No label {plain(label)} here.")
    page[state.LABELS] = [label for label in page[state.LABELS] if label in classes]
    found, fault = state.filters(classes)
    number = bool(found.labels) + bool(found.source.strip()) + (found.box is not None)
    with st.popover(f"Filter ({number})" if number else "Filter", help="By label, source and place"):
        st.multiselect(
            "With one of these predicted labels", classes, key=state.LABELS, on_change=state.moved,
            placeholder="any", persist_state="session",
        )  # fmt: skip
        st.text_input(
            "Path contains", key=state.SOURCE, on_change=state.moved, persist_state="session",
            placeholder="any",
        )  # fmt: skip
        st.text_input(
            "Place: west, south, east, north, degrees", key=state.BOX, on_change=state.moved,
            persist_state="session", placeholder="anywhere, also without coordinates",
        )  # fmt: skip
        st.checkbox(
            "Exact, without the index", key=state.EXACT, on_change=state.moved, persist_state="session"
        )
        if fault:
            st.error(plain(fault))
    return found, fault


def _by_image(run: Run) -> None:
    """The widget that lets an image of a data set ask."""
    with st.popover("A data set's image", on_change="rerun", key="archive_data") as popover:
        if not popover.open:
            return
        st.selectbox(
            "Test image", names_of(run), index=None, key=_PICKED, on_change=_picked,
            placeholder="Type a part of its name", filter_mode="contains",
        )  # fmt: skip


def _taken(key: str) -> None:
    """A picture asks without the examples of the query before it."""
    st.session_state[state.PLUS], st.session_state[state.MINUS] = [], []


def _picked() -> None:
    if name := st.session_state[_PICKED]:
        state.go(f"{state.IMAGE}{name}")


def _random(part: Part) -> None:
    found = some(part, float(np.random.default_rng().random()))
    if found is not None:
        state.go(f"{state.LIKE}{found}")
