"""Components of this app: some HTML, a style sheet and a script."""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

Show = Callable[..., None]


def component(name: str, **parts: Any) -> Show:
    """A component like `st.components.v2.component`, to be called with key, data and `on_…_change`.

    Its script gets the data in a list of one. Streamlit looks for tables among the values of a dict, and
    imports pandas to know one: half a second before the first picture of a server.
    """
    mount = st.components.v2.component(name, **parts)

    def show(*, key: str, data: Mapping[str, Any], **handlers: Any) -> None:
        mount(key=key, data=[data], **handlers)

    return show


_nothing = component("macl_nothing", js="export default () => {};")


def fetch_ahead() -> None:
    """Let the browser fetch what every component needs while nobody waits for one: 180 kB of script."""
    _nothing(key="nothing", data={})
