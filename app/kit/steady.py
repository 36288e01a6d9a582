"""Every Plotly chart of the app: it stays the same chart while its data grow, and leaves only as a file.

`st.plotly_chart` (1.67) derives the identity of a chart from its data, key or not, so that the browser throws
the old chart away at every refresh: it flickers, and zoom and hidden traces are lost; and its mode bar saves
PNG alone. This draws with the Plotly library that comes with the Python package, and updates in place. That
library's own mode bar would offer to upload a chart to a cloud: steady.js takes the offer away.
"""

import re
from pathlib import Path

import plotly
import plotly.graph_objects as go
import plotly.io as pio
from streamlit.components.v1 import declare_component

from app.kit.component import component

HERE = Path(__file__).parent
# Plotly reads text as a little HTML: a label would be a link, or vanish. Of its tags these are of the figures
# themselves; its JSON has \u003c for "<" and \u002f for "/".
TAG = re.compile(r"(?<!\\)((?:\\\\)*)\\u003c(?!(?:\\u002f)?(?:b|br|extra)\\u003e)")
# Only for its address: Streamlit serves the folder of the Python package's own plotly.min.js to the browser.
_library = declare_component("macl_plotly", path=str(Path(plotly.__file__).parent / "package_data"))
_chart = component(
    "macl_steady_chart",
    html='<div class="steady" role="figure"></div>',
    css=(HERE / "steady.css").read_text(),
    js=(HERE / "steady.js").read_text(),
    isolate_styles=False,  # Plotly puts its style sheet into the page
)


def steady_chart(figure: go.Figure, key: str, alt: str) -> None:
    """Draw a figure; the next one with this key takes its place without a flicker.

    Args:
        figure: The figure; its `uirevision` says how long zoom is kept. Text and grid are the theme's.
        key: Identity on the page, and in words the name of its files.
        alt: Description for screen readers.
    """
    figure.layout.template = None
    data = {
        "library": f"component/{_library.name}/plotly.min.js",
        "spec": TAG.sub(r"\1&lt;", pio.to_json(figure, validate=False)),
        "alt": alt,
        "name": f"macl-lab-{key.replace('_', '-')}",
    }
    _chart(key=key, data=data)
