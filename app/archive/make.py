"""Archives: make one or add to one, how far that is, and a list of those that are there."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import streamlit as st

from app.archive import state
from app.archive.rows import parts_of
from app.kit import data_view, query, tables
from app.kit.shared import typed
from app.kit.words import plain
from core.archive import job
from core.archive.table import recall_of
from core.errors import MaclError
from core.retrieval import ask
from core.runs import Run

EVERY = 0.5  # seconds between two looks at the processes
TILES = {
    "large scenes": None,
    "every scene": 256,
    "nothing": 0,
}
_FAULT = "archive_job_fault"
FOLDER, SOURCES, OF, CUT, SIDE = (
    "archive_folder", "archive_sources", "archive_of", "archive_cut", "archive_side"
)  # fmt: skip


def form(finished: Sequence[Run], opened: bool) -> None:
    """What is to be embedded, where, and by which runs."""
    able = [run for run in finished if ask.can_answer(run)]
    labels, known = query.option_labels(able), {run.id: run for run in able}
    with st.expander("Make an archive, or add to one", expanded=opened):
        if not able:
            st.info("No finished run with its weights yet. Train one, then let it embed your images.")
            st.page_link("../pages/train.py", label="Train")
            return
        left, right = st.columns(2)
        folder = left.text_input(
            "Folder of the archive", key=FOLDER, persist_state="session",
            placeholder="/data/europe", help="A new or empty folder on this machine, or an archive to add to",
        )  # fmt: skip
        sources = right.text_area(
            "Images: folders, archives or scenes, one a line", key=SOURCES, persist_state="session",
            placeholder="/data/tiles", height=68, help="On this machine: folders with all that is below "
            "them, zip or tar archives, images, GeoTIFF and JPEG 2000 scenes",
        )  # fmt: skip
        left, right = st.columns(2)
        chosen = left.multiselect(
            "Embedded by", list(known), key=OF, format_func=labels.__getitem__, persist_state="session",
            help="Several runs can be compared: each searches by its own embeddings",
        )  # fmt: skip
        with right.container(horizontal=True, vertical_alignment="bottom"):
            how = st.segmented_control(
                "Cut into tiles", list(TILES), default="large scenes", required=True, key=CUT,
                persist_state="session",
                help="Large: GeoTIFF and JPEG 2000 of 2,048 pixels or more on a side",
            )  # fmt: skip
            tile = st.number_input(
                "Tile, pixels", 16, 4096, 256, key=SIDE, persist_state="session", width=140,
                disabled=how != "every scene",
            )  # fmt: skip
        if st.button("Embed the images", type="primary", help="In the background; others wait their turn"):
            _start(folder, sources, [known[name] for name in chosen], how, int(tile))


def _start(folder: str, sources: str, runs: Sequence[Run], how: str, tile: int) -> None:
    """Begin, or say what is missing."""
    uri, places = typed(folder), [place for line in sources.splitlines() if (place := typed(line))]
    if gone := job.missing(places):
        st.error(plain(f"{gone[0]} is not there: give a folder, an archive or an image of this machine"))
    elif not (uri and places and runs):
        lacking = [
            name
            for name, given in (("the folder of the archive", uri), ("the images", places), ("a run", runs))
            if not given
        ]
        st.error(f"Give {' and '.join(lacking)}.")
    else:
        size = tile if how == "every scene" else TILES[how]
        wanted = job.Job(uri, tuple(str(run.path) for run in runs), tuple(places), size)
        if data_view.start(job.start, wanted):
            st.rerun()


def progress() -> None:
    """The jobs that run or wait, and what has come of the others until a person dismisses them."""
    if fault := st.session_state.get(_FAULT):
        st.error(plain(fault))
    found = job.made()
    if any(one.status.state == "running" for one in found):
        _watched(sum(one.status.state == "running" for one in found))
    for one in found:
        if one.status.state != "running":
            _ended(one)


@st.fragment(run_every=EVERY)
def _watched(number: int) -> None:
    running = [one for one in job.made() if one.status.state == "running"]
    if len(running) != number:
        st.rerun()
    for one in reversed(running):  # the first that asked is the first
        name, column, side = st.columns([2, 5, 2], vertical_alignment="center")
        name.markdown(f"**{plain(Path(one.job.uri).name)}**")
        with column:
            data_view.bar(one.status)
        stopping = one.job.process.is_stopping
        label = "Stopping …" if stopping else "Stop"
        with side.container(horizontal=True, horizontal_alignment="right"):
            pressed = st.button(label, key=f"stop_{one.job.asked}", disabled=stopping)
        if pressed:
            data_view.start(job.stop, one.job)
            st.rerun()


def _ended(one: job.Made) -> None:
    """What came of a job, and a way on for one that was stopped or has failed."""
    text, buttons = st.columns([7, 2], vertical_alignment="center")
    name, failed = plain(Path(one.job.uri).name), one.status.state == "failed"
    with buttons.container(horizontal=True, horizontal_alignment="right", gap="small"):
        if one.status.state != "done":
            st.button(
                "Go on", key=f"again_{one.job.asked}", on_click=_go_on, args=(one.job,),
                help="What has been embedded stays; the rest is embedded now",
            )  # fmt: skip
        st.button("Dismiss", key=f"dismiss_{one.job.asked}", on_click=job.dismiss, args=(one.job,))
    if failed:
        text.error(f"**{name}**: {plain(one.status.error)}")
        return
    if one.status.state != "done":
        text.info(f"**{name}**: stopped. What has been embedded stays.")
        return
    told = one.report
    added = ", ".join(f"{plain(run)} {count:,}" for run, count in told.get("added", {}).items())
    unread = told.get("unread", 0)
    parts = [f"images added: {added or 'none'}", f"there already: {told.get('there', 0):,}"]
    parts += [f"tiles without data left out: {told['gaps']:,}"] if told.get("gaps") else []
    parts += [f"cannot be read: {unread:,}"] if unread else []
    text.success(f"**{name}**: {'; '.join(parts)}.")
    for note in told.get("notes", ()):
        st.caption(plain(str(note)))
    if one.broken:
        with st.expander(f"Cannot be read: {unread:,}"):
            st.text("\n".join(f"{file}: {why}" for file, why in one.broken))


def _go_on(one: job.Job) -> None:
    st.session_state[_FAULT] = ""
    try:
        job.go_on(one)
    except MaclError as error:
        st.session_state[_FAULT] = str(error)


def choose(known: Sequence[str]) -> None:
    """The widgets that open an archive: one of the list, or another by its folder."""
    here = st.session_state[state.URI]
    options = list(known) if here in known or not here else [here, *known]
    left, right = st.columns([8, 3], vertical_alignment="bottom")
    left.selectbox(
        "Archive", options, key=state.URI, on_change=state.opened, persist_state="session",
        accept_new_options=True, placeholder="Choose one, or type its folder",
        help="Those that were made or opened here; another one is opened by typing its folder",
    )  # fmt: skip
    right.slider(
        "Images per run", 1, state.MOST, key=state.COUNT, on_change=state.moved, persist_state="session"
    )


def overview(known: Sequence[str]) -> None:
    """All archives: what each encoder has embedded, and how it is searched."""
    if not known:
        return
    with st.expander(f"Archives: {len(known)}", on_change="rerun", key="archive_list") as expander:
        if not expander.open:
            return
        lines = []
        for uri in known:
            try:
                for number, part in enumerate(parts_of(uri)):
                    with part.lock:
                        index, images = part.archive.index, len(part.archive)
                        size = f"{part.archive.size / 1e6:,.1f} MB"
                    kind = escape(index.kind) if index else "none: exact"
                    recall = escape(recall_of(index)) if index else "1"
                    name = escape(uri) if number == 0 else ""
                    lines.append(tables.Line([name, escape(part.title), f"{images:,}", size, kind, recall]))
            except (MaclError, OSError) as error:
                lines.append(tables.Line([escape(uri), escape(str(error)), "", "", "", ""]))
        head = ["Archive", "Run", "Images", "Size", "Index", "Recall"]
        st.html(tables.page(tables.table("", head, lines, (2, 3))))
