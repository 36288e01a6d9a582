"""Data: which data sets are here, how to get them, and what is in the chosen one."""

import streamlit as st

from app import data_view, names, permalink
from app.figures import labels
from core.data import DATASETS
from core.errors import MaclError

st.title("Data")
st.caption(
    "What the losses learn from: labels with a long tail, several to an image, and some always together."
)
titles = {names.dataset_title(name): name for name in DATASETS}
sizes = ["96", "128", "256"]
permalink.note_unknown(dataset=list(titles), size=sizes)
table = st.container()
which, side, split, where = st.columns([3, 3, 2, 6], vertical_alignment="bottom")
with which:
    title = st.selectbox("Data set", titles, key="dataset", bind="query-params")
    name = titles[title]
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
    seed = int(st.number_input("Seed", 0, 2**31 - 1, 0, key="seed", bind="query-params"))
with where:
    root = data_view.root_input(name)
table.html(data_view.overview(size, name, root))

try:
    data = data_view.prepared(name, root, size, seed)
except MaclError as error:
    st.error(str(error))
    st.stop()
if data is None:
    st.stop()

y = data.labels
st.subheader(f"{title}: {len(data):,} images, {len(data.classes)} labels")
data_view.facts(data)
wide, narrow = st.columns([3, 1], gap="medium")
wide.markdown("**Images by label and split**")
wide.plotly_chart(labels.counts(y, data.splits, data.classes), alt="Images per label, most frequent first")
narrow.markdown("**Images by number of labels**")
narrow.plotly_chart(labels.set_sizes(y), alt="Number of images by their number of labels")

wide, narrow = st.columns([3, 1], gap="medium")
with wide:
    data_view.together(data)
narrow.html(data_view.chance(data, seed))
narrow.caption("What a random order of the gallery scores: a metric says little before it is far above this.")

st.markdown("**Examples**")
ordered = [data.classes[label] for label in labels.by_frequency(y) if y[:, label].any()]
permalink.note_unknown(label=ordered)
label = st.selectbox("Label", ordered, key="label", bind="query-params", width=260)
rows = data_view.examples(data, label, seed)
st.markdown("**Augmentation, as trained**")
data_view.augmented(name, root, data, size, seed, rows)
st.page_link("../pages/train.py", label="Train on this data set", query_params={"dataset": title})
