from functools import cache as once

import streamlit as st

from app import cache
from app.embeddings import settings, view
from app.kit import gallery, left_out, permalink, query
from app.kit.pictures import opened, pictures
from app.kit.thumbnails import Thumbnails
from core.retrieval import ask

st.title("Embeddings")
st.caption(
    "Every image is a point, near those that a run takes to be similar. The runs share colours and lassos."
)
permalink.told_here()
left_out.say()
finished = cache.finished_runs()
if not finished:
    st.info("No finished run yet. Train one or more losses, then see here how they arrange the images.")
    st.page_link("../pages/train.py", label="Train")
    st.stop()

chosen = settings.choose_runs(finished, query.default_runs(finished)[:3])
if not chosen:
    st.info("Choose at least one run.")
    st.stop()
drawn, galleries = view.galleries(chosen, everything=False)
if not drawn:
    st.stop()
drawn, galleries = view.comparable(drawn, galleries)
config, configs = cache.config(drawn[0]), [cache.config(run) for run in finished]
notices = st.container()


@once
def images() -> Thumbnails | None:
    return opened(config, configs)


def prepare() -> None:
    with notices:
        pictures(config, configs)


classes = gallery.class_names(drawn[0], None if drawn[0].classes() else images())
options = settings.choose(
    classes, splits=any(ask.can_answer(run) for run in drawn), frames=any(cache.frames(run) for run in drawn)
)
if options.everything:
    drawn, galleries = view.galleries(drawn, everything=True)
    if not drawn:
        st.stop()
view.show(drawn, galleries, options, classes, images, prepare)
