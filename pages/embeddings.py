from functools import cache as once

import streamlit as st

from app import cache, gallery, names, query
from app.embeddings import settings, view
from app.pictures import pictures
from app.thumbnails import Thumbnails
from core import ask

st.title("Embeddings")
st.caption(
    "Every image is a point, near to those that a run takes to be similar. The runs share colours and lassos."
)
finished = cache.finished_runs()
if not finished:
    st.info("No finished run yet. Train one or more losses, then see here how they arrange the images.")
    st.page_link("../pages/train.py", label="Train")
    st.stop()

chosen = settings.choose_runs(finished, query.default_runs(finished)[:3])
if not chosen:
    st.info("Choose at least one run.")
    st.stop()
wanted = cache.config(chosen[0])
others = [run for run in chosen if not view.same_images(run, chosen[0])]
if others:
    st.warning(
        "Left out, as they were trained on other images than the first run: "
        + ", ".join(names.run_label(run) for run in others)
    )
    chosen = [run for run in chosen if run not in others]

notices = st.container()


@once
def images() -> Thumbnails | None:
    with notices:
        return pictures(wanted, [cache.config(run) for run in finished])


shown, found = view.galleries(chosen, everything=False)
if not shown:
    st.stop()
classes = gallery.class_names(shown[0], None if shown[0].classes() else images())
what = settings.choose(
    classes, splits=any(ask.can_answer(run) for run in shown), frames=any(cache.frames(run) for run in shown)
)
if what.everything:
    shown, found = view.galleries(shown, everything=True)
view.show(shown, found, what, classes, images)
