"""Loss and parameters of the mechanism page: the few that move MACL in sight, the open points folded away."""

from collections.abc import Mapping
from contextlib import suppress

import streamlit as st

from app import cache
from core.losses import LOSSES, Parameter, Value
from core.mechanism import MACL
from core.runs import Run

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
    state = st.session_state
    if state.get("m_loss") not in (None, *_TITLES):
        del state["m_loss"]
    first, *rest = st.columns([3, 3, 3, 3, 2], vertical_alignment="bottom")
    title = first.selectbox(
        "Loss", _TITLES, index=list(_TITLES).index("MACL"), key="m_loss", bind="query-params"
    )
    key = _TITLES[title]
    parameters = {p.name: p for p in LOSSES[key].parameters}
    beside = [name for name in parameters if key not in MACL or name in MAIN]
    values: dict[str, Value] = {}
    for name, column in zip(beside, rest, strict=False):
        with column:
            values[name] = _widget(key, parameters[name])
    with rest[-1].popover("Open points" if key in MACL else "More", width="stretch"):
        for name in parameters:
            if name not in beside:
                values[name] = _widget(key, parameters[name])
        st.button("Back to the defaults", on_click=_set, args=(key, {}))
        if run is not None:
            config = cache.config(run)
            st.button(
                "Loss and settings of this run", on_click=_set, args=(config.loss, config.params),
                help="As the run whose embeddings are shown was trained",
            )  # fmt: skip
    return key, {name: values[name] for name in parameters}


def stack(first: tuple[str, ...] = (*MAIN, "use_w", "use_T")) -> tuple[str, dict[str, Value]]:
    """The same widgets below each other, for a narrow column; MACL's switches in sight."""
    if st.session_state.get("m_loss") not in (None, *_TITLES):
        del st.session_state["m_loss"]
    title = st.selectbox(
        "Loss", _TITLES, index=list(_TITLES).index("MACL"), key="m_loss", bind="query-params"
    )
    key = _TITLES[title]
    parameters = {p.name: p for p in LOSSES[key].parameters}
    beside = [name for name in (first if key in MACL else parameters) if name in parameters]
    sliders = [name for name in beside if parameters[name].kind != "bool"]
    values = {name: _widget(key, parameters[name]) for name in sliders}
    with st.container(horizontal=True):
        values |= {name: _widget(key, parameters[name]) for name in beside if name not in sliders}
    if len(beside) < len(parameters):
        with st.popover("Open points", width="stretch"):
            values |= {name: _widget(key, p) for name, p in parameters.items() if name not in beside}
            st.button("Back to the defaults", on_click=_set, args=(key, {}))
    return key, {name: values[name] for name in parameters}


def put(key: str, params: Mapping[str, Value]) -> None:
    """Set the widgets to this loss and these parameters; call it from a callback."""
    _set(key, params)


def _widget(key: str, parameter: Parameter) -> Value:
    name, where = parameter.name, _key(key, parameter.name)
    label = NAMES.get(name) or parameter.symbol or name.replace("_", " ")
    if parameter.kind == "bool":
        label = {"w": "use w", "T": "use T"}.get(label, label)
        return bool(
            st.toggle(label, bool(parameter.default), key=where, bind="query-params", help=parameter.help)
        )
    if parameter.kind == "choice":
        options = list(parameter.choices)
        chosen = st.segmented_control(
            label if label == name else f"{label}: {name}", options, default=str(parameter.default),
            required=True, key=where, bind="query-params", help=parameter.help,
        )  # fmt: skip
        return str(chosen)
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


def _key(loss: str, name: str) -> str:
    """Key of the widget: MACL and its twin share theirs, τ is one for all others."""
    if loss in MACL:
        return f"m_{name}"
    return "m_loss_tau" if name == "tau" else f"m_{loss}_{name}"


def _set(key: str, params: Mapping[str, Value]) -> None:
    state = st.session_state
    state["m_loss"] = LOSSES[key].title
    for parameter in LOSSES[key].parameters:
        value = params.get(parameter.name, parameter.default)
        state[_key(key, parameter.name)] = float(value) if parameter.kind == "float" else value
