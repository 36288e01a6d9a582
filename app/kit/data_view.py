"""Which data sets there are, the chosen one's place and state, and preparing it."""

import os
from collections.abc import Callable
from dataclasses import replace
from html import escape

import streamlit as st

from app import image_cache
from app.kit import shared, tables
from app.kit.words import plain
from core.data import DATASETS, Dataset, ImageSet, default_root, examination, job
from core.errors import MaclError

_HOW = {"folder": "choose it below and type its path"}
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
        return f"prepared at {images.size} px{where}"
    if os.path.exists(path):  # Path.exists raises where a folder above cannot be read
        return f"found{where}"
    return '<span class="note">not found</span>' if images.name != "folder" else "–"


def findings(images: ImageSet) -> bool:
    """What a look at the files says, nothing decoded; whether the data set can be prepared."""
    name = images.name
    if not images.root and not os.path.exists(default_root(name)):
        st.info(f"{DATASETS[name].title} is not here yet: get it, or type above where it is.")
        _how(name)
        return False
    found = image_cache.examined(images) or image_cache.checked(images)
    for problem in found.problems:
        st.error(_fault(problem))
    if not found.images:
        _how(name)
        return False
    st.markdown(
        f"Found **{found.images:,}** images{f' of {found.expected:,}' if found.expected else ''}, "
        f"{found.usable:,} usable, {found.unlabelled:,} without a label (left out); "
        f"labels from `{found.labels_from}`."
    )
    if found.decoded and not found.broken:
        st.success(f"All {found.images:,} images can be read.")
    rare = [f"{label}: {count} images" for label, count in found.counts if 0 < count < FEW]
    lists = {
        "Cannot be read": [f"{file}: {why}" for file, why in found.broken],
        "In the table, but no image": list(found.without_image),
        "An image, but not in the table": list(found.without_row),
        "An image, but no label": list(found.without_label),
        "Images with several rows, whose labels were joined": list(found.several_rows),
        f"Labels on fewer than {FEW} images, which validation and test may lack": rare,
        "Labels on no image": [label for label, count in found.counts if not count],
        "Notes": list(found.notes),
    }
    for title, items in lists.items():
        if items:
            with st.expander(f"{title}: {len(items):,}"):
                st.text("\n".join(items))
    return len(found.problems) <= bool(found.broken)  # broken images, one problem, can be left out


def _fault(text: str) -> str:
    """What is wrong, in the words of a page that has a switch."""
    return plain(text.replace("use --skip-broken", "leave them out below"))


def _how(name: str) -> None:
    if name == "folder":
        st.markdown(DATASETS[name].summary)
        return
    st.markdown(f"**How to get {DATASETS[name].title}:** {DATASETS[name].where}")
    if DATASETS[name].download:
        st.code(f"macl data fetch {name}", language="bash")


def prepared(images: ImageSet, seed: int) -> Dataset | None:
    """The prepared data set; until it is, the page says how far that is and offers to start it."""
    about = job.status(images)
    # after a reload only the finished job knows that broken images were to be left out
    images = replace(images, skip_broken=about.skipped or images.skip_broken)
    if about.state == "done" or image_cache.is_prepared(images):
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
    # before what it finds: one that ends in between would be drawn without
    looking = examination.status(images)
    usable = findings(images)
    if looking.state == "running":
        _looking(images)
        return None
    if not usable:
        # a fault of the table hides no fault of the images
        look = looking.state != "done" and image_cache.checked(images).images and _look()
        if look and start(examination.start, images):
            st.rerun()
        return None
    for told in (about, looking):
        if told.state == "failed":
            st.error(_fault(told.error))
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
def _looking(images: ImageSet) -> None:
    _bar(examination.status(images))


def _bar(about: job.Preparation) -> None:
    """How far a process is; the whole page again when it has ended."""
    if about.state != "running":
        st.rerun()
    share = min(about.done / about.total, 1.0) if about.total else 0.0
    count = f" {about.done:,} of {about.total:,}" if about.total else ""
    what = about.what or "starting"
    st.progress(share, f"{what[0].upper()}{what[1:]} …{count}")


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
