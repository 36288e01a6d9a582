"""Compare: the 7 metrics of all finished runs, with chance and oracle; CSV and LaTeX equal to the tables."""

import streamlit as st

from app import cache, compare_table, names, permalink
from app.figures import scores
from core import report
from core.losses import LOSSES
from core.metrics import METRICS
from core.runs import PRESETS

st.title("Compare")
st.caption("Retrieval quality of the losses on the test split, between chance and what is possible.")
results = cache.results()
if not results:
    st.info("No finished run yet. Train two losses, then see here how they differ.")
    st.page_link("../pages/train.py", label="Open the Train page")
    st.stop()

linked = {result.id for result in results} & set(st.query_params.get_all("runs"))
if linked:
    every, results = len(results), [result for result in results if result.id in linked]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{len(linked)} of {every} runs, those of the link.", width="content")
        st.page_link("../pages/compare.py", label="Show all runs", query_params={})
sets = sorted({names.dataset_title(result.config.dataset) for result in results})
presets = [key for key in PRESETS if any(result.config.preset == key for result in results)]
losses = [spec.title for key, spec in LOSSES.items() if any(r.config.loss == key for r in results)]
ids = [result.id for result in results]
permalink.note_unknown(runs=ids, datasets=sets, presets=presets, losses=losses, metric=list(METRICS.values()))
left, middle, right = st.columns([1, 1, 2])
in_sets = left.multiselect("Data sets", sets, key="datasets", bind="query-params", placeholder="all")
in_presets = middle.multiselect("Presets", presets, key="presets", bind="query-params", placeholder="all")
in_losses = right.multiselect("Losses", losses, key="losses", bind="query-params", placeholder="all")
chosen = [
    result
    for result in results
    if (not in_sets or names.dataset_title(result.config.dataset) in in_sets)
    and (not in_presets or result.config.preset in in_presets)
    and (not in_losses or LOSSES[result.config.loss].title in in_losses)
]
rows = report.summary(chosen)
if not rows:
    st.info("No finished run is left: take a filter away.")
    st.stop()

blocks = compare_table.ordered(rows)
rows = [row for block in blocks for row in block]
st.html(compare_table.tables(blocks))
st.caption(
    "Bold: best mean of its table; underlined: second. Grey: what a random order and a ranking by the "
    "Jaccard index itself reach."
)
with st.container(horizontal=True, vertical_alignment="center"):
    st.download_button("CSV", report.to_csv(rows), "macl-lab-scores.csv", "text/csv", on_click="ignore")
    for block, title in zip(blocks, compare_table.links(blocks), strict=True):
        ids = compare_table.of_one_seed(block)
        st.page_link("../pages/retrieval.py", label=f"Images retrieved: {title}", query_params={"runs": ids})
        st.page_link("../pages/train.py", label=f"Curves: {title}", query_params={"runs": ids})
with st.expander("What the metrics mean"):
    st.html(compare_table.definitions())
with st.expander("LaTeX"):
    st.code(report.to_latex(rows), language="latex")

metric = st.selectbox("Metric", METRICS.values(), index=2, key="metric", bind="query-params", width=260)
key = next(name for name, title in METRICS.items() if title == metric)
titles = [f"{compare_table.title(block)} · {block[0].protocol}" for block in blocks]
figure = scores.dots(blocks, key, titles, compare_table.label, compare_table.color)
st.plotly_chart(figure, alt=f"{metric} of each method, with its spread over seeds, between chance and oracle")
