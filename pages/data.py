"""Data: which data sets are here, how to get them, and what is in the chosen one."""

import streamlit as st

from app.data import duplicates, images, labels, paper, together
from app.kit import data_view, names, permalink, shared, words
from core.errors import MaclError

VIEWS = ["Labels", "Together", "Images", "Near-duplicates", "Paper"]
SEEDS = permalink.Between(0, 2**31 - 1, whole=True)

st.title("Data")
st.caption(
    "What the losses learn from: labels with a long tail, several to an image, and some always together."
)
sizes = ["96", "128", "256"]
permalink.told_here()
permalink.note_unknown(dataset=shared.titles(), size=sizes, seed=SEEDS, view=VIEWS)
which, side, split, where = st.columns([3, 3, 2, 6], vertical_alignment="bottom")
with which:
    name = shared.choose_dataset()
with side:
    size = int(
        st.segmented_control(
            "Training size, pixels",
            sizes,
            default="128",
            required=True,
            key="size",
            bind="query-params",
            help="Presets: quick 96, instant 128, paper 256; images are prepared once for each",
        )
    )
with split:
    seed = int(st.number_input("Seed", 0, int(SEEDS.high), 0, key="seed", bind="query-params"))
with where:
    shared.choose_place(name)
chosen = shared.image_set(name, size)
table = st.container()
try:
    data = data_view.prepared(chosen, seed)
except MaclError as error:
    st.error(words.plain(str(error)))
    data = None
with table.expander("All data sets, and how to get them", expanded=data is None and not chosen.root):
    st.html(data_view.overview(chosen))
if data is None:
    st.stop()

st.header(f"{names.dataset_title(name)}: {len(data):,} images, {len(data.classes)} labels")
data_view.facts(data)
tabs = st.tabs(VIEWS, key="view", on_change="rerun", bind="query-params")
for tab, view in zip(tabs, VIEWS, strict=True):
    if not tab.open:  # only what is looked at is computed
        continue
    with tab:
        if view == "Labels":
            labels.show(data, seed)
        elif view == "Together":
            together.show(data)
        elif view == "Images":
            images.show(chosen, data, seed)
        elif view == "Near-duplicates":
            duplicates.show(chosen, data)
        else:
            paper.show(chosen, data)
st.page_link("../pages/train.py", label="Train on this data set", query_params=shared.link(name))
