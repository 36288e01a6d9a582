"""The live lab: sliders that train. A worker trains the head at every move, the page shows what changed."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence

import streamlit as st

from app import cache, data_view, gallery, live
from app.figures import curves
from app.mechanism import settings
from app.names import config_label, dataset_title, method
from app.palette import loss_color
from app.pictures import pictures
from app.sensitivity import maps
from app.steady import steady_chart
from app.thumbnails import Thumbnails
from core import lab, launch
from core.data import DATASETS, default_root
from core.errors import MaclError
from core.losses import LOSSES, Value, check_params
from core.metrics import METRICS
from core.retrieve import search
from core.runs import INSTANT, Run, RunConfig
from core.sweep import key

SIZE = int(INSTANT["image_size"])
TOP = 6
TICK, SLOW_TICK = 0.25, 0.75  # seconds between looks while the head or its repetitions are trained
SEEDS = 3  # trained in all, once the person pauses
BASE, QUERY, ASKED = "lab_base", "lab_query", "lab_asked"
ACTIVE = ("queued", "running")
SHORT = {  # seven beside each other in half a screen
    "map_sim": "mAP(sim)", "ndcg_sim": "nDCG(sim)", "map_easy": "Easy", "map_medium": "Medium",
    "map_hard": "Hard", "ndcg": "nDCG", "wap": "wAP",
}  # fmt: skip
STRIP = 24
USUAL: tuple[str, dict[str, Value]] = ("macl", {})


def show() -> None:
    """Settings on the left, what they do on the right."""
    root = launch.run_root()
    lab.warm(root)
    places = sources()
    side, results = st.columns([3, 10], gap="medium")
    with side:
        name = _dataset(list(places))
        key, params = settings.stack()
        with st.popover("Seed and query", width="stretch"):
            seed = int(st.number_input("Seed", 0, 10**6, 0, key="lab_seed", bind="query-params"))
            query_place = st.container()
    try:
        config = configured(name, places[name], key, params, seed)
        base = configured(name, places[name], *baseline(), seed)
    except MaclError as error:
        results.error(str(error))
        return
    with results:
        images = pictures(config)
    if images is None:
        return
    now, before = lab.want(config, root), lab.want(base, root)
    asked = {now.id: now, before.id: before}
    repeated = []
    words = _words(asked.values())
    if all(word == "finished" for word in words.values()):
        lab.tried(now)
        repeated = [repeat(config, base, seed + n) for n in range(1, SEEDS)]
        asked |= {run.id: run for pair in repeated for run in pair}
        words = _words(asked.values())
    cancel_others(asked)
    with results:
        _metrics(now, before, repeated, words)
        _rows(now, before, words, images, query_place)
        maps.show(now, before, config, images)
        _strip(config)
    with side:
        _watch(now, before, list(asked.values()), words)


def sources() -> dict[str, str | None]:
    """Data sets by key, with their place: those of runs, then what is prepared, then what is there."""
    found: dict[str, str | None] = {}
    for run in cache.finished_runs():
        config = cache.config(run)
        if config.dataset not in found and not run.recorded and _there(config.dataset, config.data_root):
            found[config.dataset] = config.data_root
    for name in DATASETS:
        if name != "folder" and name not in found and _there(name, data_view.place(name)):
            found[name] = data_view.place(name)
    for name in DATASETS:  # the page prepares these
        if name not in ("demo", "folder", *found) and (data_view.place(name) or default_root(name).exists()):
            found[name] = data_view.place(name)
    return {**found, "demo": None} if "demo" not in found else found


def _there(name: str, place: str | None) -> bool:
    try:
        return cache.is_prepared(name, place, SIZE)
    except MaclError:
        return False


def _dataset(names: list[str]) -> str:
    titles = {dataset_title(name): name for name in names}
    title = st.selectbox("Data set", titles, key="lab_dataset", bind="query-params")
    return titles[title]


def configured(name: str, place: str | None, key: str, params: Mapping[str, Value], seed: int) -> RunConfig:
    """What the lab trains: the instant preset."""
    return RunConfig.build("instant", dataset=name, data_root=place, loss=key, params=dict(params), seed=seed)


def baseline() -> tuple[str, dict[str, Value]]:
    """Loss and parameters of the pinned baseline, else of the permalink, else MACL as printed."""
    if BASE not in st.session_state:
        st.session_state[BASE] = _unpacked(st.query_params.get(BASE, ""))
    key, params = st.session_state[BASE]
    if (key, params) != USUAL and BASE not in st.query_params:
        st.query_params[BASE] = _packed(key, params)
    return key, dict(params)


def pin(config: RunConfig) -> None:
    """Make these settings the baseline."""
    defaults = {p.name: p.default for p in LOSSES[config.loss].parameters}
    changed = {name: value for name, value in config.params.items() if value != defaults[name]}
    st.session_state[BASE] = (config.loss, changed)
    if (config.loss, changed) == USUAL:
        st.query_params.pop(BASE, None)
    else:
        st.query_params[BASE] = _packed(config.loss, changed)


def _packed(key: str, params: Mapping[str, Value]) -> str:
    return json.dumps([key, params], separators=(",", ":"))


def _unpacked(text: str) -> tuple[str, dict[str, Value]]:
    """What an address says; the usual baseline if it is nothing sensible."""
    try:
        key, params = json.loads(text)
        check_params(key, params)
    except (ValueError, TypeError, AttributeError):
        return USUAL
    return key, params


def go_to(config: RunConfig) -> None:
    """Move the sliders to these settings."""
    settings.put(config.loss, config.params)
    st.session_state["lab_seed"] = config.seed


def ask(name: str) -> None:
    """Make this image the query."""
    st.session_state[QUERY] = name


def repeat(config: RunConfig, base: RunConfig, seed: int) -> tuple[Run, Run]:
    """The same two settings on another seed: another split, initialisation and order for both."""
    root = launch.run_root()
    change = {"seed": seed}
    return lab.want(config.model_copy(update=change), root), lab.want(base.model_copy(update=change), root)


def cancel_others(asked: Mapping[str, Run]) -> None:
    """End what this session has asked for before and nobody waits for any more."""
    root = launch.run_root()
    for name in st.session_state.get(ASKED, []):
        run = Run(lab.folder(root) / name)
        if name not in asked and run.state in ACTIVE:
            lab.cancel(run)
    st.session_state[ASKED] = list(asked)


def _words(asked: Iterable[Run]) -> dict[str, str]:
    """States by run, looked at once, so that all parts of the page agree.

    As the folders say: the cache would remember a run that has made room for others.
    """
    return {run.id: run.state for run in asked}


def _title(run: Run) -> str:
    return method(cache.config(run))


def _metrics(now: Run, before: Run, repeated: Sequence[tuple[Run, Run]], words: Mapping[str, str]) -> None:
    """The seven metrics of the settings, with their change against the baseline."""
    left, right = st.columns([4, 1], vertical_alignment="center")
    same = now.path == before.path
    against = "" if same else f" against the baseline {_title(before)}"
    left.markdown(f"**{_title(now)}**{against}")
    with right.container(horizontal=True, horizontal_alignment="right"):
        st.button(
            "Pin", on_click=pin, args=(cache.config(now),), disabled=same,
            help="Make these settings the baseline that others are compared with",
        )  # fmt: skip
        st.button(
            "Keep as a run", on_click=_keep, args=(now,), disabled=words[now.id] != "finished",
            help="Copy it to the other runs: Compare, Retrieval and Mechanism know it then",
        )  # fmt: skip
    if kept := st.session_state.pop("lab_kept", ""):
        st.page_link("../pages/retrieval.py", label=f"Kept as {kept}", query_params={"runs": kept})
    if words[now.id] == "failed":
        st.error(now.error)
        st.button("Try again", on_click=_again, args=(now,))
    if words[now.id] != "finished":
        for cell, title in zip(st.columns(len(METRICS)), SHORT.values(), strict=True):
            cell.metric(title, "…", delta=" ", delta_color="off", delta_arrow="off")
            cell.caption("training …  \n\u00a0" if words[now.id] != "failed" else "failed  \n\u00a0")
        return
    pairs = [pair for pair in [(now, before), *repeated] if all(words[run.id] == "finished" for run in pair)]
    for cell, (metric, title) in zip(st.columns(len(METRICS)), SHORT.items(), strict=True):
        values = [_value(run, metric) for run, _ in pairs]
        changes = [value - _value(run, metric) for value, (_, run) in zip(values, pairs, strict=True)]
        complete = len(pairs) == SEEDS
        agree = complete and (min(changes) > 0 or max(changes) < 0)
        with cell:
            st.metric(
                title,
                f"{_value(now, metric):.1f}",
                delta=" " if same or not changes else f"{changes[0]:+.1f}",
                delta_color="normal" if agree else "off",
                delta_arrow="off" if same or not changes else "auto",
                help=f"{METRICS[metric]}, percent. The change is coloured once {SEEDS} seeds agree on it.",
            )
            spread = (
                f"{SEEDS} seeds {_spread(values if same else changes, same)}" if complete else "more seeds …"
            )
            st.caption(f"{spread}  \nchance {_value(now, metric, 'chance'):.1f}")


def _spread(numbers: Sequence[float], absolute: bool) -> str:
    mean = statistics.fmean(numbers)
    return f"{mean:.1f}" * absolute + f"{mean:+.1f}" * (not absolute) + f" ± {statistics.stdev(numbers):.1f}"


def _value(run: Run, metric: str, part: str = "metrics") -> float:
    value = cache.scores(run)[part][metric]
    return float("nan") if value is None else 100 * float(value)


def _again(run: Run) -> None:
    launch.resume(run)


def _keep(run: Run) -> None:
    st.session_state["lab_kept"] = lab.keep(run, launch.run_root()).id


def _rows(
    now: Run,
    before: Run,
    words: Mapping[str, str],
    images: Thumbnails,
    place: st.delta_generator.DeltaGenerator,
) -> None:
    """The query's nearest images under the baseline and under the settings."""
    reference = next((run for run in (now, before) if words[run.id] == "finished"), None)
    shown = [before] if now.path == before.path else [before, now]
    if reference is None:
        rows = [_waiting(run, words[run.id]) for run in shown]
        gallery.show(gallery.query("", []), rows, images.uri, TOP, ask, key="lab_gallery")
        return
    names, (_, y) = cache.test_names(reference), cache.embeddings(reference)
    classes = gallery.class_names(reference, images)
    if st.session_state.get(QUERY) not in names:
        wanted = st.query_params.get("lab_query")
        st.session_state[QUERY] = wanted if wanted in names else names[int(y.sum(1).argmax())]
    with place:
        st.selectbox("Query", names, key=QUERY, filter_mode="contains")
    query: str = st.session_state[QUERY]
    if st.query_params.get("lab_query") != query:
        st.query_params["lab_query"] = query
    rows = [
        _row(run, before, query, names, classes)
        if words[run.id] == "finished"
        else _waiting(run, words[run.id])
        for run in shown
    ]
    asked = gallery.query(query, gallery.held(y[names.index(query)], classes))
    gallery.show(asked, rows, images.uri, TOP, ask, key="lab_gallery")


def _row(
    run: Run, before: Run, query: str, names: Sequence[str], classes: Sequence[str]
) -> dict[str, object]:
    """What a run retrieves; both runs have one seed, so that they search the same test split."""
    z, y = cache.embeddings(run)
    found = search(z, y, cache.test_rows(run)[query], TOP)
    title = ("baseline · " if run.path == before.path else "") + _title(run)
    return gallery.row(title, loss_color(cache.config(run).loss), found, names, classes)


def _waiting(run: Run, word: str) -> dict[str, object]:
    what = "It failed: see above." if word == "failed" else "training …"
    return gallery.note(_title(run), loss_color(cache.config(run).loss), what)


def _watch(now: Run, before: Run, asked: Sequence[Run], words: Mapping[str, str]) -> None:
    """Progress and loss curves; the page is drawn anew when a training has ended."""
    busy = any(word in ACTIVE for word in words.values())
    hurry = any(words[run.id] in ACTIVE for run in (now, before))
    every = (TICK if hurry else SLOW_TICK) if busy else None
    st.fragment(run_every=every)(_tick)(now, before, list(asked), words)


def _tick(now: Run, before: Run, asked: Sequence[Run], seen: Mapping[str, str]) -> None:
    words = [run.state for run in asked]
    ended = {run.id for run, word in zip(asked, words, strict=True) if word not in ACTIVE}
    new = {name for name in ended if seen[name] in ACTIVE}
    # repetitions are shown when all of them are there: a page that jumps at every seed is no help
    if new & {now.id, before.id} or (new and len(ended) == len(asked)):
        st.rerun()
    running = next((run for run, word in zip(asked, words, strict=True) if word == "running"), None)
    if now.state == "finished":
        rest = len(asked) - len(ended)
        seconds = cache.scores(now)["training_s"]
        text = f"trained in {seconds:.1f} s" + (f" · repeating on more seeds, {rest} left" if rest else "")
        st.progress(1.0 if not rest else 1 - rest / max(1, len(asked)), text)
    elif running is None:
        st.progress(0.0, _waits(now))
    else:
        st.progress(*live.progress(running, "running", None))
    shown = [before] if now.path == before.path else [before, now]
    lines = [
        curves.Curve(
            ("baseline" if run is before else "now"), cache.config(run).loss, cache.history(run), 0, n
        )
        for n, run in enumerate(shown)
    ]
    drawn = curves.figure(lines, height=230)
    steady_chart(drawn, "lab_curve", f"Loss over steps: {', '.join(_title(run) for run in shown)}")


def _waits(run: Run) -> str:
    if run.state == "failed":
        return "failed"
    found = launch.workers(run.path.parent).values()
    if not any(about["ready"] for about in found):
        return "the worker is starting …"
    return "waiting …"


def _strip(config: RunConfig) -> None:
    """Every setting that was tried on these images, to go back to."""
    past: list[tuple[Run, RunConfig]] = []
    for run in lab.trail(launch.run_root()):
        try:
            other = cache.config(run)
        except MaclError:
            continue
        here = (other.dataset, other.data_root, other.seed) == (config.dataset, config.data_root, config.seed)
        if here and key(other) not in {key(seen) for _, seen in past}:
            past.append((run, other))
    if not past:
        return
    metric = "map_medium"
    st.caption(f"Tried before, latest first, with {METRICS[metric]}; a click goes back.")
    with st.container(horizontal=True, gap="small"):
        for run, other in past[:STRIP]:
            st.button(
                f"{method(other)} · {_value(run, metric):.1f}", key=f"lab_past_{run.id}", on_click=go_to,
                args=(other,), type="primary" if other == config else "secondary", help=config_label(other),
            )  # fmt: skip
