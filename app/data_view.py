"""Parts of the data page: which data sets there are, the chosen one's place and state, and its pictures."""

from html import escape
from pathlib import Path

import numpy as np
import streamlit as st

from app import cache, tables
from app.figures import labels
from core.data import DATASETS, Dataset, default_root, job, preview
from core.errors import MaclError
from core.metrics import METRICS

EXAMPLES = 12  # images of a label
_HOW = {"demo": "nothing to get: the program draws it", "folder": "choose it below and type its path"}
EVERY = 0.5  # seconds between two looks at a process


def place(name: str) -> str | None:
    """Where a data set was found last: in its usual place (None), else where the newest run took it from."""
    if name == "demo" or default_root(name).exists():
        return None
    roots = (cache.config(run).data_root for run in cache.all_runs() if cache.config(run).dataset == name)
    return next((root for root in roots if root and Path(root).exists()), None)


def overview(size: int, chosen: str, root: str | None) -> str:
    """All data sets as HTML: sizes, whether they are here, and how to get them.

    Args:
        size: Training size in pixels that "prepared" is about.
        chosen: Key of the data set whose place the person has named.
        root: That place.
    """
    head = ["Data set", "Images", "Labels", "Train / val / test", "On this machine", "How to get it"]
    lines = []
    for name, info in DATASETS.items():
        parts = f"{info.train:,} / {info.val:,} / {info.test:,}" if info.train else "70 / 10 / 20 %"
        cells = [
            f'{escape(info.title)}<br><span class="note">{escape(info.summary)}</span>',
            f"{info.images:,}" if info.images else "any",
            str(info.labels or "any"),
            parts,
            _state(name, (root if name == chosen else None) or place(name), size),
            _HOW.get(name) or _code(info.where),
        ]
        lines.append(tables.Line(cells))
    return tables.page(tables.table("Data sets", head, lines, (1, 2), widths=(27, 7, 7, 14, 20, 25)))


def _code(text: str) -> str:
    """Plain text with commands in backticks, as HTML."""
    parts = [escape(part) for part in text.split("`")]
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _state(name: str, root: str | None, size: int) -> str:
    if cache.is_prepared(name, root, size):
        where = "" if name == "demo" else f'<br><span class="note">{escape(_where(name, root))}</span>'
        return f"prepared at {size} px{where}"
    if name == "demo":
        return "drawn on first use"
    if Path(_where(name, root)).exists():
        return f'found<br><span class="note">{escape(_where(name, root))}</span>'
    return '<span class="note">not found</span>' if name != "folder" else "–"


def _where(name: str, root: str | None) -> str:
    return root or str(default_root(name))


def root_input(name: str) -> str | None:
    """Where the person says the data set is; None for its usual place. In the permalink."""
    if name == "demo":
        return None
    given = st.text_input(
        "Its folder or archive",
        place(name) or "",
        key=f"{name}_root",
        bind="query-params",
        placeholder=str(default_root(name)),
        help="A folder or a .zip on this machine; empty: the usual place, shown in grey",
    )
    text = (given or "").strip()
    return str(Path(text).expanduser().absolute()) if text else None


def findings(name: str, root: str | None) -> bool:
    """What a look at the files says, nothing decoded; whether the data set can be prepared."""
    if not root and name != "demo" and not default_root(name).exists():
        st.info(f"{DATASETS[name].title} is not here yet: get it, or type above where it is.")
        _how(name)
        return False
    found = cache.checked(name, root)
    for problem in found.problems:
        st.error(problem)
    if not found.images:
        _how(name)
        return False
    st.markdown(
        f"Found **{found.images:,}** images{f' of {found.expected:,}' if found.expected else ''}, "
        f"{found.usable:,} usable, {found.unlabelled:,} without a label (left out); "
        f"labels from `{found.labels_from or 'the drawing'}`."
    )
    lists = {
        "Cannot be read": [f"{file}: {why}" for file, why in found.broken],
        "In the table, but no image": list(found.without_image),
        "An image, but not in the table": list(found.without_row),
        "Notes": list(found.notes),
    }
    for title, items in lists.items():
        if items:
            with st.expander(f"{title}: {len(items):,}"):
                st.text("\n".join(items))
    return found.ok or bool(found.broken)


def _how(name: str) -> None:
    if name == "folder":
        st.markdown(DATASETS[name].summary)
        return
    st.markdown(f"**How to get {DATASETS[name].title}:** {DATASETS[name].where}")
    if DATASETS[name].download:
        st.code(f"macl data fetch {name}", language="bash")


def prepared(name: str, root: str | None, size: int, seed: int) -> Dataset | None:
    """The prepared data set; until it is, the page says how far that is and offers to start it."""
    skip = name != "demo" and bool(st.session_state.get(f"{name}_skip"))
    about = job.status(name, root, size)
    if about.state == "done" or cache.is_prepared(name, root, size):
        try:
            data = cache.prepared(name, root, size, seed, skip)
            if root:
                st.session_state[f"root.{name}"] = root  # the train page proposes it
            return data
        except MaclError as error:
            about = job.Preparation("failed", error=str(error))
    if about.state == "running":
        _progress(name, root, size)
        return None
    if not findings(name, root):
        return None
    if about.state == "failed":
        st.error(about.error)
    if name != "demo":
        st.toggle("Leave out images that cannot be read", key=f"{name}_skip", persist_state="session")
    label = "Draw the scenes" if name == "demo" else "Prepare the images"
    if st.button(label, type="primary", help="Once for each training size; kept in the cache"):
        job.start(name, root, size, skip)
        st.rerun()
    return None


@st.fragment(run_every=EVERY)
def _progress(name: str, root: str | None, size: int) -> None:
    about = job.status(name, root, size)
    if about.state != "running":
        st.rerun()
    share = min(about.done / about.total, 1.0) if about.total else 0.0
    count = f" {about.done:,} of {about.total:,}" if about.total else ""
    what = about.what or "starting"
    st.progress(share, f"{what[0].upper()}{what[1:]} …{count}")


def facts(data: Dataset) -> None:
    """Sizes in a row of numbers."""
    shown = {
        "Training": f"{len(data.splits['train']):,}",
        "Validation": f"{len(data.splits['val']):,}",
        "Test": f"{len(data.splits['test']):,}",
        "Labels per image": f"{data.labels.sum(axis=1).mean():.2f}",
        "Different label sets": f"{cache.label_sets(data):,}",
        "Left out: no label": f"{data.unlabelled:,}",
        "Left out: broken": f"{len(data.skipped):,}",
    }
    for column, (title, value) in zip(st.columns(len(shown)), shown.items(), strict=True):
        column.metric(title, value)


def together(data: Dataset) -> None:
    """Which labels appear together, as counts or as conditional shares."""
    st.markdown("**Labels that appear together**")
    count, share = "number of images", "P(row | column), %"
    kind = st.segmented_control(
        "Co-occurrence",
        (count, share),
        default=count,
        required=True,
        key="together",
        bind="query-params",
        label_visibility="collapsed",
    )
    dark = st.context.theme.type == "dark"
    figure = labels.cooccurrence(data.labels, data.classes, kind == share, dark)
    st.plotly_chart(figure, alt=f"Labels that appear together: {kind}")


def chance(data: Dataset, seed: int) -> str:
    """Chance of each metric on the test split as HTML."""
    expected = cache.chance(data, seed)
    lines = [tables.Line([escape(METRICS[key]), _percent(value)]) for key, value in expected.items()]
    note = f"test split of seed {seed}, {len(data.splits['test']):,} images"
    return tables.page(tables.table("Chance", ["Metric", "Percent"], lines, (1,), note))


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.2f}"


def examples(data: Dataset, label: str, seed: int) -> list[int]:
    """Rows of some images that hold a label, other ones for another seed; shown with all their labels."""
    rows = np.flatnonzero(data.labels[:, data.classes.index(label)])
    if len(rows) > EXAMPLES:
        rows = np.sort(np.random.default_rng(seed).choice(rows, EXAMPLES, replace=False))
    held = [", ".join(np.array(data.classes)[data.labels[row] > 0]) for row in rows]
    with st.container(key="examples"):  # a grid of style.css
        for row, text in zip(rows, held, strict=True):
            st.image(np.asarray(data.images[row]), text, width="stretch", alt=f"{data.names[row]}: {text}")
    return [int(row) for row in rows]


def augmented(name: str, root: str | None, data: Dataset, size: int, seed: int, rows: list[int]) -> None:
    """One of the images as evaluated and as augmented in training; drawn by another process."""
    chosen = st.selectbox("Image", [data.names[row] for row in rows], width=260)
    row = data.names.index(chosen)
    where = (data.key, size, seed, row)
    about = preview.status(*where)
    if about.state == "none":
        preview.start(name, root, *where)
        about = preview.status(*where)
    if about.state == "done":
        held = ", ".join(np.array(data.classes)[data.labels[row] > 0])
        path = str(preview.path(*where))
        st.image(path, width="stretch", alt=f"{data.names[row]} ({held}) and 7 augmented versions of it")
        st.caption("Left: as evaluated. The others: crops, flips, turns and colours as training draws them.")
    elif about.state == "failed":
        st.warning(f"The augmented versions could not be drawn: {about.error}")
        st.button("Draw again", on_click=preview.start, args=(name, root, *where))
    else:
        _drawing(where)


@st.fragment(run_every=EVERY)
def _drawing(where: tuple[str, int, int, int]) -> None:
    if preview.status(*where).state != "running":
        st.rerun()
    st.caption("Drawing the augmented versions …")
