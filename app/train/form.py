"""The form of the train page: data, losses, seeds, preset and settings become run configurations."""

import itertools
import os
from typing import Any, Literal

import streamlit as st

from app.kit import permalink, shared
from app.kit.names import PRESET_TITLES, dataset_title
from app.train.command import command
from core.data import default_root
from core.errors import MaclError
from core.experiments.axes import parse_seeds
from core.losses import LOSSES
from core.queue import launch
from core.runs import PRESETS, RunConfig, settings
from core.runs.settings import Setting

# The parameters that matter most are shown at once, the others of a loss one click away.
FIRST = ("tau", "alpha", "beta", "use_w", "use_T", "denominator", "temperature", "position")
FOLDED = {"macl": ("tau",), "wg_macl": ("tau",)}
MAX_SEEDS = 50
CHOSEN = "train_runs"  # runs whose curves the page shows


def form() -> None:
    """All settings of a run, and the button that starts one for every loss and seed."""
    permalink.note_unknown(
        dataset=shared.titles(), loss=[spec.title for spec in LOSSES.values()], preset=list(PRESETS)
    )
    name = shared.choose_dataset()
    root = shared.choose_place(name)
    losses = st.multiselect(
        "Losses",
        list(LOSSES),
        default=["macl", "mulsupcon"],
        format_func=lambda key: LOSSES[key].title,
        key="loss",
        bind="query-params",
    )
    preset = st.segmented_control(
        "Preset", list(PRESETS), default="instant", required=True, key="preset", bind="query-params"
    )
    preset = preset or "instant"
    st.caption(PRESET_TITLES[preset])
    seeds = st.text_input("Seeds", "0", key="seeds", bind="query-params", help="0 or 0, 1, 2 or 0-4")
    with st.expander("Settings of the preset", key="fields_open"):
        fields = {
            setting.name: _widget(preset, setting, settings.preset_value(preset, setting.name))
            for setting in settings.of_preset()
        }
        skip = shared.choose_skip(name)
    params = {key: _parameters(key) for key in losses}
    try:
        configs = [
            RunConfig.build(
                preset,
                dataset=name,
                data_root=root,
                skip_broken=skip,
                loss=loss,
                params=params[loss],
                seed=seed,
                **fields,
            )
            for loss, seed in itertools.product(losses, parse_seeds(seeds, MAX_SEEDS))
        ]
    except MaclError as error:
        st.error(str(error))
        configs = []
    if configs:
        with st.expander("The same on the command line", key="command_open"):
            st.code("\n".join(command(config) for config in configs), language="bash", wrap_lines=True)
    missing = _missing(name, root)
    if missing:
        st.warning(missing)
        st.page_link("../pages/data.py", label="How to get the data sets")
    label = f"Start {len(configs)} runs" if len(configs) > 1 else "Start the run"
    if st.button(label, type="primary", width="stretch", disabled=not configs or bool(missing)):
        started: list[str] = []
        try:
            for config in configs:
                started.append(launch.submit(config).id)
        except (MaclError, OSError) as error:
            st.error(f"{len(started)} of {len(configs)} runs have been started: {error}")
            return
        st.session_state[CHOSEN] = started
        st.toast("Started: the runs are at the top of the list.")  # which may be out of sight
        st.rerun()


def fill(config: RunConfig) -> None:
    """Put a run's settings into the form; call it from a callback, before the form is drawn."""
    state = st.session_state
    shared.set_dataset(config.images)
    state["loss"], state["preset"], state["seeds"] = [config.loss], config.preset, str(config.seed)
    for setting in settings.of_preset():
        state[f"{config.preset}.{setting.name}"] = getattr(config, setting.name)
    for name, value in config.params.items():
        state[f"{config.loss}.{name}"] = value


def _missing(name: str, root: str | None) -> str:
    """Why the data set cannot be read, judged by its path alone; empty if it can."""
    path = root or default_root(name)
    if os.path.exists(path):  # Path.exists raises where a folder above cannot be read
        return ""
    return f"{dataset_title(name)} is not at {path}."


def _parameters(loss: str) -> dict[str, Any]:
    """Values of a loss's parameters, from widgets: the important ones, then the rest on demand."""
    spec, known = LOSSES[loss], settings.of_loss(loss)
    shown = [p for p in spec.parameters if p.name in FIRST and p.name not in FOLDED.get(loss, ())]
    rest = [p for p in spec.parameters if p not in shown]
    with st.expander(f"{spec.title}: parameters", key=f"{loss}.open"):
        st.caption(f"{spec.summary} {spec.source}.")
        values = {p.name: _widget(loss, known[p.name], p.default) for p in shown}
        if rest:
            unfolded = st.toggle("All parameters", key=f"{loss}.all", persist_state="session")
            with st.container():
                for p in rest:
                    current = st.session_state.get(f"{loss}.{p.name}", p.default)
                    values[p.name] = _widget(loss, known[p.name], p.default) if unfolded else current
    return values


def _widget(owner: str, setting: Setting, start: Any) -> Any:
    """A widget for one setting of a preset or a loss, which starts at the owner's value."""
    label, key, help_text = setting.title, f"{owner}.{setting.name}", setting.help
    if key not in st.session_state:
        st.session_state[key] = start
    persist: Literal["session"] = "session"
    if setting.kind == "bool":
        return st.toggle(label, key=key, help=help_text, persist_state=persist)
    if setting.kind == "choice":
        return st.selectbox(label, setting.choices, key=key, help=help_text, persist_state=persist)
    if setting.kind in ("path", "text"):
        return setting.read(st.text_input(label, key=key, help=help_text, persist_state=persist).strip())
    whole = setting.kind == "int"
    low, high = (
        None if bound is None else int(bound) if whole else float(bound)
        for bound in (setting.low, setting.high)
    )
    return st.number_input(
        label if owner in PRESETS else f"{label} ({setting.reach})",
        low,
        high,
        key=key,
        step=1 if whole else _step(start),
        format=None if whole else "%g",
        help=f"{help_text}: {setting.reach}" if owner in PRESETS else help_text,
        persist_state=persist,
    )


def _step(start: object) -> float:
    return float(start) / 10 if isinstance(start, float) and start else 0.1
