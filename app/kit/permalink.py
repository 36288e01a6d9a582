"""What the address says, and what the page makes of it.

Widgets keep themselves in the address (`bind="query-params"`), and drop without a word what they do not
offer; `note_unknown` says so. Parts without such a widget, mostly runs, go through `news` and `say`.
"""

import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.kit.words import plain

FEW = 8  # values that a message names
LEFT_OUT = "The link asks for what is not here (any more), and it was left out: "
LONG = 60  # characters of a value that a message repeats
MOST_RUNS = 20  # in an address that a person is to pass on
_KEPT = "link_note"  # in the session: what is said after the page has begun anew
_notes: ContextVar["_Notes | None"] = ContextVar("notes", default=None)


@dataclass(frozen=True)
class Between:
    """The numbers that a widget takes, both ends included.

    Attributes:
        low: The smallest.
        high: The largest.
        whole: Only whole ones.
    """

    low: float
    high: float
    whole: bool = False

    def __contains__(self, text: str) -> bool:
        try:
            return self.low <= (int(text) if self.whole else float(text)) <= self.high
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.whole:
            return f"a whole number, {self.low:.0f} to {self.high:.0f}"
        return f"{self.low:g} to {self.high:g}"


class Switch:
    """What a toggle takes."""

    def __contains__(self, text: str) -> bool:
        return text.lower() in ("true", "false")

    def __str__(self) -> str:
        return "true or false"


Fitting = Sequence[str] | Between | Switch


def told_here() -> None:
    """Where the page says what in its address does not fit; every page calls it below its title."""
    _notes.set(_Notes(st.empty(), []))
    if text := st.session_state.pop(_KEPT, ""):
        note(text)


def note_unknown(**fitting: Fitting) -> None:
    """Name the values of the address that no widget takes; call it before the widgets are made.

    Args:
        fitting: Key of the widget to the values as the address spells them.
    """
    wrong, endless = [], {}
    for key, known in fitting.items():
        for value in st.query_params.get_all(key):
            if value and value not in known:
                shown = value if len(value) <= LONG else f"{value[:LONG]}…"
                wrong.append(f"{plain(key)} = {plain(shown)}{_needed(known)}")
                if isinstance(known, Between) and _endless(value):
                    endless[key] = wrong[-1]
    for key in endless:
        st.query_params.pop(key, None)
    if endless:
        st.session_state[_KEPT] = LEFT_OUT + "; ".join(endless.values()) + "."
        st.rerun()
    if wrong:
        note(LEFT_OUT + "; ".join(wrong) + ".")


def _endless(text: str) -> bool:
    """Whether a number is too large for a float: Streamlit (1.67) raises where a widget reads it."""
    try:
        return not math.isfinite(float(text))
    except ValueError:
        return False


def renamed(old: str, new: str, known: Fitting, read: Callable[[list[str]], Any]) -> None:
    """Take a value from a link made before a widget had its present key.

    Args:
        old: Key as the link spells it.
        new: Key of the widget; call this before it is made.
        known: The values that the widget takes; others are named below the title.
        read: The widget's value from those of the link.
    """
    values = st.query_params.get_all(old)
    note_unknown(**{old: known})
    if fitting := [value for value in values if value in known]:
        st.session_state[new] = read(fitting)
    if values:
        st.query_params.pop(old, None)


def note_gone(runs: Sequence[str]) -> None:
    """Name the runs that are not here any more: deleted in another tab, on the command line, or long ago."""
    if runs:
        more = f" and {len(runs) - FEW} more" if len(runs) > FEW else ""
        verb = "is" if len(runs) == 1 else "are"
        note(f"{plain(', '.join(runs[:FEW]))}{more} {verb} not here (any more), and left out.")


def note(text: str) -> None:
    """Say something about the address, below the title of the page."""
    if notes := _notes.get():
        notes.texts.append(text)
        notes.slot.warning("  \n".join(notes.texts))
    else:
        st.warning(text)


@dataclass(frozen=True)
class _Notes:
    """Where a page says what is wrong with its address, and what stands there."""

    slot: DeltaGenerator
    texts: list[str]


def _needed(known: Fitting) -> str:
    if isinstance(known, Between | Switch):
        return f" (need {plain(known)})"
    which = "one of " if len(known) > 1 else ""
    return f" (need {which}{plain(', '.join(known))})" if 0 < len(known) <= FEW else ""


def news(name: str, key: str) -> list[str]:
    """Values of a part of the address that no widget is bound to, where they are news: a link, or a way back.

    Empty where the address says nothing, or what `say` has put there: then what the page remembers is newer.

    Args:
        name: Of the part.
        key: Under which the page remembers it.
    """
    values = st.query_params.get_all(name)
    return [] if values == st.session_state.get(_written(key)) else list(dict.fromkeys(values))


def say(name: str, key: str, values: Sequence[str]) -> None:
    """Put what the page shows into the address."""
    st.session_state[_written(key)] = list(values)
    if st.query_params.get_all(name) != list(values):
        if values:
            st.query_params[name] = list(values)
        else:
            st.query_params.pop(name, None)


def _written(key: str) -> str:
    return f"{key}_said"
