"""The form of the train page: data, losses, seeds, preset and settings become run configurations."""

import itertools
import os
from typing import Any, Literal

import streamlit as st

from app.kit import how_read, launchers, permalink, shared
from app.kit.names import PRESET_TITLES, dataset_title
from app.kit.words import plain
from app.train.command import command
from core.data import default_root
from core.errors import MaclError
from core.experiments.axes import parse_seeds
from core.losses import known, own, spec_of
from core.queue import launch
from core.runs import PRESETS, RunConfig, settings
from core.runs.settings import Setting
from core.runs.where import LOCAL

# The parameters that matter most are shown at once, the others of a loss one click away.
FIRST = (
    "tau", "alpha", "beta", "use_w", "use_T", "nested", "target", "denominator", "temperature", "position",
)  # fmt: skip
FOLDED = {"macl": ("tau",), "wg_macl": ("tau",)}
AT_ONCE = 6  # parameters of a person's own loss that are shown at once
MAX_SEEDS = 50
CHOSEN = "train_runs"  # runs whose curves the page shows


def form() -> None:
    """All settings of a run, and the button that starts one for every loss and seed."""
    permalink.note_unknown(
        dataset=shared.titles(), loss=[spec.title for spec in known().values()], preset=list(PRESETS)
    )
    name = shared.choose_dataset()
    root = shared.choose_place(name)
    shared.link_reading(name)
    how_read.form(name, across=1)
    losses = st.multiselect(
        "Losses",
        list(known()),
        default=["macl", "mulsupcon"],
        format_func=lambda key: spec_of(key).title,
        key="loss",
        help="Your own joins them by `macl loss add FILE`",
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
    launcher = launchers.choose("launcher")
    try:
        configs = [
            RunConfig.build(
                preset,
                dataset=name,
                data_root=root,
                skip_broken=skip,
                reading=shared.reading(name),
                loss=loss,
                params=params[loss],
                seed=seed,
                **fields,
            )
            for loss, seed in itertools.product(losses, parse_seeds(seeds, MAX_SEEDS))
        ]
    except MaclError as error:
        st.error(plain(error))
        configs = []
    if configs:
        with st.expander("The same on the command line", key="command_open"):
            st.code(
                "\n".join(command(config, launcher) for config in configs), language="bash", wrap_lines=True
            )
    missing = _missing(name, root)
    if missing:
        st.warning(plain(missing))
        st.page_link("../pages/data.py", label="How to get the data sets")
    label = f"Start {len(configs)} runs" if len(configs) > 1 else "Start the run"
    if st.button(label, type="primary", width="stretch", disabled=not configs or bool(missing)):
        started: list[str] = []
        try:
            if launcher != LOCAL:  # together: one array
                started += [run.id for run in launch.submit_all(configs, launcher=launcher)]
            else:
                for config in configs:
                    started.append(launch.submit(config).id)
        except (MaclError, OSError) as error:
            st.error(f"{len(started)} of {len(configs)} runs have been started: {plain(error)}")
            return
        st.session_state[CHOSEN] = started
        st.toast("Started: the runs are at the top of the list.")  # which may be out of sight
        st.rerun()


def fill(config: RunConfig) -> None:
    """Put a run's settings into the form; call it from a callback, before the form is drawn."""
    state = st.session_state
    shared.set_dataset(config.images)
    state["preset"], state["seeds"] = config.preset, str(config.seed)
    if config.loss in known():
        state["loss"] = [config.loss]
    else:
        name = own.name_in(config.loss)
        state["train_message"] = (
            f"{config.spec.title} is not among your losses; the form keeps the losses it had. To train with "
            f"it here read {name}.py in the folder of the run, then `macl loss add` it."
        )
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
    spec, by_name = spec_of(loss), settings.of_loss(loss)
    first = [p.name for p in spec.parameters][:AT_ONCE] if spec.sha256 else FIRST
    shown = [p for p in spec.parameters if p.name in first and p.name not in FOLDED.get(loss, ())]
    rest = [p for p in spec.parameters if p not in shown]
    with st.expander(f"{plain(spec.title)}: parameters", key=f"{loss}.open"):
        st.caption(plain(f"{spec.summary} {spec.source[0].upper()}{spec.source[1:]}."))
        values = {p.name: _widget(loss, by_name[p.name], p.default) for p in shown}
        if rest:
            unfolded = st.toggle("All parameters", key=f"{loss}.all", persist_state="session")
            with st.container():
                for p in rest:
                    current = st.session_state.get(f"{loss}.{p.name}", p.default)
                    values[p.name] = _widget(loss, by_name[p.name], p.default) if unfolded else current
    return values


def _widget(owner: str, setting: Setting, start: Any) -> Any:
    """A widget for one setting of a preset or a loss, which starts at the owner's value."""
    label, key, help_text = plain(setting.title), f"{owner}.{setting.name}", plain(setting.help)
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
        label if owner in PRESETS else f"{label} ({plain(setting.reach)})",
        low,
        high,
        key=key,
        step=1 if whole else _step(start),
        format=None if whole else "%g",
        help=f"{help_text}: {plain(setting.reach)}" if owner in PRESETS else help_text,
        persist_state=persist,
    )


def _step(start: object) -> float:
    return float(start) / 10 if isinstance(start, float) and start else 0.1
