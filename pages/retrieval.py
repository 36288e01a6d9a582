import streamlit as st

from app import cache
from app.kit import gallery, left_out, permalink, query, waiting
from app.kit.names import short_labels
from app.kit.pictures import pictures
from app.kit.words import plain
from app.retrieval import find, rows, upload, view, why
from app.retrieval.askable import Askable
from core.errors import MaclError

st.title("Retrieval")
st.caption("One image asks, each run answers with the images it takes to be most similar.")
permalink.told_here()
left_out.say()
finished = cache.finished_runs()
if not finished:
    st.info("No finished run yet. Train one or more losses, then see here what they retrieve.")
    st.page_link("../pages/train.py", label="Train")
    st.stop()

query.restore([run.id for run in finished], query.default_runs(finished))
chosen = query.choose_runs(finished)
if not chosen:
    st.info("Choose at least one run.")
    st.stop()

count = st.session_state[query.COUNT]
while chosen:  # the first whose files can be read leads: its images are the queries
    first = chosen[0]
    try:
        names, (_, labels) = cache.test_names(first), cache.embeddings(first)
        images = pictures(cache.config(first), [cache.config(run) for run in finished])
        classes = gallery.class_names(first, images)
        break
    except MaclError as error:
        st.error(plain(str(error)))
        chosen = chosen[1:]
if not chosen:
    st.stop()
askable = Askable(chosen)
query.settle(names, labels, askable.known)
find.forget_unknown(classes)
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

asking = upload.query_of(classes) or find.query_of(askable)
outcomes = rows.of_runs(chosen, titles, asking, count, classes)
labelled = gallery.label_names(asking.labels, classes) if asking.labels is not None else []
uri = upload.uri(images.uri if images else None)
with tools:
    view.downloads(outcomes, asking, labelled, classes, images)
waiting.progress([question for outcome in outcomes for question in outcome.waits])
waiting.retry([question for outcome in outcomes for question in outcome.failed])
answers = [outcome.row for outcome in outcomes]
gallery.show(
    gallery.query(asking.name, labelled, query.earlier(askable.known), asking.image),
    answers,
    uri,
    count,
    query.go,
    on_why=why.open_for,
)
view.ranks(answers)
why.show(chosen, asking, uri)
query.publish()
