"""One line about the tracking server, where one is named; else the page is as it was."""

import streamlit as st

from app.kit.words import plain
from core import tracking
from core.queue import launch


def line() -> None:
    """Where runs are mirrored to, and what went wrong last."""
    how = tracking.mirroring(launch.run_root())
    if how is not None:
        st.caption(plain(how.words))
