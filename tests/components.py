"""A page as tests open it, and what its components were given to draw."""

import base64
import json
from typing import Any

import numpy as np
from streamlit.testing.v1 import AppTest

from core.files import PROJECT

MAIN = str(PROJECT / "app" / "navigation.py")


def open_page(name: str, **query: Any) -> AppTest:
    """The page at an address, drawn once."""
    page = AppTest.from_file(MAIN, default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    page.switch_page(f"../pages/{name}.py").run()
    assert not page.exception
    return page


def component_data(page: AppTest, kind: str = "") -> list[dict[str, Any]]:
    """The data of each component on the page whose name ends with `kind`, in order."""
    nodes = [node.proto for node in page.get("bidi_component")]
    return [dict(json.loads(node.json)[0]) for node in nodes if node.component_name.endswith(kind)]


def charts(page: AppTest) -> list[dict[str, Any]]:
    """Every chart on the page: its `alt` and its `spec`, in order."""
    return component_data(page, "steady_chart")


def numbers(coded: Any) -> list[float]:
    """Numbers of a trace, which Plotly writes as bytes where they come from an array."""
    if isinstance(coded, dict):
        return [float(v) for v in np.frombuffer(base64.b64decode(coded["bdata"]), coded["dtype"])]
    return list(coded)
