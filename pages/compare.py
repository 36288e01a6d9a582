"""Compare: the 7 metrics of all finished runs against a baseline; files and figures."""

import streamlit as st

from app import cache
from app.compare import blocks, comparison, figures, filters, view
from app.kit import left_out, permalink
from app.kit.words import plain
from core import report

st.title("Compare")
st.caption("Retrieval quality of the losses on the test split, between chance and what is possible.")
permalink.told_here()
left_out.say()
results, damaged = cache.results()
benchmarks, wrong = cache.benchmarks()
if damaged or wrong:
    st.warning("\n\n".join(map(plain, damaged + wrong)))
results = results + [result for benchmark in benchmarks for result in benchmark.results]
if not results:
    st.info("No finished run yet. Train two losses, then see here how they differ.")
    st.page_link("../pages/train.py", label="Open the Train page")
    st.stop()

rows = report.summary(filters.choose(results))
if not rows:
    st.info("No finished run is left: take a filter away.")
    st.stop()
chosen = view.choose(rows)
arranged = comparison.arranged(rows, chosen)
blocks.show(arranged, chosen)
blocks.downloads(arranged, chosen)
figures.show(arranged, chosen)
