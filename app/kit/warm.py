"""A worker that is alive before it is needed, because importing torch takes it some seconds."""

import streamlit as st

from app.kit.words import plain
from core.errors import MaclError
from core.queue import launch


def keep_workers() -> None:
    """Start a worker once per visit, and whenever runs wait for one that has died; never blocks."""
    root = launch.run_root()
    waiting = [] if launch.paused(root) else launch.queue(root)
    wanted = {launch.device_of(run) for run in [*waiting, *launch.dropped(root)]}
    if not st.session_state.get("warmed"):
        st.session_state["warmed"] = True
        wanted.add("auto")
    try:
        for device in wanted:
            launch.ensure_worker(device, root)
    except MaclError as error:
        st.error(f"No run can be trained: {plain(error)}")
    except OSError as error:
        st.error(
            f"No run can be kept in {plain(root)} ({plain(error.strerror or error)}): make room there, or "
            "start the app with MACL_RUN_ROOT naming another folder."
        )
