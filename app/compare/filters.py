"""Filters of the results: data set, preset, loss, seed, any parameter that differs; kept in the address."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import streamlit as st

from app.kit import names, permalink
from app.kit.words import plain
from core.data import Reading
from core.losses import spec_of
from core.losses.own import place
from core.report import Result
from core.runs import PRESETS, RunConfig

RUNS = "compare_runs"  # the runs of a link
FILTERS = ("datasets", "presets", "losses", "only_seeds", "where")
# fields that have a filter of their own, or change nothing of the outcome
_ELSEWHERE = {"dataset", "loss", "own", "params", "preset", "seed", "skip_broken", "reading", "embed_every"}
_FIELDS = [field for field in RunConfig.model_fields if field not in _ELSEWHERE]


def choose(results: Sequence[Result]) -> list[Result]:
    """The results that the link names and the filters leave."""
    results = _linked(results)
    sets = sorted({names.dataset_title(result.config.dataset) for result in results})
    presets = [key for key in PRESETS if any(result.config.preset == key for result in results)]
    keys = sorted({result.config.loss for result in results}, key=place)
    losses = [spec_of(key).title for key in keys]
    seeds = [str(seed) for seed in sorted({result.config.seed for result in results})]
    facts = {result.id: set(facets(result)) for result in results}
    options = differing(results)
    permalink.renamed("seeds", "only_seeds", seeds, list)
    permalink.note_unknown(datasets=sets, presets=presets, losses=losses, only_seeds=seeds, where=options)
    left, middle, right, more = st.columns([3, 2, 4, 2], vertical_alignment="bottom")
    in_sets = _among(left, "Data sets", sets, "datasets")
    in_presets = _among(middle, "Presets", presets, "presets")
    in_losses = _among(right, "Losses", losses, "losses")
    with more.popover("More filters", width="stretch"):
        in_seeds = _among(st, "Seeds", seeds, "only_seeds")
        parameters = _among(
            st,
            "Parameters",
            options,
            "where",
            "What differs among these runs. A run needs one of the values chosen for each parameter; a "
            "parameter of a loss leaves the other losses alone.",
        )
    if hidden := [*(f"seed {seed}" for seed in in_seeds), *parameters]:
        st.caption(plain(f"Only {', '.join(hidden)}."))
    wanted = defaultdict(set)
    for option in parameters:
        wanted[option.partition("=")[0]].add(option)
    return [
        result
        for result in results
        if (not in_sets or names.dataset_title(result.config.dataset) in in_sets)
        and (not in_presets or result.config.preset in in_presets)
        and (not in_losses or spec_of(result.config.loss).title in in_losses)
        and (not in_seeds or str(result.config.seed) in in_seeds)
        and all(_fits(facts[result.id], name, values) for name, values in wanted.items())
    ]


def _linked(results: Sequence[Result]) -> Sequence[Result]:
    """The results that a link names, until the person wants all; all of them without a link."""
    link = permalink.news("runs", RUNS)
    for key in FILTERS if link else ():  # filters set before must not hide what the link shows
        if key not in st.query_params:
            st.session_state[key] = []
    wanted = link or st.session_state.get(RUNS, [])
    ids = {result.id for result in results}
    permalink.note_gone([name for name in wanted if name not in ids])
    linked = st.session_state[RUNS] = [name for name in wanted if name in ids]
    permalink.say("runs", RUNS, linked)
    if not linked:
        return results
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{len(linked)} of {len(results)} runs, those of the link.", width="content")
        st.button("Show all runs", type="tertiary", on_click=lambda: st.session_state.pop(RUNS))
    return [result for result in results if result.id in linked]


def facets(result: Result) -> Iterator[str]:
    """`name=value` of everything about a result that may tell it from others."""
    config, title = result.config, spec_of(result.config.loss).title
    for field in _FIELDS:
        if field != "data_root" or config.dataset == "folder":  # else it only says where the same images are
            value = config.place or None if field == "data_root" else getattr(config, field)
            yield f"{field}={_short(value)}"
    for field in Reading.model_fields:
        yield f"{field}={_short(getattr(config.reading, field)) or 'none'}"
    for name, value in config.params.items():
        yield f"{title} {name}={_short(value)}"
    yield f"study={result.study or 'none'}"
    yield f"origin={'recorded' if result.recorded else 'own'}"


def differing(results: Sequence[Result]) -> list[str]:
    """The facets of which there is more than one value, in the order of the configuration."""
    by_name: dict[str, dict[str, None]] = defaultdict(dict)
    for result in results:
        for facet in facets(result):
            by_name[facet.partition("=")[0]][facet] = None
    return [facet for values in by_name.values() if len(values) > 1 for facet in sorted(values, key=_natural)]


def _fits(facts: set[str], name: str, values: set[str]) -> bool:
    """Whether a result has one of the values, or has no such parameter at all."""
    return bool(facts & values) or not any(fact.partition("=")[0] == name for fact in facts)


def _among(container: object, label: str, options: list[str], key: str, help: str | None = None) -> list[str]:
    chosen: list[str] = container.multiselect(  # type: ignore[attr-defined]
        label, options, key=key, bind="query-params", placeholder="all", help=help
    )
    return chosen


def _natural(facet: str) -> tuple[float, str]:
    """Numbers by their size, words by their letters."""
    value = facet.partition("=")[2]
    try:
        return float(value), facet
    except ValueError:
        return float("inf"), facet


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
