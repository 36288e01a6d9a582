"""What a setting does: seven metrics against the baseline, the query's images, everything tried before."""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress

import streamlit as st

from app import cache, image_cache
from app.kit import gallery, permalink, retrieved
from app.kit.names import config_label, method
from app.kit.palette import loss_color
from app.kit.retrieved import Row
from app.kit.thumbnails import Thumbnails
from app.kit.words import percent, plain, score
from app.sensitivity.state import QUERY, ask, go_to, pin
from core.errors import MaclError
from core.experiments import lab
from core.metrics import METRICS
from core.queue import launch
from core.report import NOT_COMPUTED
from core.retrieval.search import search
from core.runs import Run, RunConfig

TOP = 6
SEEDS = 3  # trained in all, once the person pauses
STRIP = 24
# seven beside each other in half a screen: "mAP Medium@0.6" is "Medium"
SHORT = {key: title.split("@")[0].split()[-1] for key, title in METRICS.items()}


def named(run: Run) -> str:
    """The method, with the parameters that were changed."""
    return method(cache.config(run))


def metrics(now: Run, before: Run, repeated: Sequence[tuple[Run, Run]], words: Mapping[str, str]) -> None:
    """The seven metrics of the settings, with their change against the baseline."""
    left, right = st.columns([4, 1], vertical_alignment="center")
    same = now.path == before.path
    against = "" if same else f" against the baseline {plain(named(before))}"
    left.markdown(f"**{plain(named(now))}**{against}")
    with right.container(horizontal=True, horizontal_alignment="right"):
        st.button(
            "Pin", on_click=pin, args=(cache.config(now),), disabled=same or words[now.id] != "finished",
            help="Make these settings the baseline that others are compared with",
        )  # fmt: skip
        st.button(
            "Keep as a run", on_click=_keep, args=(now,), disabled=words[now.id] != "finished",
            help="Copy it to the other runs: Compare, Retrieval and Mechanism know it then",
        )  # fmt: skip
    if kept_id := st.session_state.pop("lab_kept", ""):
        st.page_link(
            "../pages/retrieval.py", label=f"Kept as {plain(kept_id)}", query_params={"runs": kept_id}
        )
    if error := st.session_state.pop("lab_lost", ""):
        st.warning(plain(error))
    all_pairs = [(now, before), *repeated]
    _failures([run for pair in all_pairs for run in pair], words)
    if words[now.id] != "finished":
        for cell, title in zip(st.columns(len(METRICS)), SHORT.values(), strict=True):
            cell.metric(title, "…", delta=" ", delta_color="off", delta_arrow="off")
            cell.caption("training …  \n\u00a0" if words[now.id] != "failed" else "failed  \n\u00a0")
        return
    pairs = [pair for pair in all_pairs if all(words[run.id] == "finished" for run in pair)]
    failed = sum(any(words[run.id] == "failed" for run in pair) for pair in all_pairs)
    waiting = f"{failed} of {SEEDS} seeds failed" if failed else "more seeds …"
    for cell, (metric, title) in zip(st.columns(len(METRICS)), SHORT.items(), strict=True):
        values, changes = _known(pairs, metric)
        complete = len(pairs) == SEEDS
        agree = complete and len(changes) == SEEDS and (min(changes) > 0 or max(changes) < 0)
        change = _change(now, before, metric) if words[before.id] == "finished" else None
        with cell:
            st.metric(
                title,
                percent(_value(now, metric), unit=""),
                delta=" " if same or change is None else f"{change:+.1f}",
                delta_color="normal" if agree else "off",
                delta_arrow="off" if same or change is None else "auto",
                help=f"{METRICS[metric]}, percent. The change is coloured once {SEEDS} seeds agree on it.",
            )
            spread = _spread(values if same else changes, same) if complete else waiting
            if any(metric not in cache.scores(run)["metrics"] for pair in pairs for run in pair):
                spread = NOT_COMPUTED
            st.caption(f"{spread}  \nchance {percent(_value(now, metric, 'chance'), unit='')}")


def _known(pairs: Sequence[tuple[Run, Run]], metric: str) -> tuple[list[float], list[float]]:
    """Values of the settings and their changes against the baseline, percent, on the seeds that have them.

    On a small test split there may be no image that can query: then a metric has no value.
    """
    values = [_value(run, metric) for run, _ in pairs]
    changes = [_change(run, base, metric) for run, base in pairs]
    return (
        [100 * value for value in values if value is not None],
        [change for change in changes if change is not None],
    )


def _change(run: Run, base: Run, metric: str) -> float | None:
    value, before = _value(run, metric), _value(base, metric)
    return None if value is None or before is None else 100 * (value - before)


def _spread(numbers: Sequence[float], absolute: bool) -> str:
    """Mean and standard deviation of the seeds that have a value, and how many of the seeds these are."""
    if not numbers:
        return "no image can query"
    seeds = f"{len(numbers)} seeds" if len(numbers) > 1 else "1 seed"
    of = "" if len(numbers) == SEEDS else f" of {SEEDS}"
    mean = f"{statistics.fmean(numbers):{'.1f' if absolute else '+.1f'}}"
    return f"{seeds}{of} {mean}" + (f" ± {statistics.stdev(numbers):.1f}" if len(numbers) > 1 else "")


def _value(run: Run, metric: str, part: str = "metrics") -> float | None:
    value: float | None = cache.scores(run)[part].get(metric)
    return value


def _failures(runs: Sequence[Run], words: Mapping[str, str]) -> None:
    """Why trainings have failed, and a button to try them all again."""
    failed = list({run.id: run for run in runs if words[run.id] == "failed"}.values())
    if failed:
        st.error(
            "  \n".join(plain(f"{named(run)}, seed {cache.config(run).seed}: {run.error}") for run in failed)
        )
        st.button("Try again", on_click=_again, args=(failed,))


def _again(failed: Sequence[Run]) -> None:
    for run in failed:
        with suppress(OSError):  # deleted meanwhile: the lab asks for it anew
            launch.resume(run)


def _keep(run: Run) -> None:
    try:
        st.session_state["lab_kept"] = lab.keep(run, launch.run_root()).id
    except (MaclError, OSError) as error:
        st.session_state["lab_lost"] = f"{named(run)} was not kept: {error}. It is trained again here."


def rows(
    now: Run,
    before: Run,
    words: Mapping[str, str],
    images: Thumbnails,
    place: st.delta_generator.DeltaGenerator,
) -> None:
    """The query's nearest images under the baseline and under the settings."""
    reference = next((run for run in (now, before) if words[run.id] == "finished"), None)
    runs = [before] if now.path == before.path else [before, now]
    if reference is None:
        answers = [_waiting(run, words[run.id]) for run in runs]
        gallery.show(gallery.query("", []), answers, images.uri, TOP, ask, key="lab_gallery")
        return
    names, (_, y) = cache.test_names(reference), cache.embeddings(reference)
    classes = gallery.class_names(reference, images)
    linked = permalink.news(QUERY, QUERY)
    wanted = linked[-1] if linked else st.session_state.get(QUERY, "")
    if linked and wanted not in names:
        permalink.note(f"{plain(wanted)} is not among the test images of this seed; another query is shown.")
    st.session_state[QUERY] = wanted if wanted in names else names[int(y.sum(1).argmax())]
    with place:
        st.selectbox("Query", names, key=QUERY, filter_mode="contains", persist_state="session")
    query: str = st.session_state[QUERY]
    permalink.say(QUERY, QUERY, [query])
    answers = [
        _row(run, before, query, classes) if words[run.id] == "finished" else _waiting(run, words[run.id])
        for run in runs
    ]
    query_image = gallery.query(query, gallery.label_names(y[names.index(query)], classes))
    gallery.show(query_image, answers, images.uri, TOP, ask, key="lab_gallery")


def _row(run: Run, before: Run, query: str, classes: Sequence[str]) -> Row:
    """What a run retrieves; both runs have one seed, so that they search the same test split."""
    text = ("baseline · " if run.path == before.path else "") + named(run)
    color, test = _color(run), cache.gallery(run)
    if test is None or query not in test.rows:  # its folder was put together by hand
        return Row(text, color, note="The query is not in its test split.")
    return retrieved.row(text, color, search(test.z, test.y, test.rows[query], TOP), test, classes)


def _waiting(run: Run, word: str) -> Row:
    return Row(named(run), _color(run), note="It failed: see above." if word == "failed" else "training …")


def _color(run: Run) -> str:
    config = cache.config(run)
    return loss_color(config.loss, config.params)


def strip(config: RunConfig) -> None:
    """Every setting that was tried on these images, to go back to."""
    past: list[tuple[Run, RunConfig]] = []
    files = image_cache.files(config.images)
    for run in lab.trail(launch.run_root()):
        try:
            other = cache.config(run)
        except MaclError:
            continue
        same_images = (other.dataset, other.place, other.seed) == (config.dataset, config.place, config.seed)
        if same_images and lab.of(other, launch.run_root(), files) == run:  # else its images have changed
            past.append((run, other))
    if not past:
        return
    metric = "map_medium"
    st.caption(f"Tried before, latest first, with {METRICS[metric]}; a click goes back.")
    with st.container(horizontal=True, gap="small"):
        for run, other in past[:STRIP]:
            tried = f"{plain(method(other))} · {score(cache.scores(run)['metrics'], metric)}"
            st.button(
                tried, key=f"lab_past_{run.id}", on_click=go_to, args=(other,),
                type="primary" if other == config else "secondary", help=plain(config_label(other)),
            )  # fmt: skip
