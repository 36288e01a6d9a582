"""Which data sets there are, the chosen one's place and state, and preparing it."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from html import escape

import streamlit as st

from app import image_cache
from app.kit import how_read, shared, tables
from app.kit.words import plain
from core.data import DATASETS, Dataset, ImageSet, Report, default_root, examination, job
from core.data.prepared import LISTED
from core.data.report import together
from core.errors import MaclError
from core.experiments import duration

_HOW = {"folder": "choose it above and type its path"}
EVERY = 0.5  # seconds between two looks at a process
FEW = 10  # images of a label: a tenth of them, the validation split, is hardly one


def overview(chosen: ImageSet) -> str:
    """All data sets as HTML: sizes, whether they are here at the chosen one's size, and how to get them."""
    head = ["Data set", "Images", "Labels", "Train / val / test", "On this machine", "How to get it"]
    lines = []
    for name, info in DATASETS.items():
        parts = f"{info.train:,} / {info.val:,} / {info.test:,}" if info.train else "70 / 10 / 20 %"
        cells = [
            f'{escape(info.title)}<br><span class="note">{escape(info.summary)}</span>',
            f"{info.images:,}" if info.images else "any",
            str(info.labels or "any"),
            parts,
            _state(chosen if name == chosen.name else shared.image_set(name, chosen.size)),
            _HOW.get(name) or _code(info.where),
        ]
        lines.append(tables.Line(cells))
    return tables.page(tables.table("Data sets", head, lines, (1, 2), widths=(27, 7, 7, 14, 20, 25)))


def _code(text: str) -> str:
    """Plain text with commands in backticks, as HTML."""
    parts = [escape(part) for part in text.split("`")]
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _state(images: ImageSet) -> str:
    path = images.root or str(default_root(images.name))
    where = f'<br><span class="note">{escape(path)}</span>'
    if image_cache.is_prepared(images):
        return f"prepared at {images.size:d} px{where}"
    if os.path.exists(path):  # Path.exists raises where a folder above cannot be read
        return f"found{where}"
    return '<span class="note">not found</span>' if images.name != "folder" else "–"


def findings(images: ImageSet, found: Report) -> bool:
    """What a look at the files has found; whether the data set can be prepared."""
    name = images.name
    for problem in found.problems:
        st.error(_fault(problem, images.skip_broken))
    if not found.images:
        _how(name)
        return False
    st.markdown(
        f"Found **{found.images:,}** images{f' of {found.expected:,}' if found.expected else ''}, "
        f"{found.usable:,} usable, {found.unlabelled:,} without a label (left out); "
        f"labels from {plain(found.labels_from)}."
    )
    if found.given_by:
        parts = plain(", ".join(f"{part} {count:,}" for part, count in found.splits))
        st.markdown(f"The split is given by {plain(found.given_by)}: {parts or 'see above'}.")
    if found.columns:
        told = [f"**{plain(columns)}** ({plain(what)})" for columns, what in together(found.columns)]
        st.markdown(f"Columns: {', '.join(told)}.")
    st.caption("  \n".join(_sentence(note) for note in found.notes))
    if found.decoded and not found.broken:
        st.success(f"All {found.images:,} images can be read.")
    many = len(found.columns) > LISTED  # the line above shortens them
    rare = [f"{label}: {count} images" for label, count in found.counts if 0 < count < FEW]
    lists = {
        "Cannot be read": [f"{file}: {why}" for file, why in found.broken],
        "In the table, but no image": list(found.without_image),
        "An image, but not in the table": list(found.without_row),
        "An image, but no label": list(found.without_label),
        "Images with several rows, whose labels were joined": list(found.several_rows),
        "Images in no part of the split, which are left out": list(found.unnamed),
        f"Labels on fewer than {FEW} images, which validation and test may lack": rare,
        "Labels on no image": [label for label, count in found.counts if not count],
        "Columns of the table": [f"{title}: {what}" for title, what in found.columns if many],
    }
    for heading, items in lists.items():
        if items:
            with st.expander(f"{plain(heading)}: {len(items):,}"):
                st.text("\n".join(items))
    return len(found.problems) <= bool(found.broken)  # broken images, one problem, can be left out


def _fault(text: str, skipped: bool) -> str:
    """What is wrong, in the words of a page that has a switch, which may be on, and settings."""
    for word, then in (("Mend", "They"), ("mend", "they")) if skipped else ():
        text = text.replace(f"{word} or remove them, or use --skip-broken", f"{then} are left out")
    text = re.sub(r": see what is missing with `macl data check \w+`$", "", text)
    return plain(how_read.on_page(text.replace("use --skip-broken", "leave them out below")))


def _sentence(note: str) -> str:
    return plain(how_read.on_page(f"{note[:1].upper()}{note[1:]}."))


def _how(name: str) -> None:
    if name == "folder":
        st.markdown(DATASETS[name].summary)
        return
    st.markdown(f"**How to get {DATASETS[name].title}:** {DATASETS[name].where}")
    if DATASETS[name].download:
        st.code(f"macl data fetch {name}", language="bash")


def prepared(images: ImageSet, seed: int) -> Dataset | None:
    """The prepared data set; until it is, the page says how far that is and offers to start it.

    The files are looked at by a process: what is in them takes no memory of the server.
    """
    about = job.status(images)
    # after a reload only the finished job knows that broken images were to be left out
    images = replace(images, skip_broken=about.skipped or images.skip_broken)
    if image_cache.is_prepared(images):
        try:
            data = image_cache.prepared(images, seed)
            if data.skipped:  # a run on these images has to leave them out as well
                st.session_state[shared.skip_key(images.name)] = True
            return data
        except MaclError as error:
            about = job.Preparation("failed", error=str(error))
    if about.state == "running":
        _progress(images)
        return None
    if not images.root and not os.path.exists(default_root(images.name)):
        st.info(f"{DATASETS[images.name].title} is not here yet: get it, or type above where it is.")
        _how(images.name)
        return None
    # before what it finds: one that ends in between would be drawn without
    looking = examination.status(images)
    found = examined(images)
    if found is None:
        if looking.state == "running":
            _looking(images)
        return None
    usable = findings(images, found)
    if looking.state == "running":
        _looking(images)
        return None
    if not usable:
        # a fault of the table hides no fault of the images
        look = looking.state != "done" and found.images and _look()
        if look and start(examination.start, images):
            st.rerun()
        return None
    for told in (about, looking):
        if told.state == "failed":
            st.error(_fault(told.error, images.skip_broken))
    shared.choose_skip(images.name)
    with st.container(horizontal=True):
        prepare = st.button(
            "Prepare the images", type="primary", help="Once for each training size; kept in the cache"
        )
        look = looking.state != "done" and _look()
    if prepare and start(job.start, images):
        st.rerun()
    if look and start(examination.start, images):
        st.rerun()
    return None


def told(images: ImageSet) -> tuple[list[str], list[str]]:
    """The columns of the table, as far as they are known, and what keeps the images from being used."""
    found, about = image_cache.examined(images), job.status(images)
    if found is None:
        return [], [about.error]
    return [name for name, _ in found.columns], [*found.problems, about.error]


def examined(images: ImageSet) -> Report | None:
    """What the files hold; until a process has found it the page says how far that is."""
    if found := image_cache.examined(images):
        return found
    about = examination.status(images, decode=False)
    if about.state == "failed":
        st.error(_fault(about.error, images.skip_broken))
        if not st.button("Look again"):
            return None
    if about.state != "running" and not start(examination.start, images, False):
        return None
    _looking(images, False)
    return None


def _look() -> bool:
    return st.button(
        "Look at every image first",
        help="Decodes all of them and lists those that cannot be read; nothing else is done",
    )


def start(begin: Callable[..., None], *what: object) -> bool:
    """Begin a process of its own; False, and the reason is shown, where the cache cannot be written."""
    try:
        begin(*what)
    except MaclError as error:
        st.error(plain(str(error)))
        return False
    return True


@st.fragment(run_every=EVERY)
def _progress(images: ImageSet) -> None:
    _bar(job.status(images))


@st.fragment(run_every=EVERY)
def _looking(images: ImageSet, decode: bool = True) -> None:
    _bar(examination.status(images, decode), "" if decode else "looking at the files")


def _bar(about: job.Preparation, start: str = "") -> None:
    """How far a process is; the whole page again when it has ended."""
    if about.state != "running":
        st.rerun()
    bar(about, start)


def bar(about: job.Preparation, start: str = "") -> None:
    """How far a process is, its rate, and the time left; `start` is what it does before it says so."""
    share = min(about.done / about.total, 1.0) if about.total else 0.0
    count = f" {about.done:,} of {about.total:,}" if about.total else ""
    if about.left:
        count += (
            f", {(about.total - about.done) / about.left:,.0f} a second, {duration.words(about.left)} left"
        )
    what = about.what or start or "starting"
    st.progress(share, plain(f"{what[0].upper()}{what[1:]} …{count}"))


def facts(data: Dataset) -> None:
    """Sizes in a row of numbers."""
    shown = {
        "Training": f"{len(data.splits['train']):,}",
        "Validation": f"{len(data.splits['val']):,}",
        "Test": f"{len(data.splits['test']):,}",
        "Labels per image": f"{data.labels.sum(axis=1).mean():.2f}",
        "Different label sets": f"{image_cache.label_sets(data):,}",
        "Left out: no label": f"{data.unlabelled:,}",
        "Left out: broken": f"{len(data.skipped):,}",
    }
    for column, (title, value) in zip(st.columns(len(shown)), shown.items(), strict=True):
        column.metric(title, value)
    said = [_sentence(note) for note in data.notes]
    if data.given_by:
        said = [f"The split is given by {plain(data.given_by)}.", *said]
    if said:
        st.caption("  \n".join(said))
