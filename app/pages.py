"""A click on the link of a page opens that page, even while another page is being drawn."""

import threading
from typing import Any

from streamlit.runtime.pages_manager import PagesManager

INTENT = ("_intended_page_script_hash", "_intended_page_name")  # what `st.navigation` goes by


def keep_clicks() -> None:
    """Let every thread of a tab remember for itself which page it was asked for.

    Streamlit (1.67) remembers one page for all threads. When a part of a page that refreshes itself reruns
    the whole page (`st.rerun`) at the moment of a click on another page, two threads are at work: the old one
    names its page after the new one has named the page that was clicked, and the click is lost.
    """
    for name in INTENT:
        if not isinstance(vars(PagesManager).get(name), _OfThread):
            setattr(PagesManager, name, _OfThread(name))


class _OfThread:
    """An attribute with a value of its own in each thread."""

    def __init__(self, name: str) -> None:
        self.name, self.place = name, f"{name}_of_thread"

    def __get__(self, manager: Any, owner: type) -> Any:
        # nothing set yet: the page that the server's first tab was asked for, before this was put in
        return getattr(self._values(manager), "value", manager.__dict__.get(self.name))

    def __set__(self, manager: Any, value: Any) -> None:
        self._values(manager).value = value

    def _values(self, manager: Any) -> threading.local:
        values: threading.local = manager.__dict__.setdefault(self.place, threading.local())
        return values
