"""The tables of the compare page, what may be concluded from each, where it comes from, and downloads."""

import re
from collections.abc import Iterable, Sequence

import streamlit as st

from app import cache
from app.compare import comparison
from app.compare.comparison import View
from app.kit import names
from app.kit.words import code, plain
from core import report
from core.data import DATASETS
from core.experiments.benchmark import Benchmark
from core.metrics import METRICS
from core.metrics.significance import conclusion, sentence
from core.report import Row

OPEN = 3  # tables that are open at first; the others are folded away below them
Blocks = Sequence[Sequence[Row]]


def show(found: Blocks, view: View) -> None:
    """All tables, the first ones open."""
    if view.by_method:
        st.html(comparison.methods(found, view))
        for rows in found:
            _below(rows, view, f"{comparison.title(rows, found)}, {comparison.protocol(rows)}")
    for index, rows in enumerate([] if view.by_method else found):
        if len(found) <= OPEN + 1 or index < OPEN:
            _one(rows, found, view, comparison.title(rows, found))
        else:
            with st.expander(plain(f"{comparison.title(rows, found)} · {rows[0].protocol}")):
                st.caption(plain(comparison.protocol(rows)))
                _one(rows, found, view, "")
    best = "best mean of its data set and protocol" if view.by_method else "best mean of its table"
    legend = (
        f"Bold: {best}; underlined: second. Grey: what a random order and a ranking by the "
        "Jaccard index itself reach."
    )
    if view.baseline:
        legend += (
            " Below each mean the difference to the baseline on common seeds, in points: ▲ better, ▼ worse "
            "(5 % level, Holm over the methods shown of its data set and protocol), ≈ cannot be told apart, "
            "? too few seeds in common."
        )
    st.caption(legend)


def _one(rows: Sequence[Row], all_blocks: Blocks, view: View, caption: str) -> None:
    st.html(comparison.block(rows, view, caption))
    _below(rows, view)
    if runs := comparison.of_one_seed(rows):
        name = plain(comparison.link(rows, all_blocks))
        with st.container(horizontal=True, gap="medium"):
            st.page_link(
                "../pages/retrieval.py", label=f"Images retrieved: {name}", query_params={"runs": runs}
            )
            st.page_link("../pages/train.py", label=f"Curves: {name}", query_params={"runs": runs})


def _below(rows: Sequence[Row], view: View, heading: str = "") -> None:
    """What may be concluded from one block, what to keep in mind, and where it comes from.

    Args:
        rows: One block.
        view: With its baseline and metric.
        heading: Title of the block, where no table of its own stands above.
    """
    if heading:
        st.markdown(f"**{plain(heading)}**")
    if view.baseline:
        _conclusions(rows, view)
    notes = provenance(rows, cache.benchmarks()[0])
    if lacking := report.missing(rows):
        notes.insert(0, plain(lacking))
    if view.paper:
        notes = [note for note in (plain(report.warning(list(rows))), *notes) if note]
    if notes:
        st.caption("  \n".join(notes))


def _conclusions(rows: Sequence[Row], view: View) -> None:
    """What may be concluded, in plain sentences."""
    compared = [
        (comparison.label(row), row.against[view.metric]) for row in rows if view.metric in row.against
    ]
    base = next((comparison.label(row) for row in rows if row.baseline), "")
    if not base:
        st.caption(f"{plain(view.baseline)} is not in this table.")
    elif compared:
        st.markdown(plain(conclusion(base, METRICS[view.metric], compared)))
        with st.expander(f"{METRICS[view.metric]}, method by method"):
            sentences = [plain(sentence(name, base, result)) for name, result in compared]
            st.markdown("\n".join(f"- {text}" for text in sentences))
            st.caption(
                "Cannot be told apart does not mean equal: more seeds may tell. The intervals are those of "
                "each comparison alone; the p-values count the methods shown in the table."
            )


def provenance(rows: Sequence[Row], benchmarks: Iterable[Benchmark]) -> list[str]:
    """Where the rows of a benchmark come from: command, date, versions, and notes about the data.

    Args:
        rows: One block.
        benchmarks: All of them.
    """
    ids = [result.id for row in rows for result in row.results]
    lines = []
    for benchmark in benchmarks:
        if not any(name.startswith(benchmark.prefix) for name in ids):
            continue
        facts = benchmark.about
        word = "Recorded" if benchmark.recorded else "Measured"
        versions = ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items())
        parts = [
            plain(f"{word} on {facts.get('made', 'an unknown day')}"),
            code(facts.get("command", "")),
            plain(versions),
        ]
        lines.append(" · ".join(filter(None, parts)))
        notes = list(facts.get("notes", ()))
        earlier = [command for command in facts.get("earlier", ()) if _covers(command, rows[0])]
        lines += [f"Part of it before · {code(command)}" for command in earlier]
        for part in facts.get("joined", ()):
            made, command = part.get("made", "an unknown day"), part.get("command", "")
            lines.append(f"Part of it on {plain(made)} elsewhere · {code(command)}")
            notes += [note for note in part.get("notes") or () if note not in notes]
        lines += [plain(note) for note in notes if _concerns(note, rows[0])]
    return lines


def _concerns(note: str, row: Row) -> bool:
    """Whether a note concerns this data set: it names this one, or names none."""
    own = names.dataset_title(row.results[0].config.dataset)
    others = [info.title for key, info in DATASETS.items() if info.title != own and key != "folder"]
    return own in note or not any(title in note for title in others)


def _covers(command: str, row: Row) -> bool:
    """Whether a `macl benchmark` command was for this data set; one that names none may have been."""
    match = re.search(r"--datasets (\S+)", command)
    return match is None or row.results[0].config.dataset in match[1].split(",")


def downloads(found: Blocks, view: View) -> None:
    """The numbers shown, as files: a table per data set and protocol, however the page groups them."""
    rows = [row for block in found for row in block]
    latex = report.to_latex(rows, view.paper)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for title, text, name, kind in (
            ("CSV", report.to_csv(rows, view.paper), "macl-lab-scores.csv", "text/csv"),
            ("LaTeX", latex, "macl-lab-scores.tex", "application/x-tex"),
            ("Markdown", report.to_markdown(rows, view.paper), "macl-lab-scores.md", "text/markdown"),
        ):
            help = "A table per data set and protocol." if view.by_method and title != "CSV" else None
            st.download_button(title, text, name, kind, on_click="ignore", help=help)
    with st.expander("What the metrics mean"):
        st.html(comparison.definitions())
    with st.expander("LaTeX to copy"):
        st.code(latex, language="latex")
