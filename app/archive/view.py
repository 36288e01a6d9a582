"""Below the grid: where the results lie."""

from collections.abc import Sequence

import streamlit as st

from app.archive.rows import Outcome, called
from app.figures.archive import Places, places
from app.kit.steady import steady_chart


def on_map(outcomes: Sequence[Outcome]) -> None:
    """The results that have coordinates, all runs in one figure; folded away."""
    found = []
    for outcome in outcomes:
        points = [
            (rank, called(hit.record), hit.record.lon, hit.record.lat)
            for rank, hit in enumerate(outcome.hits, 1)
            if hit.record.lon is not None and hit.record.lat is not None
        ]
        if points:
            found.append(Places(outcome.part.title, outcome.part.color, points))
    if not found:
        return
    with st.expander("Map", key="archive_map", on_change="rerun") as expander:
        if expander.open:
            number = sum(len(one.points) for one in found)
            shown = sum(len(outcome.hits) for outcome in outcomes)
            alt = f"Longitude and latitude of {number} results, a colour per run"
            steady_chart(places(found), "archive_map_chart", alt)
            if number < shown:
                st.caption(f"{shown - number} of {shown} results have no coordinates.")
