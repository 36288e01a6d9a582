"""Loss and parameters of the mechanism page: the few that move MACL in sight, the open points folded away."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import streamlit as st

from app import cache
from app.kit.permalink import Between, Fitting, Switch, note_unknown, renamed
from core.losses import LOSSES, Parameter, Value
from core.mechanism import MACL
from core.runs import Run

MECHANISM, LAB = "m", "lab"  # with which the keys of the two pages begin: their settings are their own
MAIN = ("alpha", "beta", "tau_scale")
NAMES = {"tau_scale": "τ, factor on T", "temperature": "τ of the sigmoid"}
# low, high and step of a slider; a run's own value may lie beyond
RANGES = {
    "alpha": (0.0, 3.0, 0.05),
    "beta": (0.0, 1.0, 0.01),
    "tau_scale": (0.1, 2.0, 0.05),
    "tau": (0.05, 1.0, 0.01),
    "temperature": (0.001, 0.1, 0.001),
    "lreg.alpha": (-1.0, 3.0, 0.25),
    "lworeg.alpha": (-1.0, 3.0, 0.25),
    "lmsc.beta": (0.0, 1.0, 0.05),
}
_TITLES = {spec.title: key for key, spec in LOSSES.items()}


def choose(run: Run | None) -> tuple[str, dict[str, Value]]:
    """Widgets for the loss and its parameters; the loss's key and all of its parameters."""
    first, *rest = st.columns([3, 3, 3, 3, 2], vertical_alignment="bottom")
    with first:
        key = _loss(MECHANISM)
    parameters = {p.name: p for p in LOSSES[key].parameters}
    beside = [name for name in parameters if key not in MACL or name in MAIN]
    values: dict[str, Value] = {}
    for name, column in zip(beside, rest, strict=False):
        with column:
            values[name] = _widget(MECHANISM, key, parameters[name])
    with rest[-1].popover("Open points" if key in MACL else "More", width="stretch"):
        for name in parameters:
            if name not in beside:
                values[name] = _widget(MECHANISM, key, parameters[name])
        st.button("Back to the defaults", on_click=put, args=(MECHANISM, key, {}))
        if run is not None:
            config = cache.config(run)
            st.button(
                "Loss and settings of this run", on_click=put, args=(MECHANISM, config.loss, config.params),
                help="As the run whose embeddings are shown was trained",
            )  # fmt: skip
    return key, {name: values[name] for name in parameters}


def stack(first: tuple[str, ...] = (*MAIN, "use_w", "use_T")) -> tuple[str, dict[str, Value]]:
    """The live lab's own widgets, below each other for a narrow column; MACL's switches in sight."""
    key = _loss(LAB)
    parameters = {p.name: p for p in LOSSES[key].parameters}
    beside = [name for name in (first if key in MACL else parameters) if name in parameters]
    sliders = [name for name in beside if parameters[name].kind != "bool"]
    values = {name: _widget(LAB, key, parameters[name]) for name in sliders}
    with st.container(horizontal=True):
        values |= {name: _widget(LAB, key, parameters[name]) for name in beside if name not in sliders}
    if len(beside) < len(parameters):
        with st.popover("Open points", width="stretch"):
            values |= {name: _widget(LAB, key, p) for name, p in parameters.items() if name not in beside}
            st.button("Back to the defaults", on_click=put, args=(LAB, key, {}))
    return key, {name: values[name] for name in parameters}


def _loss(page: str) -> str:
    """The widget that chooses the loss."""
    where, titles = f"{page}_loss", list(_TITLES)
    _from_link(page, f"{MECHANISM}_loss", where, titles, lambda text: text)
    if st.session_state.get(where) not in (None, *titles):
        del st.session_state[where]
    title = st.selectbox("Loss", titles, index=titles.index("MACL"), key=where, bind="query-params")
    return _TITLES[title]


def _from_link(page: str, old: str, key: str, known: Fitting, read: Callable[[str], Any]) -> None:
    """A widget's value in a link, named where it does not fit; the lab once had the other page's keys."""
    if page == LAB:
        renamed(old, key, known, lambda values: read(values[-1]))
    note_unknown(**{key: known})


def _widget(page: str, key: str, parameter: Parameter) -> Value:
    name, where = parameter.name, _key(page, key, parameter.name)
    label, old = NAMES.get(name) or parameter.symbol or name.replace("_", " "), _key(MECHANISM, key, name)
    if parameter.kind == "bool":
        label = {"w": "use w", "T": "use T"}.get(label, label)
        _from_link(page, old, where, Switch(), lambda text: text.lower() == "true")
        return bool(
            st.toggle(label, bool(parameter.default), key=where, bind="query-params", help=parameter.help)
        )
    if parameter.kind == "choice":
        options = list(parameter.choices)
        _from_link(page, old, where, options, lambda text: text)
        chosen = st.segmented_control(
            label if label == name else f"{label}: {name}", options, default=str(parameter.default),
            required=True, key=where, bind="query-params", help=parameter.help,
        )  # fmt: skip
        return str(chosen)
    low = -math.inf if parameter.low is None else parameter.low
    high = math.inf if parameter.high is None else parameter.high
    _from_link(page, old, where, Between(low, high), float)
    if name == "eps":
        return float(
            st.number_input(
                label,
                0.0,
                1.0,
                float(parameter.default),
                format="%.0e",
                key=where,
                bind="query-params",
                help=parameter.help,
            )
        )
    low, high, step = RANGES.get(f"{key}.{name}", RANGES.get(name, (0.0, 1.0, 0.01)))
    low, high = _reach(where, parameter, low, high)
    return float(
        st.slider(
            label,
            low,
            high,
            float(parameter.default),
            step,
            "%.3f" if step < 0.01 or 0 < low < 0.01 else None,
            key=where,
            bind="query-params",
            help=parameter.help,
        )
    )


def _reach(where: str, parameter: Parameter, low: float, high: float) -> tuple[float, float]:
    """Ends of a slider: a run's own value may lie beyond the usual ones, and what was in reach stays so."""
    state = st.session_state
    low, high = state.get(f"{where}_reach", (low, high))
    with suppress(TypeError, ValueError):  # no value yet, or one that no run can have
        now = float(state.get(where, st.query_params.get(where)))
        parameter.check(now)
        low, high = min(low, now), max(high, now)
    state[f"{where}_reach"] = low, high
    return low, high


def _key(page: str, loss: str, name: str) -> str:
    """Key of the widget: MACL and its twin share theirs, τ is one for all others."""
    if loss in MACL:
        return f"{page}_{name}"
    return f"{page}_loss_tau" if name == "tau" else f"{page}_{loss}_{name}"


def put(page: str, key: str, params: Mapping[str, Value]) -> None:
    """Set the widgets of a page to this loss and these parameters; call it from a callback."""
    state = st.session_state
    state[f"{page}_loss"] = LOSSES[key].title
    for parameter in LOSSES[key].parameters:
        value = params.get(parameter.name, parameter.default)
        state[_key(page, key, parameter.name)] = float(value) if parameter.kind == "float" else value
