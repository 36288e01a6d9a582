"""Navigation: a click on a page counts, whatever another thread of the same tab is at."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.runtime.pages_manager import PagesManager

from app.pages import INTENT, keep_clicks

PAGES: Any = {
    name: {"page_script_hash": name, "url_pathname": name, "page_name": name, "script_path": "", "icon": ""}
    for name in ("train", "retrieval")
}


@pytest.fixture(autouse=True)
def _plain() -> Iterator[None]:
    """Streamlit as it comes, before and after."""
    before = {name: vars(PagesManager).get(name) for name in INTENT}
    for name in INTENT:
        if before[name]:
            delattr(PagesManager, name)
    yield
    for name in INTENT:
        if name in vars(PagesManager):
            delattr(PagesManager, name)
        if before[name]:
            setattr(PagesManager, name, before[name])


def opened(manager: PagesManager) -> str:
    """The page that st.navigation opens for this thread."""
    page = manager.set_pages_and_resolve(PAGES, "train")
    assert page
    return str(page["page_script_hash"])


def interrupted(manager: PagesManager) -> None:
    """Another thread of the tab draws the train page anew."""
    other = threading.Thread(target=manager.set_script_intent, args=("train", ""))
    other.start()
    other.join()


def test_a_click_is_not_lost_to_a_page_that_draws_itself_anew() -> None:
    lost, kept = PagesManager("main.py"), PagesManager("main.py")
    lost.set_script_intent("retrieval", "")
    interrupted(lost)
    assert opened(lost) == "train"  # else Streamlit has mended it, and app/pages.py can go
    keep_clicks()
    keep_clicks()  # with every run of the script
    kept.set_script_intent("retrieval", "")
    interrupted(kept)
    assert opened(kept) == "retrieval"
    kept.set_script_intent("", "retrieval")  # an address that was typed
    interrupted(kept)
    assert opened(kept) == "retrieval"


def test_the_first_tab_of_a_server_opens_what_its_address_says() -> None:
    manager = PagesManager("main.py")
    manager.set_script_intent("", "retrieval")
    keep_clicks()  # by the script that the intent is of
    assert opened(manager) == "retrieval"
