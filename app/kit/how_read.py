"""How a person's own tables and images are read: its form, and the words for it on a page."""

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

import streamlit as st
from pydantic import ValidationError

from app.kit import shared
from app.kit.words import plain
from core.data import Reading
from core.data.parts import listed
from core.explain import explain
from core.runs import settings
from core.runs.config import FIELDS
from core.runs.settings import Setting

TITLE = "How to read it"
TITLES = {
    "split": "Split",
    "image_column": "Image column",
    "label_columns": "Label columns",
    "ignore_columns": "Columns to ignore",
    "separator": "Between labels",
    "unknown": "Unknown flags",
    "near_equal": "Nearly equal labels",
    "bands": "Bands",
    "stretch": "Stretch",
    "limit": "At most so many images",
    "country": "Countries",
}
VALUES = {
    "split": {"given": "as the data give it", "random": "random"},
    "separator": {
        "": "the mark that fits", ",": "comma", ";": "semicolon", "|": "bar", "/": "slash", "+": "plus",
        "__": "double underscore", "space": "space", "tab": "tab", "none": "one label in each cell",
    },
    "unknown": {"refuse": "refuse the table", "no": "take as no"},
    "near_equal": {"keep": "keep apart", "join": "join"},
    "stretch": {
        "dataset": "one for the data set", "image": "each image by itself", "none": "none",
    },
}  # fmt: skip
EMPTY = {
    "image_column": "the one that fits",
    "label_columns": "all that can be labels",
    "ignore_columns": "none",
    "bands": "the first three",
    "limit": "all",
    "country": "all",
}
# what a published data set may be read by; a person's own by all others
PUBLISHED = {"bigearthnet": ("split", "bands", "stretch", "limit", "country")}
_OPTION = re.compile(
    rf"""--({"|".join(name.replace("_", "-") for name in TITLES)})\b"""
    r"""(?: ("[^"]*"|no\b|refuse\b|keep\b|join\b|given\b|random\b|none\b|space\b|tab\b))?"""
)


def fields(name: str) -> list[str]:
    """What a person may say of a data set; of a published one also what a run has brought along."""
    if name == "folder":
        return [field for field in Reading.model_fields if field != "country"]
    some = {*PUBLISHED.get(name, ()), *shared.reading(name).model_dump(exclude_defaults=True)}
    return [field for field in Reading.model_fields if field in some]


def words(reading: Reading) -> str:
    """What differs from the defaults, in words; empty for the defaults."""
    changed = reading.model_dump(exclude_defaults=True)
    return ", ".join(f"{_title(name).lower()} {value_word(name, value)}" for name, value in changed.items())


def value_word(field: str, value: object) -> str:
    """A value as the form shows it."""
    return VALUES.get(field, {}).get(str(value)) or str(value) or EMPTY.get(field, "none")


def named(texts: Sequence[str]) -> set[str]:
    """The fields that messages of the core name as options of the command line."""
    return {match[1].replace("-", "_") for text in texts for match in _OPTION.finditer(text)}


def on_page(text: str) -> str:
    """A message of the core with the settings of the page in place of the options of the command line."""

    def setting(match: re.Match[str]) -> str:
        field = match[1].replace("-", "_")
        value = f": {value_word(field, match[2].strip(chr(34)))}" if match[2] else ""
        return f"“{_title(field)}{value}”"

    return _OPTION.sub(setting, text)


def form(name: str, columns: Sequence[str] = (), wanted: Sequence[str] = (), across: int = 5) -> None:
    """The form, folded away until somebody wants it; what is said in it counts from its button on.

    Args:
        name: Key of the data set.
        columns: Names of the columns of its table, where they are known.
        wanted: Messages that name a field of it: then it is open.
        across: Fields side by side.
    """
    shown = fields(name)
    if not shown:
        return
    now, key = shared.reading(name), f"{name}_how"
    said = words(now)
    if (asked := sorted(named(wanted))) and asked != st.session_state.get(f"{key}_asked"):
        st.session_state[key] = True
    st.session_state[f"{key}_asked"] = asked
    with st.expander(f"{TITLE} · {plain(said)}" if said else TITLE, key=key, on_change="rerun"):
        # named by the reading: what a link or a run says is shown, whatever was typed before
        version = f"{st.session_state.get('page', '')} {key} {shared.said(now)}"
        with st.form(version, border=False):
            given: dict[str, Any] = {}
            for first in range(0, len(shown), across):
                for place, field in zip(st.columns(across), shown[first : first + across], strict=False):
                    with place:
                        at = f"{version} {field}"
                        given[field] = _widget(settings.field(field), getattr(now, field), columns, at)
            if st.form_submit_button("Read it so"):
                _take(name, now, given)


def _widget(setting: Setting, value: Any, columns: Sequence[str], key: str) -> Any:
    field, label = setting.name, _title(setting.name)
    if field in ("label_columns", "ignore_columns"):
        names = listed(value)
        return _joined(
            st.multiselect(
                label, list(dict.fromkeys([*columns, *names])), names, key=key, help=setting.help,
                placeholder=EMPTY[field], accept_new_options=True,
            )
        )  # fmt: skip
    if field == "image_column" or field in ("separator", "stretch"):
        known = [*columns] if field == "image_column" else [*VALUES[field]]
        options = list(dict.fromkeys([*([value] if value else []), *known]))
        chosen = st.selectbox(
            label, options, options.index(value) if value in options else None, key=key, help=setting.help,
            format_func=lambda option: value_word(field, option), placeholder=EMPTY.get(field, ""),
            accept_new_options=True,
        )  # fmt: skip
        return chosen or ""
    if setting.choices:
        return st.selectbox(
            label, setting.choices, setting.choices.index(value), key=key, help=setting.help,
            format_func=lambda option: value_word(field, option),
        )  # fmt: skip
    if setting.kind == "int":
        return st.number_input(label, int(setting.low or 0), None, value, key=key, help=setting.help)
    return st.text_input(label, value, key=key, help=setting.help, placeholder=EMPTY.get(field, "")).strip()


def _take(name: str, now: Reading, given: dict[str, Any]) -> None:
    try:
        reading = Reading(**{**now.model_dump(), **given})
    except ValidationError as error:
        st.error(plain(on_page(explain(error, FIELDS))))
        return
    if reading != now:
        shared.set_reading(name, reading)
        st.rerun()


def _joined(names: Sequence[str]) -> str:
    """The inverse of `listed`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()


def _title(field: str) -> str:
    return TITLES.get(field) or settings.field(field).title
