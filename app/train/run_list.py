"""The list of runs on the train page: choose some, see what became of them, and act on them."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from app import cache
from app.kit import permalink
from app.kit.names import created, dataset_title, method, run_label, short_labels, started
from app.kit.palette import is_variant, loss_color
from app.kit.query import default_runs
from app.train import live
from app.train.form import CHOSEN, fill
from core import runs
from core.errors import MaclError
from core.queue import launch
from core.report import NOT_COMPUTED
from core.runs import Run

TABLE = "run_table"
SWATCH, VARIANT = "\u2501\u2501", "\u2505\u2505"  # a line, and a dashed one
LOG_LINES = 200
SHOWN_TRASH = 20
MOST_CHOSEN = 8  # by default; a person may tick more


def chosen() -> list[Run]:
    """The runs of a link, else those chosen before, else what is active, else the newest.

    What is not here any more is left out, with a note.
    """
    found = cache.all_runs()
    known = {run.id: run for run in found}
    if asked := permalink.news("runs", CHOSEN):
        wanted = asked
    elif CHOSEN in st.session_state:
        wanted = st.session_state[CHOSEN]
    else:
        active = [run.id for run in found if live.state(run) in live.ACTIVE]
        own = [run.id for run in found if not run.recorded]
        running = [name for name in active if live.state(Run(launch.run_root() / name)) != "queued"]
        wanted = (running or active)[:MOST_CHOSEN] or own[:1] or default_runs(cache.finished_runs())
    permalink.note_gone([name for name in wanted if name not in known])
    choose([name for name in wanted if name in known])
    return [known[name] for name in st.session_state[CHOSEN]]


def paused() -> None:
    """That nothing begins although runs wait, and the way on."""
    root = launch.run_root()
    if launch.paused(root) and launch.queue(root):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("The queue is paused: what waits does not begin.", width="content")
            st.button("Go on", key="unpause", on_click=launch.unpause, args=(root,))


def choose(ids: list[str]) -> None:
    """Choose these runs, in the page and, the first ones of very many, in its permalink."""
    st.session_state[CHOSEN] = ids
    permalink.say("runs", CHOSEN, ids[: permalink.MOST_RUNS])


def table(selected: list[Run]) -> None:
    """All runs, newest first; a ticked line is a chosen run."""
    found = cache.all_runs()
    ids = [run.id for run in found]
    queue = {run.id: place for place, run in enumerate(launch.queue(launch.run_root()), 1)}
    frame = pd.DataFrame([_row(run, queue.get(run.id)) for run in found])
    rows = [ids.index(run.id) for run in selected]
    # the lines move when a run is added or deleted; the ticks must follow the runs
    st.session_state[TABLE] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    configs = [cache.config(run) for run in found]
    colors = [loss_color(config.loss, config.params) for config in configs]
    st.dataframe(
        frame.style.apply(lambda _: [f"color: {color}" for color in colors], subset=[" "]),
        key=TABLE,
        on_select=lambda: _ticked(ids),
        selection_mode="multi-row",
        hide_index=True,
        placeholder="–",
        height=300 if len(found) > 8 else "auto",
        column_config={
            " ": st.column_config.TextColumn(
                "Line", width=48, help="Colour of its method; dashed: a variant"
            ),
            "Run": st.column_config.TextColumn(width="medium"),
            "Seed": st.column_config.NumberColumn(width=50),
            "Medium": st.column_config.NumberColumn(
                "mAP Medium", format="%.2f", help="mAP Medium@0.6 on the test split, percent"
            ),
            "Trained": st.column_config.TextColumn(help="Time spent in training alone"),
        },
        alt="Runs with their state; tick lines to see their curves",
    )


def _row(run: Run, place: int | None) -> dict[str, object]:
    config = cache.config(run)
    word = live.state(run)
    try:
        scores = cache.scores(run) if word in ("finished", "recorded") else {}
    except MaclError:
        scores, word = {}, f"{word}, damaged"
    seconds = scores.get("training_s")
    if not scores and (history := cache.history(run)):  # of finished runs no curve is read for this
        seconds = history[-1].get("seconds")
    medium = scores.get("metrics", {}).get("map_medium")
    if scores and "map_medium" not in scores["metrics"]:
        word = f"{word}, Medium {NOT_COMPUTED}"
    return {
        " ": VARIANT if is_variant(config.loss, config.params) else SWATCH,
        "Run": run.title or method(config),
        "State": f"queued, no. {place}" if word == "queued" and place else word,
        "Data": dataset_title(config.dataset),
        "Preset": config.preset,
        "Seed": config.seed,
        "Medium": None if medium is None else 100 * medium,
        "Trained": _short(seconds),
        "Created": created(run)[5:16] or None,
    }


def _short(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return (
        f"{seconds:.1f} s"
        if seconds < 60
        else f"{seconds / 60:.1f} min"
        if seconds < 3600
        else f"{seconds / 3600:.1f} h"
    )


def _ticked(ids: list[str]) -> None:
    rows = st.session_state[TABLE]["selection"]["rows"]
    choose([ids[row] for row in rows if row < len(ids)])


def actions(selected: list[Run]) -> None:
    """What can be done with the chosen runs, and the way back after a deletion."""
    words = {run.id: live.state(run) for run in selected}
    own = [run for run in selected if not run.recorded]
    with st.container(horizontal=True, gap="small"):
        _button("Stop", [r for r in own if words[r.id] in ("queued", "running")], _stop)
        _button("Resume", [r for r in own if _resumable(r, words[r.id])], launch.resume)
        one = selected[0] if len(selected) == 1 else None
        with st.popover("Rename", disabled=one is None or one.recorded):
            if one is not None:
                st.text_input(
                    "Name of the run",
                    one.title,
                    max_chars=80,
                    key=f"name.{one.id}",
                    placeholder=run_label(one),
                    on_change=_rename,
                    args=(one,),
                    help="Empty: the name that its settings give",
                )
        _train_on(one if one in own else None, words)
        st.button("Duplicate with changes", disabled=one is None, on_click=_duplicate, args=(one,),
                  help="Fills the form with the settings of the chosen run")  # fmt: skip
        _button("Delete", [r for r in own if words[r.id] not in ("running", "stopping")], None)
        _trash()
    if message := st.session_state.pop("train_message", ""):
        st.error(message)
    deleted = [
        run for run in runs.trashed(launch.run_root()) if run.id in st.session_state.get("deleted", [])
    ]
    if deleted:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"Moved {_count(len(deleted))} to the trash.", width="content")
            st.button("Undo", on_click=_restore, args=(deleted,))


def _train_on(run: Run | None, words: dict[str, str]) -> None:
    """More epochs for a run, and the way back to the results that it has."""
    fits = run is not None and words[run.id] not in live.ACTIVE
    with st.popover("Train on", disabled=not fits):
        if run is None or not fits:
            return
        config, kept = cache.config(run), runs.results_of(run)
        st.number_input(
            "Epochs in all",
            config.epochs + 1,
            key=f"epochs.{run.id}",
            value=2 * config.epochs,
            help="The run goes on from its last step; its results stay until the new ones are there",
        )
        st.button("Train on", key="train_on", type="primary", on_click=_each, args=(_more_epochs, [run]))
        if kept is not None:
            st.button(
                f"Keep the {kept} epochs",
                key="take_back",
                on_click=_each,
                args=(runs.take_back, [run]),
                help="Finished again, with the results that it has",
            )


def _more_epochs(run: Run) -> None:
    runs.extend(run, st.session_state[f"epochs.{run.id}"])
    launch.resume(run)


def _resumable(run: Run, word: str) -> bool:
    """Whether it can go on, or begin after all."""
    return word in ("stopped", "failed", "interrupted") or run.lost


def _button(label: str, fitting: list[Run], act: Callable[[Run], object] | None) -> None:
    text = f"{label} {len(fitting)}" if len(fitting) > 1 else label
    if act is None:
        st.button(text, key=label, disabled=not fitting, on_click=_delete, args=(fitting,))
    else:
        st.button(text, key=label, disabled=not fitting, on_click=_each, args=(act, fitting))


def _each(act: Callable[[Run], object], fitting: list[Run]) -> None:
    for run in fitting:
        try:
            act(run)
        except FileNotFoundError:
            st.session_state["train_message"] = f"{run.id} is not here any more: another tab has moved it."
        except (MaclError, OSError) as error:
            st.session_state["train_message"] = str(error)


def _stop(run: Run) -> None:
    launch.stop(run)


def _rename(run: Run) -> None:
    _each(lambda run: run.rename(st.session_state[f"name.{run.id}"]), [run])


def _duplicate(run: Run) -> None:
    fill(cache.config(run))


def _delete(fitting: list[Run]) -> None:
    _each(runs.delete, fitting)
    gone = [run.id for run in fitting if not run.path.exists()]
    st.session_state["deleted"] = gone
    choose([name for name in st.session_state[CHOSEN] if name not in gone])


def _restore(deleted: list[Run]) -> None:
    back: list[str] = []
    _each(lambda run: back.append(runs.restore(run).id), deleted)
    st.session_state["deleted"] = []
    choose(st.session_state[CHOSEN] + back)


def _trash() -> None:
    deleted = runs.trashed(launch.run_root())
    if not deleted:
        return
    with st.popover(f"Trash ({len(deleted)})"):
        for run in deleted[:SHOWN_TRASH]:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"{run_label(run)}  \n:gray[{started(run)}]", width="stretch")
                st.button("Restore", key=f"restore.{run.id}", on_click=_restore, args=([run],))
        if len(deleted) > SHOWN_TRASH:
            st.caption(f"and {len(deleted) - SHOWN_TRASH:,} older ones")
        st.button(
            f"Delete {_count(len(deleted))} for good",
            key="empty_trash",
            on_click=_empty_trash,
            help="Frees their space; there is no way back",
        )


def _empty_trash() -> None:
    try:
        runs.empty_trash(launch.run_root())
    except MaclError as error:
        st.session_state["train_message"] = str(error)
    st.session_state["deleted"] = []


def _count(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"


def drawn(selected: list[Run]) -> list[Run]:
    """Those of the chosen runs whose curves and logs are on the page: hundreds of curves tell nothing."""
    if len(selected) > permalink.MOST_RUNS:
        st.caption(
            f"The curves, the logs and the link are of the first {permalink.MOST_RUNS} of "
            f"{len(selected)} chosen runs; the buttons act on all."
        )
    return selected[: permalink.MOST_RUNS]


def outcomes(selected: list[Run]) -> None:
    """What happened to chosen runs that did not finish, and what to do about it."""
    for run in selected:
        word, label = live.state(run), run_label(run)
        if word not in ("failed", "interrupted", "stopped"):
            continue
        rows = cache.history(run)
        step = f" after step {int(rows[-1]['step']):,}" if rows else " before its first step"
        saved = (run.path / "resume.safetensors").exists()
        go_on = "goes on from its last checkpoint" if saved else "starts it again"
        kept = runs.results_of(run)
        back = f"  \nThe results of its {kept} epochs are kept: Train on leads back to them." if kept else ""
        if word == "failed":
            st.error(
                f"**{label}** failed: {run.error}  \n"
                f"Mend the cause and press Resume, or duplicate it with changes.{back}"
            )
        elif word == "interrupted":
            st.warning(
                f"**{label}** was interrupted{step}: its process died (killed, out of memory, or the machine "
                f"went down). Resume {go_on}.{back}"
            )
        elif word == "stopped":
            st.info(f"**{label}** has stopped{step}. Resume {go_on}.{back}")


def details(selected: list[Run]) -> None:
    """Log and saved configuration of the chosen runs, read once somebody wants to see them."""
    if not selected:
        return
    labels = short_labels(selected)
    with st.expander("Log", key="log_open", on_change="rerun") as place:
        for tab, run in zip(st.tabs(labels), selected, strict=True) if place.open else ():
            lines = run.log.splitlines()
            tab.code("\n".join(lines[-LOG_LINES:]) or "nothing said yet", language=None, height=240)
    with st.expander("Saved configuration", key="config_open", on_change="rerun") as place:
        for tab, run in zip(st.tabs(labels), selected, strict=True) if place.open else ():
            tab.caption(f"config.json of {run.id}: what the run was started with, whatever the form says now")
            if changes := runs.changes(run):
                tab.caption(
                    "Changed since: "
                    + ", ".join(f"{c['from']} to {c['to']} epochs, {c['at']}" for c in changes)
                )
            tab.json(cache.config(run).model_dump())
