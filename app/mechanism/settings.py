"""Loss and parameters of the mechanism page: the few that move MACL in sight, the open points folded away."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import streamlit as st

from app import cache
from app.kit.permalink import Between, Fitting, Switch, note_unknown, renamed
from app.kit.words import plain
from core.losses import Parameter, Value, known, spec_of
from core.mechanism import MACL, written
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
    "macl_nested.alpha": (0.0, 10.0, 0.5),
}


def choose(run: Run | None) -> tuple[str, dict[str, Value]]:
    """Widgets for the loss and its parameters; the loss's key and all of its parameters."""
    first, *rest = st.columns([3, 3, 3, 3, 2], vertical_alignment="bottom")
    with first:
        key = _loss(MECHANISM, cache.config(run).loss if run is not None else "")
    parameters = _parameters(key)
    beside = [name for name in parameters if key not in MACL or name in MAIN][: len(rest) - 1]
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
    parameters = _parameters(key)
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


def _parameters(key: str) -> dict[str, Parameter]:
    """The parameters of a loss by name."""
    return {p.name: p for p in spec_of(key).parameters}


def _loss(page: str, more: str = "") -> str:
    """The widget that chooses the loss: all that are offered, and that of the run which is shown."""
    by_title = {spec.title: key for key, spec in known().items()}
    if more:
        by_title.setdefault(spec_of(more).title, more)
    where, titles = f"{page}_loss", list(by_title)
    _from_link(page, f"{MECHANISM}_loss", where, titles, lambda text: text)
    if st.session_state.get(where) not in (None, *titles):
        del st.session_state[where]
    title = st.selectbox("Loss", titles, index=titles.index("MACL"), key=where, bind="query-params")
    return by_title[title]


def _from_link(page: str, old: str, key: str, fitting: Fitting, read: Callable[[str], Any]) -> None:
    """A widget's value in a link, named where it does not fit; the lab once had the other page's keys."""
    if page == LAB:
        renamed(old, key, fitting, lambda values: read(values[-1]))
    note_unknown(**{key: fitting})


def _widget(page: str, key: str, parameter: Parameter) -> Value:
    name, where = parameter.name, _key(page, key, parameter.name)
    label, old = NAMES.get(name) or parameter.symbol or name.replace("_", " "), _key(MECHANISM, key, name)
    help_text = plain(parameter.help)
    if parameter.kind == "bool":
        label = {"w": "use w", "T": "use T"}.get(label, label)
        _from_link(page, old, where, Switch(), lambda text: text.lower() == "true")
        return bool(
            st.toggle(plain(label), bool(parameter.default), key=where, bind="query-params", help=help_text)
        )
    if parameter.kind == "choice":
        options = list(parameter.choices)
        _from_link(page, old, where, options, lambda text: text)
        chosen = st.segmented_control(
            plain(label if label == name else f"{label}: {name}"), options, default=str(parameter.default),
            required=True, format_func=plain, key=where, bind="query-params", help=help_text,
        )  # fmt: skip
        return str(chosen)
    low = -math.inf if parameter.low is None else parameter.low
    high = math.inf if parameter.high is None else parameter.high
    if parameter.kind == "int":
        _from_link(page, old, where, Between(low, high, whole=True), int)
        return int(
            st.number_input(
                plain(label),
                None if parameter.low is None else int(parameter.low) + parameter.above,
                None if parameter.high is None else int(parameter.high) - parameter.below,
                int(parameter.default),
                key=where,
                bind="query-params",
                help=help_text,
            )
        )
    _from_link(page, old, where, Between(low, high), float)
    ends = _ends(key, parameter)
    if ends is None:
        exact = written(key)  # ε, of which the power of ten is all
        return float(
            st.number_input(
                plain(label),
                None if parameter.low is None else float(parameter.low),
                None if parameter.high is None else float(parameter.high),
                float(parameter.default),
                None if exact else _step(abs(float(parameter.default)) or 1.0),
                format="%.0e" if exact else "%g",
                key=where,
                bind="query-params",
                help=help_text,
            )
        )
    low, high, step = ends
    low, high = _reach(where, parameter, low, high)
    return float(
        st.slider(
            plain(label),
            low,
            high,
            float(parameter.default),
            step,
            "%.3f" if step < 0.01 or 0 < low < 0.01 else None,
            key=where,
            bind="query-params",
            help=help_text,
        )
    )


def _ends(key: str, parameter: Parameter) -> tuple[float, float, float] | None:
    """Ends and step of a slider; None for what is typed: a number that a slider cannot hold."""
    name, low, high = parameter.name, parameter.low, parameter.high
    usual = RANGES.get(f"{key}.{name}", RANGES.get(name))
    if name == "eps" or (usual and written(key)):
        return usual
    if low is None or high is None or low == high:
        return None
    if usual and low <= usual[0] <= float(parameter.default) <= usual[1] <= high:
        return usual
    step = _step(high - low)
    return low + step * parameter.above, high - step * parameter.below, step


def _step(reach: float) -> float:
    """A hundredth of it, as a power of ten."""
    return float(10.0 ** math.floor(math.log10(reach / 50)))


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
    """Key of the widget: MACL and its twin share theirs, τ is one for all others that are written here."""
    if loss in MACL:
        return f"{page}_{name}"
    return f"{page}_loss_tau" if name == "tau" and written(loss) else f"{page}_{loss}_{name}"


def put(page: str, key: str, params: Mapping[str, Value]) -> None:
    """Set the widgets of a page to this loss and these parameters; call it from a callback."""
    state = st.session_state
    state[f"{page}_loss"] = spec_of(key).title
    for parameter in spec_of(key).parameters:
        value = params.get(parameter.name, parameter.default)
        state[_key(page, key, parameter.name)] = float(value) if parameter.kind == "float" else value
