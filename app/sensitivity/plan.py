"""What to sweep: a ready-made study or a person's own grid, previewed, then queued."""

import shlex
from typing import Any

import streamlit as st

from app.kit import launchers
from app.kit.names import dataset_title
from app.kit.permalink import note_unknown
from app.kit.words import plain
from app.sensitivity.lab import sources
from app.train.form import MAX_SEEDS
from core.data import Reading
from core.errors import MaclError
from core.experiments import duration
from core.experiments import sweep as sweeps
from core.experiments.axes import parse_axis, parse_one, parse_seeds, shown_seeds
from core.experiments.studies import STUDIES
from core.experiments.sweep import Known, Sweep
from core.losses import Value, known, spec_of
from core.queue import launch
from core.runs import PRESETS, settings
from core.runs.settings import shown
from core.runs.where import LOCAL

OWN = "Your own grid"
MOST_AT_ONCE = 600  # run folders that a page creates without a long wait


def form(among: Known) -> None:
    """Widgets for a sweep, how long it would take, and the button that queues it."""
    titles = {study.title: key for key, study in STUDIES.items()}
    datasets = sources()
    note_unknown(sw_what=[*titles, OWN], sw_dataset=[dataset_title(name) for name in datasets])
    top = st.columns([4, 3, 3, 2], vertical_alignment="bottom")
    title = top[0].selectbox("What", [*titles, OWN], key="sw_what", bind="query-params")
    sets = {dataset_title(name): name for name in datasets}
    name = sets[top[1].selectbox("Data set", sets, key="sw_dataset", bind="query-params")]
    study = titles.get(title)
    fixed_preset = STUDIES[study].preset if study else ""
    options = (
        [fixed_preset, *(key for key in PRESETS if key != fixed_preset)] if fixed_preset else list(PRESETS)
    )
    preset = top[2].selectbox("Preset", options, key=f"sw_preset_{fixed_preset}", persist_state="session")
    seeds = top[3].text_input("Seeds", "0", key="sw_seeds", bind="query-params", help="0 or 0, 1, 2 or 0-4")
    fields: dict[str, Any] = {"dataset": name, **datasets[name]}
    try:
        numbers = list(parse_seeds(seeds, MAX_SEEDS))
        if study:
            planned = STUDIES[study].build(preset, {**fields, **_shared(study)}, numbers)
        else:
            planned = _own(preset, fields, numbers)
    except MaclError as error:
        st.error(plain(error))
        return
    if planned.note:
        st.caption(plain(planned.note))
    cost = duration.preview(planned, among)
    missing = cost.total - cost.there
    basis = (
        "as finished runs like these took here"
        if cost.measured
        else "a guess: no run like these has finished"
    )
    if missing:
        time = duration.words(cost.seconds)
        text = (
            f"**{cost.total:d} runs**, {cost.there:d} of them there; the others about **{time}** ({basis})."
        )
    else:
        text = f"**{cost.total:d} runs**, all of them there already."
    launcher = launchers.choose("sw_launcher")
    left, middle, right = st.columns([6, 3, 2], vertical_alignment="center")
    left.markdown(text)
    with middle.popover("The same on the command line", width="stretch"):
        st.code(command(planned, study, preset, fields, numbers, launcher), language="bash", wrap_lines=True)
    if missing > MOST_AT_ONCE:
        left.warning(f"More than {MOST_AT_ONCE} runs at once: start them with `macl sweep`.")
    label = f"Queue {missing:d} runs" if missing > 1 else "Queue the run" if missing else "Show them"
    right.button(
        label,
        type="primary",
        width="stretch",
        disabled=missing > MOST_AT_ONCE,
        on_click=_start,
        args=(planned, launcher),
    )


def command(
    planned: Sweep,
    study: str | None,
    preset: str,
    fields: dict[str, Any],
    seeds: list[int],
    launcher: str = LOCAL,
) -> str:
    """The `macl sweep` that starts the same sweep."""
    parts = ["macl", "sweep"]
    first = planned.points[0].config
    if study:
        parts += ["--study", study]
        same = st.session_state.get("sw_same", "")
    else:
        for name, values in planned.axes.items():
            if name != "seed":
                parts.append(f"{name}={','.join(map(shown, values))}")
        parts += ["--loss", first.loss]
        same = st.session_state.get("sw_fixed", "")
    parts += ["--preset", preset, "--dataset", fields["dataset"]]
    if fields.get("data_root"):
        parts += ["--data-root", fields["data_root"]]
    if fields.get("skip_broken"):
        parts += ["--set", "skip_broken=true"]
    for name in Reading.model_fields:
        if name in fields:
            parts += ["--set", f"{name}={shown(fields[name])}"]
    for pair in same.split(","):
        if pair.strip():
            parts += ["--set", pair.strip()]
    if launcher != LOCAL:
        parts += ["--launcher", launcher]
    return shlex.join([*parts, "--seeds", shown_seeds(seeds)])


def _shared(study: str) -> dict[str, Value]:
    """Settings from a person that all runs of a study share."""
    with st.popover("More settings"):
        text = st.text_input(
            "The same in all runs", key="sw_same", persist_state="session",
            placeholder="denominator=own, epochs=10",
            help="Fields of a run and parameters of the loss; what the study varies has the last word",
        )  # fmt: skip
    return _pairs(text, "macl")


def _own(preset: str, fields: dict[str, Any], seeds: list[int]) -> Sweep:
    """Up to three axes, each a field or a parameter with its values."""
    top = st.columns([2, 3, 2, 3], vertical_alignment="bottom")
    titles = {spec.title: key for key, spec in known().items()}
    note_unknown(sw_loss=list(titles))
    chosen = top[0].selectbox(
        "Loss", titles, index=list(titles).index("MACL"), key="sw_loss", bind="query-params"
    )
    loss = titles[chosen]
    text = top[1].text_input(
        "The same in all runs",
        key="sw_fixed",
        persist_state="session",
        placeholder="denominator=own, epochs=10",
    )
    by_name = {setting.name: setting for setting in settings.axes(loss)}
    axes: dict[str, tuple[Value, ...]] = {}
    usual = {0: ("alpha", "0:3:7"), 1: ("beta", "0, 0.1, 0.25, 0.5, 1, 1.5, 2")}
    if loss == "macl_nested":  # whose α does nothing as long as its target is the labels
        usual = {0: ("tau", "0.05, 0.1, 0.2"), 1: ("nested", "true, false")}
    elif spec_of(loss).sha256:  # of one's own loss the numbers whose range is known
        bounded = [p for p in spec_of(loss).parameters if p.kind == "float" and None not in (p.low, p.high)]
        inclusive = [p for p in bounded if not (p.above or p.below)]
        usual = {n: (p.name, f"{p.low:g}:{p.high:g}:5") for n, p in enumerate(inclusive[:2])}
    for n, line in enumerate(st.columns(2)):
        with line:
            left, right = st.columns([2, 3], vertical_alignment="bottom")
            preferred, values = usual.get(n, ("", ""))
            preferred = preferred if preferred in by_name else ""
            options = ["–", *by_name]
            name = left.selectbox(
                f"Axis {n + 1:d}",
                options,
                index=options.index(preferred) if preferred else 0,
                key=f"sw_axis_{n}_{loss}",
                persist_state="session",
            )
            if name == "–":
                continue
            start = values if name == preferred else ", ".join(map(shown, by_name[name].few))
            typed = right.text_input(
                "Values",
                start,
                key=f"sw_values_{n}_{name}",
                persist_state="session",
                help="0, 0.5, 1 or 0:3:7 (seven values from 0 to 3)",
            )
            axes[name] = parse_axis(f"{name}={typed}", loss)[1]
    if not axes:
        raise MaclError("choose at least one axis")
    shared = {"loss": loss, **fields, **_pairs(text, loss)}
    parts = [" × ".join(axes), "losses" if "loss" in axes else chosen, dataset_title(fields["dataset"])]
    title = " · ".join(parts)
    return sweeps.grid(title, preset, shared, {**axes, "seed": seeds})


def _pairs(text: str, loss: str) -> dict[str, Value]:
    return dict(parse_one(part.strip(), loss) for part in text.split(",") if part.strip())


def _start(planned: Sweep, launcher: str) -> None:
    try:
        started = sweeps.start(planned, launch.run_root(), launcher)
    except MaclError as error:
        st.session_state["sw_message"] = str(error)
        return
    st.session_state["sweep"] = started.id
