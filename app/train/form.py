"""The form of the train page: data, losses, seeds, preset and their settings become run configurations."""

import itertools
import os
from typing import Any, Literal, get_args

import streamlit as st

from app.kit import permalink, shared
from app.kit.names import PRESET_TITLES, dataset_title
from app.train.command import FLAGS, command, preset_value
from core.data import default_root
from core.errors import MaclError
from core.losses import LOSSES, Parameter
from core.queue import launch
from core.runs import PRESETS, RunConfig

# What decides most is seen at once; the other parameters of a loss are one click away.
FIRST = ("tau", "alpha", "beta", "use_w", "use_T", "denominator", "temperature", "position")
FOLDED = {"macl": ("tau",), "wg_macl": ("tau",)}
MAX_SEEDS = 50
CHOSEN = "train_runs"  # whose curves the page shows
LABELS = {
    "lr": "Learning rate",
    "clip": "Gradient clipping",
    "keep": "Epoch to keep",
    "embed_every": "Embeddings every … epochs",
}


def form() -> None:
    """Everything that a run is started with; starts one for every loss and seed."""
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
        fields = {field: _field(preset, field) for field in (*FLAGS, "device")}
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
            for loss, seed in itertools.product(losses, parse_seeds(seeds))
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


def parse_seeds(text: str) -> list[int]:
    """Seeds from "0", "0, 1, 2" or "0-4", without repetition.

    Raises:
        MaclError: If the text is something else, or names more than MAX_SEEDS.
    """
    seeds: list[int] = []
    for part in text.replace("–", "-").replace(";", ",").replace(" ", ",").split(","):
        low, dash, high = part.partition("-")
        if not part:
            continue
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise MaclError(f"seeds: need numbers such as 0 or 0, 1, 2 or 0-4, got {text!r}")
        last = int(high) if dash else int(low)
        if last - int(low) >= MAX_SEEDS:
            raise MaclError(f"seeds: need at most {MAX_SEEDS}, got {part}")
        seeds += range(int(low), last + 1)
    unique = list(dict.fromkeys(seeds))
    if not 1 <= len(unique) <= MAX_SEEDS:
        raise MaclError(f"seeds: need 1 to {MAX_SEEDS} of them, got {len(unique)}")
    return unique


def fill(config: RunConfig) -> None:
    """Put a run's settings into the form; call it from a callback, before the form is drawn."""
    state = st.session_state
    shared.set_dataset(config.dataset, config.data_root, config.skip_broken)
    state["loss"], state["preset"], state["seeds"] = [config.loss], config.preset, str(config.seed)
    for name in (*FLAGS, "device"):
        state[f"{config.preset}.{name}"] = getattr(config, name)
    for name, value in config.params.items():
        state[f"{config.loss}.{name}"] = value


def _missing(name: str, root: str | None) -> str:
    """Why the data set cannot be read, as far as a look at its path tells; empty if it can."""
    where = root or default_root(name)
    if os.path.exists(where):  # Path.exists raises where a folder above cannot be read
        return ""
    return f"{dataset_title(name)} is not at {where}."


def _field(preset: str, name: str) -> Any:
    """A widget for one field of the configuration, with the preset's value to begin with."""
    info = RunConfig.model_fields[name]
    start, key = preset_value(preset, name), f"{preset}.{name}"
    if key not in st.session_state:
        st.session_state[key] = start
    label, about = LABELS.get(name, name.replace("_", " ").capitalize()), info.description
    choices = get_args(info.annotation)
    if info.annotation is bool:
        return st.toggle(label, key=key, help=about, persist_state="session")
    if choices:
        return st.selectbox(label, choices, key=key, help=about, persist_state="session")
    if info.annotation is str:
        return st.text_input(label, key=key, help=about, persist_state="session").strip()
    low, high = _bound(info.metadata, "ge", "gt"), _bound(info.metadata, "le")
    if info.annotation is int:
        return st.number_input(label, low, high, key=key, step=1, help=about, persist_state="session")
    return st.number_input(
        label,
        None if low is None else float(low),
        None if high is None else float(high),
        key=key,
        step=_step(start),
        format="%g",
        help=about,
        persist_state="session",
    )


def _bound(metadata: list[Any], *names: str) -> Any:
    """The bound of a field that pydantic keeps under one of these names; None if it has none."""
    return next((getattr(item, name) for item in metadata for name in names if hasattr(item, name)), None)


def _step(start: object) -> float:
    return float(start) / 10 if isinstance(start, float) and start else 0.1


def _parameters(key: str) -> dict[str, Any]:
    """Widgets for the parameters of a loss: the important ones, then the rest on demand."""
    spec = LOSSES[key]
    first = [p for p in spec.parameters if p.name in FIRST and p.name not in FOLDED.get(key, ())]
    rest = [p for p in spec.parameters if p not in first]
    with st.expander(f"{spec.title}: parameters", key=f"{key}.open"):
        st.caption(f"{spec.summary} {spec.source}.")
        values = {p.name: _parameter(key, p) for p in first}
        if rest:
            unfolded = st.toggle("All parameters", key=f"{key}.all", persist_state="session")
            with st.container():
                for p in rest:
                    kept = st.session_state.get(f"{key}.{p.name}", p.default)
                    values[p.name] = _parameter(key, p) if unfolded else kept
    return values


def _parameter(loss: str, p: Parameter) -> Any:
    key = f"{loss}.{p.name}"
    if key not in st.session_state:
        st.session_state[key] = p.default
    label = f"{p.symbol} · {p.name}" if p.symbol else p.name
    persist: Literal["session"] = "session"
    if p.kind == "bool":
        return st.toggle(label, key=key, help=p.help, persist_state=persist)
    if p.kind == "choice":
        return st.selectbox(label, p.choices, key=key, help=p.help, persist_state=persist)
    low = None if p.low is None else float(p.low)
    high = None if p.high is None else float(p.high)
    reach = "any number" if low is None or high is None else f"{low:g} to {high:g}"
    return st.number_input(
        f"{label} ({reach})",
        low,
        high,
        key=key,
        step=_step(p.default),
        format="%g",
        help=p.help,
        persist_state=persist,
    )
