import streamlit as st

from app import cache
from app.kit import gallery, permalink, query
from app.kit.names import short_labels
from app.kit.pictures import pictures
from app.kit.words import plain
from app.retrieval import find, rows, upload, view, waiting, why
from app.retrieval.askable import Askable
from core.errors import MaclError

st.title("Retrieval")
st.caption("One image asks, each run answers with the images it takes to be most similar.")
permalink.told_here()
finished = cache.finished_runs()
if not finished:
    st.info("No finished run yet. Train one or more losses, then see here what they retrieve.")
    st.page_link("../pages/train.py", label="Train")
    st.stop()

notes = query.restore([run.id for run in finished], query.default_runs(finished))
chosen = query.choose_runs(finished)
if not chosen:
    if notes:
        st.warning(plain(" ".join(notes)))
    st.info("Choose at least one run.")
    st.stop()

first, count = chosen[0], st.session_state[query.COUNT]
try:
    names, (_, labels) = cache.test_names(first), cache.embeddings(first)
    images = pictures(cache.config(first), [cache.config(run) for run in finished])
    classes = gallery.class_names(first, images)
except MaclError as error:
    st.error(plain(str(error)))
    st.stop()
askable = Askable(chosen)
notes += query.settle(names, labels, askable.known)
notes += find.forget_unknown(classes)
titles = short_labels(chosen)

picking, tools = st.container(), st.container(horizontal=True, vertical_alignment="bottom")
with tools:
    offered, values = find.tools(
        chosen, dict(zip([run.id for run in chosen], titles, strict=True)), names, labels, classes
    )
    upload.tools(chosen, classes)
    view.searched()
query.note_shown()
with picking:
    find.pick(names, labels, classes, offered, values, askable)
if notes:
    st.warning(plain(" ".join(notes)))

asked = upload.asked(classes) or find.asked(askable)
shown = rows.of_runs(chosen, titles, asked, count, classes)
held = gallery.held(asked.labels, classes) if asked.labels is not None else []
uri = upload.uri(images.uri if images else None)
with tools:
    view.downloads(shown, asked, held, classes, images)
waiting.progress([question for row in shown for question in row.waits])
waiting.retry([question for row in shown for question in row.failed])
gallery.show(
    gallery.query(asked.name, held, query.earlier(askable.known), asked.image),
    [row.drawn for row in shown],
    uri,
    count,
    query.go,
    on_why=why.open_for,
)
view.ranks(shown)
why.show(chosen, asked, uri)
query.publish()
