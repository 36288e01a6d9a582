"""Runs that this version cannot read: named, with the reason, on every page that lists runs."""

import streamlit as st

from app import cache
from app.kit.words import plain

MOST = 5  # sentences


def say() -> None:
    """A line for each run that is left out, and the number of those beyond a few."""
    left_out = cache.unreadable_runs()
    for run, why in left_out[:MOST]:
        st.caption(plain(f"{run.id} was left out: {why}"))
    if len(left_out) > MOST:
        st.caption(f"and {len(left_out) - MOST:,} more")
