"""Results called right or wrong, what that says of each run, and the marked images to take along."""

from collections.abc import Sequence

import streamlit as st

from app.archive import state
from app.archive.rows import RIGHT, WRONG, Outcome, Part
from app.kit.gallery import Action
from app.kit.words import plain
from core.archive import Record, export, marks
from core.errors import MaclError

ACTIONS: tuple[Action, ...] = (
    (state.PLUS, "+", "Also wanted", "+"),
    (state.MINUS, "−", "Unwanted", "-"),
    (RIGHT, "✓", "Right", "Y"),
    (WRONG, "✗", "Wrong", "N"),
)
_FAULT = "archive_marks_fault"
NOTHING = "wanted"  # what is looked for where no label is predicted


def name_of(outcomes: Sequence[Outcome]) -> str:
    """What is looked for: what a person says, else the first label that is predicted for the query."""
    said = st.session_state[state.LOOKING].strip()
    predicted = next((outcome.labels[0] for outcome in outcomes if outcome.labels), NOTHING)
    return said or predicted


def read(uri: str) -> marks.Marks:
    """All marks of the archive; where they cannot be read the page says so."""
    try:
        return marks.read(uri)
    except MaclError as error:
        st.warning(plain(str(error)))
        return {}


def act(uri: str, looking: str, given: marks.Marks, action: str, key: str) -> None:
    """What a person does with a result: an example, or a mark, which a second time is taken away."""
    image = int(key.removeprefix(state.LIKE))
    if action in (state.PLUS, state.MINUS):
        state.example(action, image)
        return
    right = action == RIGHT
    looking = st.session_state[state.LOOKING].strip() or looking  # said just now, and not drawn yet
    before = given.get(looking, {}).get(image)
    st.session_state[_FAULT] = ""
    try:
        marks.mark(uri, looking, image, None if before is right else right)
    except MaclError as error:
        st.session_state[_FAULT] = str(error)


def bar(looking: str, given: marks.Marks, parts: Sequence[Part], outcomes: Sequence[Outcome]) -> None:
    """What is looked for, how many are marked, and the export of all that is."""
    if fault := st.session_state.get(_FAULT):
        st.error(plain(fault))
    left, middle, right = st.columns([4, 5, 3], vertical_alignment="bottom")
    left.text_input(
        "What you look for", key=state.LOOKING, on_change=state.moved, persist_state="session",
        placeholder=looking, help="The label that right results get, and wrong ones lack",
    )  # fmt: skip
    middle.caption(" ".join(_told(looking, given, outcomes)))
    with right.container(horizontal=True, horizontal_alignment="right", gap="small"):
        st.download_button(
            "Marked: ZIP", lambda: export.zipped(given, _records(given, parts)), "marked.zip",
            "application/zip", on_click="ignore", disabled=not given,
            help="A data set of your own, for the Data page: the marked images, tiles cut from their scenes, "
            f"and their labels; at most {export.MOST_IMAGES:,} images and {export.MOST_BYTES / 1e6:.0f} MB, "
            "and what is left out is listed in it",
        )  # fmt: skip
        st.download_button(
            "CSV", lambda: table(given, parts), "labels.csv", "text/csv", on_click="ignore",
            disabled=not given, help="Only the table: the image's path, and 1, 0 or -1 (not marked) for each "
            "label; without tiles, which are no files of their own",
        )  # fmt: skip


def _told(looking: str, given: marks.Marks, outcomes: Sequence[Outcome]) -> list[str]:
    """The marks in sentences."""
    counted = list(given.get(looking, {}).values())
    others = sum(len(one) for name, one in given.items() if name != looking)
    text = f"{plain(looking)}: {sum(counted)} right, {len(counted) - sum(counted)} wrong"
    told = [f"{text}{f'; of other labels {others}' if others else ''}. Marks are kept with the archive."]
    if len(given) == 1:
        told.append("A data set needs a second label: look for something else, too.")
    if given and any(hit.record.window for outcome in outcomes for hit in outcome.hits):
        told.append("Tiles are in the ZIP alone.")
    return told


def _records(given: marks.Marks, parts: Sequence[Part]) -> dict[int, Record]:
    """What the archive keeps of the marked images."""
    wanted = sorted({image for one in given.values() for image in one})
    found: dict[int, Record] = {}
    for part in parts:
        if missing := [image for image in wanted if image not in found]:
            found |= part.records(missing)
    return found


def table(given: marks.Marks, parts: Sequence[Part]) -> str:
    """The marked images that are whole files: tiles of a scene are none of their own."""
    found = _records(given, parts)
    return marks.table(given, {image: one.source for image, one in found.items() if not one.window})
