"""The list of runs on the train page: choose runs, see how they ended, and act on them."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import streamlit as st

from app import cache
from app.kit import how_read, permalink
from app.kit.names import created, dataset_title, method, run_label, short_labels, started
from app.kit.palette import is_variant, loss_color
from app.kit.query import default_runs
from app.kit.words import plain
from app.train import live
from app.train.form import CHOSEN, fill
from core import runs
from core.errors import MaclError, words
from core.queue import launch
from core.report import NOT_COMPUTED
from core.runs import Run

TABLE = "run_table"
SWATCH, VARIANT = "\u2501\u2501", "\u2505\u2505"  # a line, and a dashed one
LOG_LINES = 200
SHOWN_TRASH = 20
MOST_CHOSEN = 8  # by default; a person may tick more


def chosen() -> list[Run]:
    """The runs of a link, else those chosen before, else the active ones, else the newest.

    Runs that are not here any more are left out, with a note.
    """
    all_runs = cache.all_runs()
    by_id = {run.id: run for run in all_runs}
    if linked := permalink.news("runs", CHOSEN):
        wanted = linked
    elif CHOSEN in st.session_state:
        wanted = st.session_state[CHOSEN]
    else:
        active = [run.id for run in all_runs if live.state(run) in live.ACTIVE]
        own = [run.id for run in all_runs if not run.recorded]
        running = [name for name in active if live.state(Run(launch.run_root() / name)) != "queued"]
        wanted = (running or active)[:MOST_CHOSEN] or own[:1] or default_runs(cache.finished_runs())
    permalink.note_gone([name for name in wanted if name not in by_id])
    choose([name for name in wanted if name in by_id])
    return [by_id[name] for name in st.session_state[CHOSEN]]


def paused() -> None:
    """Say that the queue is paused while runs wait in it, with a button to go on."""
    root = launch.run_root()
    if launch.paused(root) and launch.queue(root):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("The queue is paused: runs that wait do not begin.", width="content")
            st.button("Go on", key="unpause", on_click=_unpause, args=(root,))


def _unpause(root: Path) -> None:
    try:
        launch.unpause(root)
    except OSError as error:
        st.session_state["train_message"] = words(error)


def choose(ids: list[str]) -> None:
    """Choose these runs on the page and in its permalink, which names only the first of very many."""
    st.session_state[CHOSEN] = ids
    permalink.say("runs", CHOSEN, ids[: permalink.MOST_RUNS])


def table(selected: list[Run]) -> None:
    """All runs, newest first; a ticked line is a chosen run."""
    all_runs = cache.all_runs()
    ids = [run.id for run in all_runs]
    queue = {run.id: position for position, run in enumerate(launch.queue(launch.run_root()), 1)}
    frame = pd.DataFrame([_row(run, queue.get(run.id)) for run in all_runs])
    rows = [ids.index(run.id) for run in selected]
    # lines move when a run is added or deleted; the ticks must follow their runs
    st.session_state[TABLE] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    configs = [cache.config(run) for run in all_runs]
    colors = [loss_color(config.loss, config.params) for config in configs]
    st.dataframe(
        frame.style.apply(lambda _: [f"color: {color}" for color in colors], subset=[" "]),
        key=TABLE,
        on_select=lambda: _ticked(ids),
        selection_mode="multi-row",
        hide_index=True,
        placeholder="–",
        height=300 if len(all_runs) > 8 else "auto",
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


def _row(run: Run, position: int | None) -> dict[str, object]:
    config = cache.config(run)
    word = live.state(run)
    try:
        scores = cache.scores(run) if word in ("finished", "recorded") else {}
    except MaclError:
        scores, word = {}, f"{word}, damaged"
    seconds = scores.get("training_s")
    if not scores and (history := cache.history(run)):  # finished runs need no curve read for this
        seconds = history[-1].get("seconds")
    medium = scores.get("metrics", {}).get("map_medium")
    if scores and "map_medium" not in scores["metrics"]:
        word = f"{word}, Medium {NOT_COMPUTED}"
    again = "queued again" if word == "queued" and run.queued_again else word
    return {
        " ": VARIANT if is_variant(config.loss, config.params) else SWATCH,
        "Run": run.title or method(config),
        "State": f"queued, no. {position}" if word == "queued" and position else again,
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
    """Buttons for what can be done with the chosen runs, and to undo a deletion."""
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
        st.error(plain(message))
    deleted = [
        run for run in runs.trashed(launch.run_root()) if run.id in st.session_state.get("deleted", [])
    ]
    if deleted:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"Moved {_count(len(deleted))} to the trash.", width="content")
            st.button("Undo", on_click=_restore, args=(deleted,))


def _train_on(run: Run | None, words: dict[str, str]) -> None:
    """Train a run for more epochs, or go back to the results it already has."""
    fits = run is not None and words[run.id] not in live.ACTIVE
    with st.popover("Train on", disabled=not fits):
        if run is None or not fits:
            return
        config, kept_epochs = cache.config(run), runs.results_of(run)
        st.number_input(
            "Epochs in all",
            config.epochs + 1,
            key=f"epochs.{run.id}",
            value=2 * config.epochs,
            help="The run goes on from its last step; its results stay until there are new ones",
        )
        st.button("Train on", key="train_on", type="primary", on_click=_each, args=(_more_epochs, [run]))
        if kept_epochs is not None:
            st.button(
                f"Keep the {kept_epochs:d} epochs",
                key="take_back",
                on_click=_each,
                args=(runs.take_back, [run]),
                help="The run counts as finished again, with the results it has",
            )


def _more_epochs(run: Run) -> None:
    runs.extend(run, st.session_state[f"epochs.{run.id}"])
    launch.resume(run)


def _resumable(run: Run, word: str) -> bool:
    """Whether the run can go on, or begin after all."""
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
        except MaclError as error:
            st.session_state["train_message"] = str(error)
        except OSError as error:
            st.session_state["train_message"] = words(error)


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
    restored: list[str] = []
    _each(lambda run: restored.append(runs.restore(run).id), deleted)
    st.session_state["deleted"] = []
    choose(st.session_state[CHOSEN] + restored)


def _trash() -> None:
    deleted = runs.trashed(launch.run_root())
    if not deleted:
        return
    with st.popover(f"Trash ({len(deleted)})"):
        for run in deleted[:SHOWN_TRASH]:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"{plain(run_label(run))}  \n:gray[{plain(started(run))}]", width="stretch")
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
    """The chosen runs whose curves and logs are on the page: hundreds of curves cannot be read."""
    if len(selected) > permalink.MOST_RUNS:
        st.caption(
            f"The curves, the logs and the link are of the first {permalink.MOST_RUNS} of "
            f"{len(selected)} chosen runs; the buttons act on all."
        )
    return selected[: permalink.MOST_RUNS]


def outcomes(selected: list[Run]) -> None:
    """What happened to the chosen runs that did not finish, and what to do about it."""
    for run in selected:
        word, label = live.state(run), plain(run_label(run))
        if word not in ("failed", "interrupted", "stopped"):
            continue
        rows = cache.history(run)
        step = f" after step {int(rows[-1]['step']):,}" if rows else " before its first step"
        saved = (run.path / "resume.safetensors").exists()
        go_on = "goes on from its last checkpoint" if saved else "starts it again"
        epochs = runs.results_of(run)
        hint = f"  \nThe results of its {epochs:d} epochs are kept: Train on leads back." if epochs else ""
        if word == "failed":
            st.error(
                f"**{label}** failed: {plain(run.error)}  \n"
                f"Remove the cause and press Resume, or duplicate it with changes.{hint}"
            )
        elif word == "interrupted":
            st.warning(
                f"**{label}** was interrupted{step}: its process died (killed, out of memory, or the machine "
                f"went down). Resume {go_on}.{hint}"
            )
        elif word == "stopped":
            st.info(f"**{label}** has stopped{step}. Resume {go_on}.{hint}")


def details(selected: list[Run]) -> None:
    """Log and saved configuration of the chosen runs, read only when their expander is opened."""
    if not selected:
        return
    labels = list(map(plain, short_labels(selected)))
    with st.expander("Log", key="log_open", on_change="rerun") as expander:
        for tab, run in zip(st.tabs(labels), selected, strict=True) if expander.open else ():
            lines = run.log.splitlines()
            tab.code("\n".join(lines[-LOG_LINES:]) or "The log is empty so far.", language=None, height=240)
    with st.expander("Saved configuration", key="config_open", on_change="rerun") as expander:
        for tab, run in zip(st.tabs(labels), selected, strict=True) if expander.open else ():
            tab.caption(
                f"config.json of {plain(run.id)}: what the run was started with, whatever the form says now"
            )
            if read := how_read.words(cache.config(run).reading):
                tab.caption(f"Its images and tables were read so: {plain(read)}.")
            if changes := runs.changes(run):
                tab.caption(
                    "Changed since: "
                    + plain(", ".join(f"{c['from']} to {c['to']} epochs, {c['at']}" for c in changes))
                )
            tab.json(cache.config(run).model_dump())
