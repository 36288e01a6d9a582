"""Entry point of the app: `streamlit run app/main.py` serves the pages of navigation.py behind a guard."""

import streamlit as st
from starlette.middleware import Middleware

from app.guard import Guard

app = st.App("navigation.py", middleware=[Middleware(Guard)])
