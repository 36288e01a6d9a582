"""The embeddings page below its widgets: pictures, what a lasso finds, numbers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import streamlit as st

from app import cache
from app.embeddings import colors, layouts, points, scatter, selection
from app.embeddings.colors import Coloring
from app.embeddings.numbers import numbers
from app.embeddings.settings import Settings
from app.figures import embeddings as figures
from app.kit import gallery, names, waiting
from app.kit.palette import loss_color, swatch
from app.kit.steady import steady_chart
from app.kit.thumbnails import Thumbnails
from app.kit.words import plain
from core import projection
from core.errors import MaclError
from core.metrics import METRICS, per_query, space
from core.report import Cell, single
from core.retrieval import ask
from core.retrieval.search import Gallery
from core.runs import Run, origin

METRIC = "map_medium"  # what the colour "average precision" means
MOST_QUERIES, MOST_PAIRS = 2000, 20_000_000  # of queries, and with images, scored in the page: a second
_HOVER = "embeddings_hover"
Images = Callable[[], Thumbnails | None]  # opened after the pictures are drawn: that can take a second


def galleries(chosen: Sequence[Run], everything: bool) -> tuple[list[Run], list[Gallery]]:
    """Runs whose images can be shown, and these; the page says why others cannot, or are being computed."""
    shown, images, why = [], [], []
    waits: list[ask.Question] = []
    failed: list[ask.Question] = []
    for run, title in zip(chosen, names.short_labels(list(chosen)), strict=True):
        try:
            gallery = cache.gallery(run)
            run.classes()
            cache.scores(run)
        except (MaclError, OSError) as error:
            why.append(plain(f"{title}: {error}"))
            continue
        try:
            gallery = (_everything(run, waits, failed) if everything else None) or gallery
        except (MaclError, OSError) as error:
            why.append(plain(f"{title}: only its test split. {error}"))
        if gallery is not None:
            shown.append(run)
            images.append(gallery)
    if why:
        st.warning("\n\n".join(why))
    waiting.retry(failed)
    waiting.progress(waits)
    return shown, images


def _everything(run: Run, waits: list[ask.Question], failed: list[ask.Question]) -> Gallery | None:
    """The images of all splits; None while they are waited for, MaclError where they cannot be had."""
    if not ask.can_answer(run):
        raise MaclError("It came without weights.")
    gallery = cache.gallery(run, everything=True)
    if gallery is None:
        reply = ask.ask(cache.others(run))
        if reply.state == "failed":
            failed.append(cache.others(run))
            raise MaclError(reply.error)
        waits.append(cache.others(run))
    return gallery


def comparable(chosen: Sequence[Run], found: Sequence[Gallery]) -> tuple[list[Run], list[Gallery]]:
    """Runs whose images and labels are the first one's; the page names those that are left out."""
    kept = [(run, one) for run, one in zip(chosen, found, strict=True) if same_images(run, chosen[0])]
    others = [run for run in chosen if run not in [run for run, _ in kept]]
    if others:
        st.warning(
            "Left out, as they were trained on other images or labels than the first run: "
            + plain(", ".join(names.run_label(run) for run in others))
        )
    return [run for run, _ in kept], [one for _, one in kept]


def same_images(run: Run, first: Run) -> bool:
    """Whether the name of an image, and a column of labels, mean the same in two runs."""
    same = origin.compare(cache.data(run), cache.data(first))
    return same.images and same.labels


def show(
    chosen: Sequence[Run],
    galleries: Sequence[Gallery],
    settings: Settings,
    classes: Sequence[str],
    images: Images,
    prepare: Callable[[], None],
) -> None:
    """Everything below the widgets; the pictures first, then what takes longer, then the process for UMAP.

    `images` says nothing on the page; `prepare` has them prepared and says how that goes, outside of the
    fragment, whose reruns would end it.
    """
    numbered = points.number(galleries, settings.only)
    if not numbered.names:
        st.info("No image holds all of these labels: take one away.")
        return
    dims = settings.umap.dims
    spaces = layouts.moments(chosen, galleries, settings.umap, settings.training)
    pictures = layouts.pictures(spaces, galleries, settings.method, dims)
    notices = st.container()
    coloring = _coloring(chosen, galleries, numbered, settings, classes)
    if settings.mode == "ap":
        with notices:
            _sampled(chosen)
    titles = names.short_labels(list(chosen))
    configs = [cache.config(run) for run in chosen]
    shades = [loss_color(config.loss, config.params) for config in configs]
    heads = [
        scatter.panel(title, shade, _note(settings, picture, run))
        for run, title, shade, picture in zip(chosen, titles, shades, pictures, strict=True)
    ]
    first = cache.config(chosen[0])
    selection.keep_apart((first.dataset, first.place))
    selection.numbered(numbered)
    data = scatter.drawing(numbered, heads, pictures, coloring)
    _explore(
        data,
        numbered,
        coloring,
        classes,
        images,
        chosen,
        _notes(chosen, galleries, numbered, settings),
        lambda: [_trusted(one, picture) for one, picture in zip(galleries, pictures, strict=True)],
    )
    prepare()  # open, or on the way, before a picture is wanted
    trusts = [layouts.trust(one, picture) for one, picture in zip(galleries, pictures, strict=True)]
    rows = [
        (title, swatch(config.loss, config.params), trust, _measured(run, one), _score(run))
        for run, one, title, config, trust in zip(chosen, galleries, titles, configs, trusts, strict=True)
    ]
    st.html(numbers(rows, dims))
    if settings.training:
        _by_epoch(chosen, titles)
    if settings.method == "umap" and any(picture.method == "pca" for picture in pictures):
        with notices:
            _wait([moment.step for of_run in spaces for moment in of_run])


@st.fragment
def _explore(
    data: dict[str, Any],
    numbered: points.Points,
    coloring: Coloring,
    classes: Sequence[str],
    images: Images,
    runs: Sequence[Run],
    notes: Sequence[np.ndarray],
    trusts: Callable[[], list[str]],
) -> None:
    """Pictures and selection; hovering and lassos run this part alone."""
    if any(cache.gone(run) for run in runs):
        st.rerun()  # the whole page, which names them
    state = st.session_state
    scatter.show(data, selection.take, _hovered)
    chosen = numbered.where(state.get(selection.NAMES, ()))
    pointed_at = state.get(_HOVER, [])
    hovered = [_picture(row, name, numbered, classes, images, notes) for row, name in pointed_at]
    scatter.tell(
        numbered.version,
        int(state.get(selection.SEQ, 0)),
        points.to_bits(chosen),
        hovered,
        bool(pointed_at) and images() is not None,
        data["mark"],
        trusts(),
    )
    amount = int(chosen.sum())
    if not amount:
        st.caption(
            "Draw around points to see their images, here and in every other picture. Point at one to see it "
            "alone; click a colour of the legend to take all of it."
        )
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{amount:,} of {len(numbered.names):,} images**", width="content")
        st.download_button(
            "Names as CSV", lambda: selection.to_csv(numbered, chosen, classes),
            "macl-lab-selection.csv", "text/csv", on_click="ignore",
        )  # fmt: skip
    selection.show(numbered, chosen, coloring, classes, images(), runs)


def _hovered(message: dict[str, Any]) -> None:
    st.session_state[_HOVER] = selection.names_of(message)


def _picture(
    row: int,
    name: str,
    numbered: points.Points,
    classes: Sequence[str],
    images: Images,
    notes: Sequence[np.ndarray],
) -> dict[str, Any]:
    if row >= len(numbered.names) or numbered.names[row] != name:  # asked before other runs were chosen
        return {"row": -1, "name": "", "labels": [], "uri": "", "notes": []}
    thumbnails = images()
    return {
        "row": row,
        "name": name,
        "labels": gallery.label_names(numbered.y[row], classes),
        "uri": thumbnails.uri(name) if thumbnails else "",
        "notes": ["" if math.isnan(part[row]) else f"AP Medium {100 * part[row]:.0f} %" for part in notes],
    }


def _wait(steps: Sequence[projection.Step]) -> None:
    """Ask for layouts and draw the page anew whenever one has come; PCA is there meanwhile."""
    try:
        name = projection.request(steps)
    except MaclError as error:
        st.warning(f"PCA only: {plain(error)}")
        return
    if not name:
        st.rerun()  # the last one has come since the pictures were drawn
    there = sum(projection.there(step) for step in steps)
    _progress(name, there, steps)


@st.fragment(run_every=0.5)
def _progress(name: str, there: int, steps: Sequence[projection.Step]) -> None:
    about = projection.progress(name)
    if about.state == "failed":
        st.warning(f"PCA only: UMAP could not be computed: {plain(about.error)}")
        st.button("Try UMAP again", on_click=projection.retry, args=(name,))
        return
    if about.state != "running" or sum(projection.there(step) for step in steps) > there:
        st.rerun()
    share = about.done / about.total if about.total else 0.0
    done = (there + min(share, 1.0)) / len(steps)
    st.progress(min(done, 1.0), f"PCA for now. In the background: {plain(about.what)} …")


def _coloring(
    chosen: Sequence[Run],
    galleries: Sequence[Gallery],
    numbered: points.Points,
    settings: Settings,
    classes: Sequence[str],
) -> Coloring:
    if settings.mode == "one":
        return colors.by_one(numbered, classes, settings.label)
    if settings.mode == "count":
        return colors.by_count(numbered)
    if settings.mode == "rarity":
        return colors.by_rarity(numbered)
    if settings.mode == "split":
        return colors.by_split(
            [[one.splits[row] for row in own] for one, own in zip(galleries, numbered.own, strict=True)]
        )
    if settings.mode == "ap":
        each = [
            _quality(run, one)[own] for run, one, own in zip(chosen, galleries, numbered.own, strict=True)
        ]
        return colors.by_quality(each, METRICS[METRIC].replace("mAP", "AP"))
    return colors.by_label(numbered, classes)


def _quality(run: Run, one: Gallery) -> np.ndarray:
    """AP of each image of a gallery as query in the test split; nan where it is not scored."""
    quality = np.full(len(one.names), np.nan)
    tested = np.array([row for row, split in enumerate(one.splits) if split == "test"])
    queries = _queries(len(tested))
    if len(queries) == len(tested):
        quality[tested] = cache.query_scores(run)[METRIC]
    else:
        quality[tested[queries]] = cache.remembered(
            f"AP {run.path} {len(queries)}",
            lambda: per_query(*cache.embeddings(run), queries=queries)[METRIC],
        )
    return quality


def _queries(images: int) -> np.ndarray:
    """Rows of the test images that are scored: all of them, or a sample, the same one for every run."""
    most = min(images, MOST_QUERIES, MOST_PAIRS // max(1, images))
    return np.sort(np.random.default_rng(0).choice(images, most, replace=False))


def _sampled(chosen: Sequence[Run]) -> None:
    """Say where the colour is that of a sample alone."""
    sizes = sorted({len(cache.embeddings(run)[0]) for run in chosen})
    parts = [f"{len(_queries(n)):,} of {n:,}" for n in sizes if len(_queries(n)) < n]
    if parts:
        st.caption(
            f"Average precision of a random sample, {' and '.join(parts)} test images, each against all "
            "others of its run; the rest is grey."
        )


def _notes(
    chosen: Sequence[Run], galleries: Sequence[Gallery], numbered: points.Points, settings: Settings
) -> list[np.ndarray]:
    """What hover says of each point in each picture (n,), where the colour does: the AP of its run."""
    notes = []
    for run, one, own, rows in zip(chosen, galleries, numbered.own, numbered.rows, strict=True):
        note = np.full(len(numbered.names), np.nan)
        if settings.mode == "ap":
            note[rows] = _quality(run, one)[own]
        notes.append(note)
    return notes


def _note(settings: Settings, picture: layouts.Picture, run: Run) -> str:
    """What stands beside a picture's title; its trustworthiness comes later."""
    method = {"umap": "UMAP", "pca": "PCA"}[picture.method]
    if settings.method == "umap" and picture.method == "pca":
        method = "PCA until UMAP is there"
    if not settings.training:
        return method
    frames, usable = cache.frames(run), layouts.saved(run)
    lost = [str(epoch) for epoch in frames if epoch not in usable]
    if lost:
        return f"{method} · without epoch {', '.join(lost)}: damaged"
    return method if frames else f"{method} · saved no epochs"


def _trusted(one: Gallery, picture: layouts.Picture) -> str:
    """Trustworthiness of the final picture in words: a slider may show another one."""
    trust = layouts.trust(one, picture)
    if math.isnan(trust):
        return ""
    when = f" after epoch {picture.epochs[picture.final]}" if len(picture.epochs) > 1 else ""
    return f"trustworthiness {trust:.2f}{when}"


def _measured(run: Run, one: Gallery) -> space.Numbers:
    return cache.remembered(f"space {run.path} {len(one.names)}", lambda: space.measure(one.z, one.y))


def _score(run: Run) -> Cell:
    return single(cache.scores(run)["metrics"], METRIC)


def _by_epoch(chosen: Sequence[Run], titles: Sequence[str]) -> None:
    """How the numbers of the space went through training."""
    lines = []
    for run, title in zip(chosen, titles, strict=True):
        epochs = layouts.saved(run)
        if epochs:
            of = [_after(run, epoch) for epoch in epochs]
            lines.append(figures.Line(title, cache.config(run).loss, epochs, of, cache.config(run).params))
    if lines:
        steady_chart(
            figures.by_epoch(lines),
            "embeddings_numbers",
            "Alignment, uniformity, effective rank and hubness by epoch",
        )


def _after(run: Run, epoch: int) -> space.Numbers:
    key = f"space {run.path} after {epoch}"
    return cache.remembered(key, lambda: space.measure(cache.frame(run, epoch), cache.embeddings(run)[1]))
