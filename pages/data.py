"""Data: which data sets are here, how to get them, and what is in the chosen one."""

import streamlit as st

from app.data import duplicates, images, labels, paper, together
from app.kit import data_view, how_read, names, permalink, shared, words
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
name_column, size_column, seed_column, path_column = st.columns([3, 3, 2, 6], vertical_alignment="bottom")
with name_column:
    name = shared.choose_dataset()
with size_column:
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
with seed_column:
    seed = int(st.number_input("Seed", 0, int(SEEDS.high), 0, key="seed", bind="query-params"))
with path_column:
    shared.choose_place(name)
shared.link_reading(name)
image_set = shared.image_set(name, size)
how, table = st.container(), st.container()
try:
    with how:
        how_read.form(name, *data_view.told(image_set))
    data = data_view.prepared(image_set, seed)
except MaclError as error:
    st.error(words.plain(str(error)))
    data = None
with table.expander("All data sets, and how to get them", expanded=data is None and not image_set.root):
    st.html(data_view.overview(image_set))
if data is None:
    st.stop()

st.header(f"{words.plain(names.dataset_title(name))}: {len(data):,} images, {len(data.classes)} labels")
data_view.facts(data)
tabs = st.tabs(VIEWS, key="view", on_change="rerun", bind="query-params")
for tab, view in zip(tabs, VIEWS, strict=True):
    if not tab.open:  # only the open tab is computed
        continue
    with tab:
        if view == "Labels":
            labels.show(data, seed)
        elif view == "Together":
            together.show(data)
        elif view == "Images":
            images.show(image_set, data, seed)
        elif view == "Near-duplicates":
            duplicates.show(image_set, data)
        else:
            paper.show(image_set, data)
st.page_link("../pages/train.py", label="Train on this data set", query_params=shared.link(name))
