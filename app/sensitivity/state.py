"""What the live lab remembers between two moves: the pinned baseline, the query, the settings."""

import json
from collections.abc import Mapping

import streamlit as st

from app.kit import permalink
from app.kit.words import plain
from app.mechanism import settings
from core.losses import Value, check_params, spec_of
from core.runs import RunConfig

BASE, QUERY = "lab_base", "lab_query"
USUAL: tuple[str, dict[str, Value]] = ("macl", {})


def baseline() -> tuple[str, dict[str, Value]]:
    """Loss and parameters of the pinned baseline, else of the permalink, else MACL as printed."""
    if linked := permalink.news(BASE, BASE):
        st.session_state[BASE] = _unpacked(linked[-1])
    key, params = st.session_state.get(BASE, USUAL)
    permalink.say(BASE, BASE, [] if (key, params) == USUAL else [_packed(key, params)])
    return key, dict(params)


def pin(config: RunConfig) -> None:
    """Make these settings the baseline."""
    defaults = {p.name: p.default for p in spec_of(config.loss).parameters}
    changed = {name: value for name, value in config.params.items() if value != defaults[name]}
    st.session_state[BASE] = (config.loss, changed)


def _packed(key: str, params: Mapping[str, Value]) -> str:
    return json.dumps([key, params], separators=(",", ":"))


def _unpacked(text: str) -> tuple[str, dict[str, Value]]:
    """The baseline that an address names; the usual one, with a note, if it names none that is valid."""
    try:
        key, params = json.loads(text)
        check_params(key, params)
    except (ValueError, TypeError, AttributeError, RecursionError):
        permalink.note(
            f"The link names no baseline that there is: {plain(text[:80])}. The usual one is shown."
        )
        return USUAL
    return key, params


def go_to(config: RunConfig) -> None:
    """Move the sliders to these settings."""
    settings.put(settings.LAB, config.loss, config.params)
    st.session_state["lab_seed"] = config.seed


def ask(name: str) -> None:
    """Make this image the query."""
    st.session_state[QUERY] = name
