"""What pages share on purpose: the data set that a person works with, and its place.

Its widgets have one key on every page, in the session and in the address; all other keys are a page's own.
"""

import os

import streamlit as st
from pydantic import ValidationError

from app import cache
from app.kit import permalink
from app.kit.names import dataset_title
from app.kit.words import plain
from core.data import DATASETS, READ, ImageSet, Reading, default_root, source
from core.explain import explain
from core.runs.config import FIELDS

DATASET = "dataset"
READINGS = "readings"  # in the session: how each data set is read, by its key and place


def arrive(page: str) -> None:
    """Take what is shared along to another page; call it before the page is drawn.

    Streamlit (1.67) knows the value of a key that two pages use only once the second page has been drawn.
    """
    state = st.session_state
    if state.get("page") != page:
        state["page"] = page
        for key in (DATASET, *(of(name) for name in DATASETS for of in (place_key, skip_key))):
            if key in state:
                state[key] = state[key]


def choose_dataset() -> str:
    """The widget that chooses the data set; its key."""
    name: str = st.selectbox(
        "Data set", list(DATASETS), format_func=dataset_title, key=DATASET, bind="query-params"
    )
    return name


def titles() -> list[str]:
    """The data sets as an address spells them."""
    return [dataset_title(name) for name in DATASETS]


def choose_place(name: str) -> str | None:
    """Where the person says the data set is; None for its usual place, and if it comes with the program."""
    if DATASETS[name].home:
        return None
    given = st.text_input(
        "Its folder or archive",
        known_place(name) or "",
        key=place_key(name),
        bind="query-params",
        placeholder=str(default_root(name)),
        help="A folder or an archive on this machine; empty: the usual place, shown in grey",
    )
    return typed(given)


def choose_skip(name: str) -> bool:
    """Whether images that cannot be read are left out, instead of being an error."""
    return st.toggle("Leave out images that cannot be read", key=skip_key(name), persist_state="session")


def set_dataset(images: ImageSet) -> None:
    """Put a data set into the widgets; call it before they are made."""
    st.session_state[DATASET] = images.name
    st.session_state[place_key(images.name)] = images.root or ""
    st.session_state[skip_key(images.name)] = images.skip_broken
    st.session_state.setdefault(READINGS, {})[images.name, images.root] = images.reading


def image_set(name: str, size: int) -> ImageSet:
    """The images of a data set as the person has said where they are, at a training size."""
    return ImageSet(name, place(name), size, skips(name), reading(name))


def place(name: str) -> str | None:
    """Where a data set is: where the person said in this session, else as `known_place`."""
    if place_key(name) in st.session_state:
        return typed(st.session_state[place_key(name)])
    return known_place(name)


def known_place(name: str) -> str | None:
    """Where a data set was found last: in its usual place (None), else where the newest run took it from."""
    if os.path.exists(default_root(name)):  # Path.exists raises below a forbidden folder
        return None
    roots = (cache.config(run).data_root for run in cache.all_runs() if cache.config(run).dataset == name)
    return next((root for root in roots if root and os.path.exists(root)), None)


def typed(text: str | None) -> str | None:
    """The absolute path that a person has typed; None for nothing, which means the usual place."""
    text = (text or "").strip()
    return str(source.place(text).absolute()) if text else None


def skips(name: str) -> bool:
    """What the person has said of images that cannot be read."""
    return bool(st.session_state.get(skip_key(name)))


def reading(name: str) -> Reading:
    """How a data set is read: as the person said of its place, else as the newest run there read it."""
    root = place(name)
    readings: dict[tuple[str, str | None], Reading] = st.session_state.setdefault(READINGS, {})
    if (name, root) not in readings:
        configs = (cache.config(run) for run in cache.all_runs() if not run.recorded)
        there = (config.reading for config in configs if (config.dataset, config.data_root) == (name, root))
        readings[name, root] = next(there, READ)
    return readings[name, root]


def set_reading(name: str, said: Reading) -> None:
    """How the person says that a data set at its present place is read."""
    st.session_state.setdefault(READINGS, {})[name, place(name)] = said
    st.session_state.pop(f"{reading_key(name)}_wrong", None)


def link_reading(name: str) -> None:
    """Take what the address says of the reading of a data set, and say there how it is read."""
    key = reading_key(name)
    if values := permalink.news(key, key):
        try:
            set_reading(name, Reading.model_validate(dict(value.split("=", 1) for value in values)))
        except ValueError as error:  # kept, as the address will say what is read instead
            why = explain(error, FIELDS) if isinstance(error, ValidationError) else "need name=value"
            st.session_state[f"{key}_wrong"] = f"{', '.join(values)} ({why})"
    if wrong := st.session_state.get(f"{key}_wrong"):
        permalink.note(f"The link says how to read the images, but not so that it can be: {plain(wrong)}.")
    permalink.say(key, key, said(reading(name)))


def said(reading: Reading) -> list[str]:
    """What differs from the defaults, as an address and a command line say it."""
    return [f"{field}={value}" for field, value in reading.model_dump(exclude_defaults=True).items()]


def reading_key(name: str) -> str:
    """Key in the address of how a data set is read."""
    return f"{name}_reading"


def place_key(name: str) -> str:
    """Key of the place of a data set, in the session and in the address."""
    return f"{name}_root"


def skip_key(name: str) -> str:
    """Key in the session of whether broken images of a data set are left out."""
    return f"{name}_skip"


def link(name: str) -> dict[str, str | list[str]]:
    """Query parameters that open a page with this data set, for `st.page_link`."""
    kept, read = st.session_state.get(place_key(name)), said(reading(name))
    found: dict[str, str | list[str]] = {DATASET: dataset_title(name)}
    return found | ({place_key(name): kept} if kept else {}) | ({reading_key(name): read} if read else {})
