"""The pictures of a run's data set on a page, or why there are none and what to do."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from app import image_cache
from app.kit.data_view import start
from app.kit.names import dataset_title
from app.kit.thumbnails import Thumbnails
from app.kit.words import plain
from core.data import ImageSet, job
from core.errors import MaclError
from core.runs import RunConfig

_TRIED = "pictures_tried"


def pictures(config: RunConfig, others: Sequence[RunConfig] = ()) -> Thumbnails | None:
    """Thumbnails of the data set; while they are prepared, or where they are gone, the page says so.

    The page never prepares images itself: a detached process does, then the page is drawn anew.

    Args:
        config: Of the run whose images are wanted.
        others: Of runs that may know another place of the same images, such as an archive that was moved.
    """
    found = opened(config, others)
    return _prepare(config.images) if found is None else found


def opened(config: RunConfig, others: Sequence[RunConfig] = ()) -> Thumbnails | None:
    """Thumbnails of a data set that is prepared; else None, and the page says nothing.

    For fragments: what `pictures` puts into one, and looks at every half second, ends at its next rerun.
    """
    known = [config.images]
    for other in others:
        if other.dataset == config.dataset != "folder" and other.reading == config.reading:
            known.append(other.images)
    for images in dict.fromkeys(known):
        try:
            if image_cache.is_open(images) or images.can_open():
                return image_cache.thumbnails(images)
        except MaclError:
            continue
    return None


def _prepare(images: ImageSet) -> Thumbnails | None:
    place, tried = replace(images, skip_broken=False), st.session_state.setdefault(_TRIED, set())
    try:
        about = job.status(images)
        if about.state == "done" and place in tried:  # and still not prepared: only opening them tells why
            return image_cache.thumbnails(images)
        if about.state in ("none", "done"):
            tried.add(place)
            job.start(images)
    except MaclError as error:
        st.warning(f"Names and labels without pictures: {plain(error)}")
        return None
    if about.state == "failed":
        st.warning(f"Names and labels without pictures: {plain(about.error)}")
        if st.button("Look again") and start(job.start, images):
            st.rerun()
    else:
        _progress(images)
    return None


@st.fragment(run_every=0.5)
def _progress(images: ImageSet) -> None:
    about = job.status(images)
    if about.state != "running":
        st.rerun()
    share = about.done / about.total if about.total else 0.0
    st.progress(
        min(share, 1.0), plain(f"Preparing the pictures of {dataset_title(images.name)}: {about.what}")
    )
