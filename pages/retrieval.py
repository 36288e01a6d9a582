import streamlit as st

from app import cache, gallery, query
from app.names import short_labels
from app.pictures import pictures
from core.errors import MaclError

st.title("Retrieval")
st.caption("One image asks, each run answers with the test images it takes to be most similar.")
finished = cache.finished_runs()
if not finished:
    st.info("No finished run yet. Train one or more losses, then see here what they retrieve.")
    st.page_link("../pages/train.py", label="Train")
    st.stop()

notes = query.restore([run.id for run in finished], query.default_runs(finished))
chosen = query.choose_runs(finished)
if not chosen:
    st.info("Choose at least one run.")
    st.stop()

first, count = chosen[0], st.session_state[query.COUNT]
try:
    names, (_, labels) = cache.test_names(first), cache.embeddings(first)
except MaclError as error:
    st.error(str(error))
    st.stop()
notes += query.settle(names, labels)
if notes:
    st.warning(" ".join(notes))
images = pictures(cache.config(first), [cache.config(run) for run in finished])
classes = gallery.class_names(first, images)
name = query.pick(names, labels, classes)

rows = [
    gallery.of_run(run, title, first, name, count, classes)
    for run, title in zip(chosen, short_labels(chosen), strict=True)
]
held = gallery.held(labels[names.index(name)], classes)
asked = gallery.query(name, held, query.earlier(names))
gallery.show(asked, rows, images.uri if images else None, count, query.go)
query.publish()
