"""The live lab: sliders that train. A worker trains the head at every move, the page shows what changed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from app import cache, image_cache
from app.figures import curves
from app.kit import shared
from app.kit.names import dataset_title
from app.kit.permalink import Between, note_unknown
from app.kit.pictures import pictures
from app.kit.steady import steady_chart
from app.kit.words import plain
from app.mechanism import settings
from app.sensitivity import maps, result
from app.sensitivity.result import SEEDS
from app.sensitivity.state import baseline
from app.train import live
from core.data import DATASETS, ImageSet, Reading, default_root
from core.errors import MaclError
from core.experiments import lab
from core.losses import Value
from core.queue import launch
from core.runs import PRESETS, Run, RunConfig

SIZE = int(PRESETS["instant"]["image_size"])
TICK, SLOW_TICK = 0.35, 0.75  # seconds between looks while the head or its repetitions are trained
SEEDS_OF_LAB = Between(0, 10**6, whole=True)
ASKED = "lab_asked"
ACTIVE = ("queued", "running")


def show() -> None:
    """Settings on the left, what they do on the right."""
    root = launch.run_root()
    lab.warm(root)
    datasets = sources()
    side, results = st.columns([3, 10], gap="medium")
    with side:
        name = _dataset(list(datasets))
        key, params = settings.stack()
        with st.popover("Seed and query", width="stretch"):
            seed = int(
                st.number_input("Seed", 0, int(SEEDS_OF_LAB.high), 0, key="lab_seed", bind="query-params")
            )
            query_slot = st.container()
    try:
        config = configured(name, datasets[name], key, params, seed)
        base = configured(name, datasets[name], *baseline(), seed)
    except MaclError as error:
        results.error(plain(error))
        return
    with results:
        images = pictures(config)
    if images is None:
        return
    now, before = ask_for([config, base])
    wanted = {now.id: now, before.id: before}
    repeated: list[tuple[Run, Run]] = []
    words = _words(wanted.values())
    if all(word == "finished" for word in words.values()):
        lab.tried(now)
        # the same two settings on other seeds: another split, initialisation and order for both
        seeds = [{"seed": seed + n} for n in range(1, SEEDS)]
        runs = ask_for([one.model_copy(update=change) for change in seeds for one in (config, base)])
        repeated = list(zip(runs[::2], runs[1::2], strict=True))
        wanted |= {run.id: run for run in runs}
        words = _words(wanted.values())
    cancel_others(wanted)
    with results:
        result.metrics(now, before, repeated, words)
        result.rows(now, before, words, images, query_slot)
        maps.show(now, before, config, images)
        result.strip(config)
    with side:
        _watch(now, before, list(wanted.values()), words)


def sources() -> dict[str, dict[str, Any]]:
    """Data sets by key: those of finished runs, then prepared ones, then those whose files are here.

    Each with the fields of a configuration that say where it is and, from a run, whether it has left out
    images that cannot be read.
    """
    datasets: dict[str, dict[str, Any]] = {}
    for run in cache.finished_runs():
        config = cache.config(run)
        if (
            config.dataset not in datasets
            and not run.recorded
            and _prepared(config.dataset, config.data_root, config.reading)
        ):
            place = {"data_root": config.data_root, "skip_broken": config.skip_broken}
            datasets[config.dataset] = place | config.reading.model_dump(exclude_defaults=True)
    for name in [name for name in DATASETS if name not in ("folder", *datasets)]:
        if _prepared(name, shared.place(name), shared.reading(name)):
            datasets[name] = _fields(name)
    for name in sorted(DATASETS, key=lambda name: bool(DATASETS[name].home)):  # the page prepares these
        if name not in ("folder", *datasets) and (shared.place(name) or default_root(name).exists()):
            datasets[name] = _fields(name)
    return datasets


def _fields(name: str) -> dict[str, Any]:
    """Where a data set is and how it is read, as the person has said, as fields of a configuration."""
    return {"data_root": shared.place(name), **shared.reading(name).model_dump(exclude_defaults=True)}


def _prepared(name: str, root: str | None, reading: Reading) -> bool:
    try:
        return image_cache.is_prepared(ImageSet(name, root, SIZE, reading=reading))
    except MaclError:
        return False


def _dataset(names: list[str]) -> str:
    titles = {dataset_title(name): name for name in names}
    note_unknown(lab_dataset=list(titles), lab_seed=SEEDS_OF_LAB)
    title = st.selectbox("Data set", titles, key="lab_dataset", bind="query-params")
    return titles[title]


def configured(
    name: str, place: Mapping[str, Any], key: str, params: Mapping[str, Value], seed: int
) -> RunConfig:
    """The configuration that the lab trains: the instant preset, without embeddings on the way for speed."""
    return RunConfig.build(
        "instant", dataset=name, **place, loss=key, params=dict(params), seed=seed, embed_every=0
    )


def ask_for(configs: Sequence[RunConfig]) -> list[Run]:
    """The lab's runs of these configurations of one data set, trained, under way or queued."""
    root, files = launch.run_root(), image_cache.files(configs[0].images)
    # noted first: a newer move may end this script at any moment, and what it queued must not be forgotten
    wanted = [lab.of(config, root, files).id for config in configs]
    st.session_state[ASKED] = [*st.session_state.get(ASKED, []), *wanted]
    return [lab.want(config, root, files) for config in configs]


def cancel_others(asked: Mapping[str, Run]) -> None:
    """Cancel the runs that this session asked for earlier and nobody waits for any more."""
    root = launch.run_root()
    for name in set(st.session_state.get(ASKED, [])) - set(asked):
        run = Run(lab.folder(root) / name)
        if run.state in ACTIVE:
            lab.cancel(run)
    st.session_state[ASKED] = list(asked)


def _words(runs: Iterable[Run]) -> dict[str, str]:
    """State of each run by its id, read once so that all parts of the page agree.

    Read from the folders: the cache would still know a run that was deleted to make room for others.
    """
    return {run.id: run.state for run in runs}


def _watch(now: Run, before: Run, runs: Sequence[Run], words: Mapping[str, str]) -> None:
    """Progress and loss curves; the page is redrawn when a training has ended."""
    busy = any(word in ACTIVE for word in words.values())
    hurry = any(words[run.id] in ACTIVE for run in (now, before))
    every = (TICK if hurry else SLOW_TICK) if busy else None
    st.fragment(run_every=every)(_tick)(now, before, list(runs), words)


def _tick(now: Run, before: Run, runs: Sequence[Run], drawn_words: Mapping[str, str]) -> None:
    if any(cache.gone(run) for run in runs):
        st.rerun()  # the whole page asks for them anew
    words = [run.state for run in runs]
    ended = {run.id for run, word in zip(runs, words, strict=True) if word not in ACTIVE}
    new = {name for name in ended if drawn_words[name] in ACTIVE}
    # repetitions are shown once all of them are there: a page that jumps at every seed helps nobody
    if new & {now.id, before.id} or (new and len(ended) == len(runs)):
        st.rerun()
    running = next((run for run, word in zip(runs, words, strict=True) if word == "running"), None)
    if now.state == "finished":
        rest = len(runs) - len(ended)
        seconds = cache.scores(now)["training_s"]
        took = "trained" if seconds is None else f"trained in {seconds:.1f} s"
        text = took + (f" · repeating on more seeds, {rest} left" if rest else "")
        st.progress(1.0 if not rest else 1 - rest / max(1, len(runs)), text)
    elif running is None:
        st.progress(0.0, _waits(now))
    else:
        st.progress(*live.progress(running, "running", None))
    pair = [before] if now.path == before.path else [before, now]
    lines = [
        curves.Curve(
            ("baseline" if run is before else "now"), config.loss, cache.history(run), 0, n, config.params
        )
        for n, (run, config) in enumerate((run, cache.config(run)) for run in pair)
    ]
    figure = curves.figure(lines, height=230)
    steady_chart(figure, "lab_curve", f"Loss over steps: {', '.join(result.named(run) for run in pair)}")
    if live.unlike(pair):
        st.caption("Other formulas or parameters have other scales: a lower curve is not a better one.")


def _waits(run: Run) -> str:
    if run.state == "failed":
        return "failed"
    workers = launch.workers(run.path.parent).values()
    if not any(worker["ready"] for worker in workers):
        if why := launch.trouble(run.path.parent):
            return plain(f"the worker cannot start: {why}")
        return "the worker is starting …"
    return "waiting …"
