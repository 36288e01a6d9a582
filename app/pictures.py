"""The pictures of a run's data set on a page, or why there are none and what to do."""

import streamlit as st

from app import cache
from app.names import dataset_title
from app.thumbnails import Thumbnails
from core.data import job
from core.errors import MaclError
from core.runs import RunConfig


def pictures(config: RunConfig) -> Thumbnails | None:
    """Thumbnails of the data set; while they are prepared, or where they are gone, the page says so.

    The page never prepares images itself: a detached process does, then the page is drawn anew.
    """
    try:
        if cache.is_open(config) or job.status(*_place(config)).state == "done":
            return cache.thumbnails(config)
    except MaclError as error:
        st.warning(f"Names and labels without pictures: {error}")
        return None
    about = job.status(*_place(config))
    if about.state == "failed":
        st.warning(f"Names and labels without pictures: {about.error}")
        st.button("Look again", on_click=_start, args=(config,))
        return None
    if about.state == "none":
        _start(config)
    _progress(config)
    return None


@st.fragment(run_every=0.5)
def _progress(config: RunConfig) -> None:
    about = job.status(*_place(config))
    if about.state != "running":
        st.rerun()
    share = about.done / about.total if about.total else 0.0
    st.progress(min(share, 1.0), f"Preparing the pictures of {dataset_title(config.dataset)}: {about.what}")


def _start(config: RunConfig) -> None:
    job.start(*_place(config), config.skip_broken)


def _place(config: RunConfig) -> tuple[str, str | None, int]:
    return config.dataset, config.data_root, config.image_size
