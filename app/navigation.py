"""What every page shares: the list of pages, their navigation, and the style."""

from pathlib import Path

import streamlit as st

from app.kit import shared, tab
from app.pages import keep_clicks

ASSETS = Path(__file__).parent.parent / "assets"

st.set_page_config(page_title="MACL Lab", page_icon=str(ASSETS / "icon.png"), layout="wide")
st.html(Path(__file__).parent / "style.css")
st.logo(str(ASSETS / "logo.svg"), icon_image=str(ASSETS / "icon.svg"))
keep_clicks()
tab.keep()
page = st.navigation(
    [
        st.Page("../pages/home.py", title="Home", default=True),
        st.Page("../pages/data.py", title="Data"),
        st.Page("../pages/train.py", title="Train"),
        st.Page("../pages/compare.py", title="Compare"),
        st.Page("../pages/retrieval.py", title="Retrieval"),
        st.Page("../pages/archive.py", title="Archive"),
        st.Page("../pages/embeddings.py", title="Embeddings"),
        st.Page("../pages/mechanism.py", title="Mechanism"),
        st.Page("../pages/sensitivity.py", title="Sensitivity"),
    ],
    position="top",  # the width belongs to images and curves
)
shared.arrive(page.url_path)
page.run()
