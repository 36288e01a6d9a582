from functools import partial

import streamlit as st

from app import cache
from app.archive import find, make, marking, rows, state, view
from app.kit import gallery, left_out, permalink, waiting
from app.kit.shared import typed
from app.kit.words import plain
from core.archive import job
from core.archive.table import INSTALL, is_missing
from core.errors import MaclError

st.title("Archive")
st.caption("All the images you have, embedded by runs that you have trained: find those that are alike.")
permalink.told_here()
left_out.say()
if is_missing():
    st.info(f"An archive needs the package lancedb, which is not installed: `{INSTALL}`")
    st.stop()

state.restore()
known = job.known()
st.session_state[state.URI] = st.session_state[state.URI] or next(iter(known), None)
make.form(cache.finished_runs(), opened=not st.session_state[state.URI])
make.progress()
make.overview(known)
make.choose(known)
uri = typed(st.session_state[state.URI])
if not uri:
    st.info("No archive yet: make one above, or type the folder of one that is there.")
    st.stop()
try:
    parts = rows.parts_of(uri)
except (MaclError, OSError, ValueError) as error:
    making = any(one.job.uri == uri and one.status.state == "running" for one in job.made())
    if making:
        st.info("Its first images are being embedded.")
    else:
        st.error(plain(str(error)))
    st.stop()
job.remember(uri)
chosen = find.choose_runs(parts)
if not chosen:
    st.info("Choose at least one run.")
    st.stop()

seen = find.settle(chosen)
where = find.tools(chosen, seen)
marked = st.container()
query = find.query_of(seen)
if query is None:
    st.info("No image is in this archive yet.")
    st.stop()
state.note_shown()
given = marking.read(uri)
outcomes = rows.of_parts(chosen, query, where)
looking = marking.name_of(outcomes)
waiting.progress([question for outcome in outcomes for question in outcome.waits])
waiting.retry([question for outcome in outcomes for question in outcome.failed])
with marked:
    marking.bar(looking, given, parts, outcomes)
earlier = [key for key in state.earlier() if seen.has(key)]
gallery.show(
    gallery.query(query.name, outcomes[0].labels, earlier, query.key),
    [rows.drawn(outcome, query, given.get(looking, {})) for outcome in outcomes],
    find.pictures_of(query, outcomes, seen),
    st.session_state[state.COUNT],
    state.go,
    "archive_gallery",
    actions=marking.ACTIONS,
    on_act=partial(marking.act, uri, looking, given),
    titles={key: seen.title(key) for key in earlier},
)
view.on_map(outcomes)
state.publish()
