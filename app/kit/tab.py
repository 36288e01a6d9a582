"""What a tab of the browser needs on every page: see tab.js."""

from pathlib import Path

import streamlit as st

SCRIPT = f"<script>{(Path(__file__).parent / 'tab.js').read_text()}</script>"


# Only a tab in which something repeats itself asks for its page as soon as a lost server is back; others wait
# for the next click, and the new server cannot tell what that click was on.
@st.fragment(run_every=3600)
def keep() -> None:
    """Back goes back a page, and the first click after the server was restarted counts."""
    with st.container(key="tab"):  # style.css takes it out of sight
        st.html(SCRIPT, unsafe_allow_javascript=True)
