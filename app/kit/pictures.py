"""The pictures of a run's data set on a page, or why there are none and what to do."""

from collections.abc import Sequence

import streamlit as st

from app import cache
from app.kit.data_view import start
from app.kit.names import dataset_title
from app.kit.thumbnails import Thumbnails
from core.data import is_prepared, job
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
    return _prepare(config) if found is None else found


def opened(config: RunConfig, others: Sequence[RunConfig] = ()) -> Thumbnails | None:
    """Thumbnails of a data set that is prepared; else None, and the page says nothing.

    For fragments: what `pictures` puts into one, and looks at every half second, ends at its next rerun.
    """
    known_places = {_place(config): config}
    for other in others:
        if other.dataset == config.dataset != "folder":
            known_places.setdefault(_place(other), other)
    for known in known_places.values():
        try:
            if cache.is_open(known) or is_prepared(*_place(known)):
                return cache.thumbnails(known)
        except MaclError:
            continue
    return None


def _prepare(config: RunConfig) -> Thumbnails | None:
    place, tried = _place(config), st.session_state.setdefault(_TRIED, set())
    try:
        about = job.status(*place)
        if about.state == "done" and place in tried:  # and still not prepared: only opening them tells why
            return cache.thumbnails(config)
        if about.state in ("none", "done"):
            tried.add(place)
            job.start(*place, config.skip_broken)
    except MaclError as error:
        st.warning(f"Names and labels without pictures: {error}")
        return None
    if about.state == "failed":
        st.warning(f"Names and labels without pictures: {about.error}")
        if st.button("Look again") and start(job.start, *place, config.skip_broken):
            st.rerun()
    else:
        _progress(config)
    return None


@st.fragment(run_every=0.5)
def _progress(config: RunConfig) -> None:
    about = job.status(*_place(config))
    if about.state != "running":
        st.rerun()
    share = about.done / about.total if about.total else 0.0
    st.progress(min(share, 1.0), f"Preparing the pictures of {dataset_title(config.dataset)}: {about.what}")


def _place(config: RunConfig) -> tuple[str, str | None, int]:
    return config.dataset, config.data_root, config.image_size
