"""Near-duplicates: images of the same place in different splits, side by side."""

from collections.abc import Sequence
from html import escape

import streamlit as st

from app import image_cache
from app.figures.labels import SPLITS
from app.kit import tables, thumbnails
from app.kit.data_view import start
from app.kit.permalink import Between, note_unknown
from app.kit.words import plain
from core.data import Dataset, ImageSet, duplicates
from core.data.pair import KEPT, LEAST_OVERLAP, Pair
from core.report.spreadsheet import to_csv

PAGE = 12  # pairs side by side
EVERY = 0.5  # seconds between two looks at a process
SCOPES = ("in different splits", "all")
TURNS = ("", *["turned"] * 3, "mirrored", *["mirrored, turned"] * 3)
HOW = f"""Every image is compared with every other by **phase correlation**, which finds a copy also when
it is moved, brighter or compressed again; mirrored and turned copies are looked for too. What looks promising
at 32 and 64 pixels is compared at full size: the **similarity** of a pair is the correlation of their fine
structure where the two overlap, at least {100 * LEAST_OVERLAP:.0f} % of the image.

Copies saved again as JPEG of quality 50 mostly reach 0.9, overlapping crops 0.75 and more: WHDLD is one scene
cut into 65 × 76 tiles, of which the last column and row overlap their neighbours by 52 % and 94 %. Between
{KEPT} and 0.7 lie pictures of one place taken at different times (stadiums in ML-AID), but also
stretches of the same runway with the same markings (DLRSD): look at a pair before you leave an image out.
Water and fields without structure can be missed."""


def show(images: ImageSet, data: Dataset) -> None:
    """The pairs found, or a button that starts the search in another process."""
    st.markdown(
        "**Images of the same place.** Where one is trained on and its twin is tested on, the test is easier "
        "than it looks."
    )
    status = duplicates.status(data.key)
    if status.state == "running":
        _progress(data.key)
        return
    if status.state != "done":
        if status.state == "failed":
            st.error(f"The search ended early: {plain(status.error)}")
        if st.button(
            "Look for near-duplicates", type="primary",
            help="In the background; the result is kept",
        ) and start(duplicates.start, images, data.key):  # fmt: skip
            st.rerun()
        st.caption(_effort(len(data)))
    else:
        _result(data)
    with st.expander("How it is done, and what the threshold means"):
        st.markdown(HOW)


@st.fragment(run_every=EVERY)
def _progress(key: str) -> None:
    status = duplicates.status(key)
    if status.state != "running":
        st.rerun()
    share = min(status.done / status.total, 1.0) if status.total else 0.0
    count = f" {status.done:,} of {status.total:,}" if status.total else ""
    bar, button = st.columns([6, 1], vertical_alignment="center")
    bar.progress(share, f"{plain(status.what or 'Starting')} …{count}")
    stopping = duplicates.is_stopping(key)
    if button.button("Stopping …" if stopping else "Stop", disabled=stopping) and start(duplicates.stop, key):
        st.rerun()


def _effort(count: int) -> str:
    """How long the search takes, and how much memory it needs."""
    seconds, size = duplicates.effort(count)
    takes = (
        "some seconds" if seconds < 10
        else f"about {seconds:.0f} seconds" if seconds < 100
        else f"about {seconds / 60:.0f} minutes" if seconds < 6000
        else f"about {seconds / 3600:.1f} hours"
    )  # fmt: skip
    memory = f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
    return f"Every image with every other: {takes} and {memory} of memory for {count:,} images."


def _result(data: Dataset) -> None:
    all_pairs = image_cache.duplicates(data.key)
    splits = duplicates.split_of(data.splits)
    if not all_pairs:
        st.success(f"No two of the {len(data):,} images show the same place.")
        return
    note_unknown(similarity=Between(KEPT, 0.95), pairs=SCOPES)
    left, right = st.columns([2, 3], gap="large")
    with right:
        least = st.slider(
            "Similarity from", KEPT, 0.95, duplicates.SAME, 0.05, key="similarity",
            bind="query-params",
        )  # fmt: skip
        scope = st.segmented_control(
            "Pairs", SCOPES, default=SCOPES[0], required=True, key="pairs", bind="query-params"
        )
        pairs = [pair for pair in all_pairs if pair.similarity >= least]
        st.download_button(
            "All pairs as CSV", _csv(data, pairs, splits), f"{data.name}-duplicates.csv", "text/csv",
            on_click="ignore",
        )  # fmt: skip
    crossing = [pair for pair in pairs if splits[pair.a] != splits[pair.b]]
    leaked, tested = duplicates.leaked(pairs, data.splits), len(data.splits["test"])
    with left:
        st.markdown(
            f"**{len(pairs):,} pairs** show the same place, {len(crossing):,} of them in different splits of "
            f"this seed. **{leaked:,} of {tested:,} test images** ({100 * leaked / tested:.1f} %) have a "
            "twin in the training split."
        )
        st.html(_table(data, pairs))
    shown = crossing if scope == SCOPES[0] else pairs
    pages = max(1, -(-len(shown) // PAGE))
    first = 0
    if pages > 1:
        page = st.number_input(
            f"Page of {pages}", 1, pages, 1, key="pairs_page", persist_state="session", width=160
        )
        first = PAGE * (int(page) - 1)
    st.html(_side_by_side(data, shown[first : first + PAGE], splits))


def _table(data: Dataset, pairs: list[Pair]) -> str:
    counts = duplicates.across(pairs, data.splits)
    title = {split: name for split, (name, _) in SPLITS.items()}
    lines = [
        tables.Line(
            [f"{title[a]} and {title[b]}" if a != b else f"both {title[a]}", f"{count:,}"], grey=a == b
        )
        for (a, b), count in sorted(counts.items(), key=lambda item: item[0][0] == item[0][1])
    ]
    return tables.page(tables.table("", ["The two images are in", "Pairs"], lines, (1,)))


def _side_by_side(data: Dataset, pairs: list[Pair], splits: dict[int, str]) -> str:
    """The two images of each pair and how they compare, as HTML."""
    figures = []
    for pair in pairs:
        images = "".join(
            f'<div><img src="{escape(thumbnails.encode(data.picture(row)))}" '
            f'alt="{escape(data.names[row])}"><br>{escape(_short(data.names[row]))}'
            f'<br><span class="note">{escape(SPLITS[splits[row]][0])}</span></div>'
            for row in (pair.a, pair.b)
        )
        facts = [
            f"similarity {pair.similarity:.2f}",
            f"{100 * pair.overlap:.0f} % in common",
            TURNS[pair.turn],
        ]
        differ = int((data.labels[pair.a] != data.labels[pair.b]).sum())
        facts.append(
            f"{differ} labels differ" if differ > 1 else "1 label differs" if differ else "same labels"
        )
        figures.append(
            f'<figure><div class="two">{images}</div>{escape(", ".join(filter(None, facts)))}</figure>'
        )
    return f'<div class="twins">{"".join(figures)}</div>'


def _short(name: str) -> str:
    """The name without its folders, which only repeat split and label."""
    return name.rsplit("/", 1)[-1]


def _csv(data: Dataset, pairs: list[Pair], splits: dict[int, str]) -> str:
    rows: list[Sequence[object]] = [
        ("image_a", "split_a", "image_b", "split_b", "similarity", "overlap", "turn")
    ]
    for pair in pairs:
        names = [(data.names[row], splits[row]) for row in (pair.a, pair.b)]
        rows.append((*names[0], *names[1], pair.similarity, pair.overlap, TURNS[pair.turn]))
    return to_csv(rows)
