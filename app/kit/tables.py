"""Small HTML tables in the app's own look, with marks and swatches that st.dataframe cannot draw.

Colours come from the text colour of the theme, so that one style sheet serves light and dark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from core.report import NOT_COMPUTED, Cell

STYLE = """<style>
.macl { overflow-x: auto; position: relative; }
.macl table { border-collapse: collapse; width: 100%; font-size: .84rem; line-height: 1.3;
  font-variant-numeric: tabular-nums; }
.macl table.fixed { table-layout: fixed; min-width: 47rem; }
.macl table + table { margin-top: 1.6rem; }
.macl dl { font-size: .84rem; line-height: 1.4; margin: .9rem 0 0; padding: 0; display: grid;
  gap: .1rem .9rem; grid-template-columns: max-content minmax(0, 1fr); }
.macl dt { font-weight: 600; }
.macl dd { margin: 0; opacity: .85; max-width: 70rem; }
.macl caption { text-align: left; font-weight: 600; font-size: 1rem; padding: 0 0 .4rem; color: inherit; }
.macl caption small { font-weight: 400; opacity: .75; margin-left: .5rem; }
.macl th, .macl td { padding: .28rem .4rem; border: 0; text-align: left; vertical-align: baseline; }
.macl thead th { font-weight: 600; vertical-align: bottom; border-bottom: 1px solid
  color-mix(in srgb, currentColor 55%, transparent); }
.macl thead tr:first-child th { border-top: 2px solid color-mix(in srgb, currentColor 70%, transparent); }
.macl tbody tr:last-child > * { border-bottom: 2px solid color-mix(in srgb, currentColor 70%, transparent); }
.macl tbody th { font-weight: 500; }
.macl .marked { padding-left: 1.2rem; text-indent: -1.2rem; }
.macl tbody tr:hover > * { background: color-mix(in srgb, currentColor 6%, transparent); }
.macl .number { text-align: right; white-space: nowrap; }
.macl thead .number, .macl .number .note { white-space: normal; }
.macl .spread { opacity: .8; font-size: .92em; font-weight: 400; }
.macl .second { text-decoration: underline; text-underline-offset: .2em; }
.macl .grey > * { color: color-mix(in srgb, currentColor 78%, transparent); font-style: italic;
  background: color-mix(in srgb, currentColor 4%, transparent); }
.macl .grey .spread { opacity: 1; }
.macl .swatch { display: inline-block; width: .7rem; height: .7rem; border-radius: 2px; margin-right: .5rem; }
.macl .note { opacity: .75; font-size: .92em; }
.macl code { font-size: .92em; }
.macl .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
</style>"""


@dataclass(frozen=True)
class Line:
    """One row: cells as HTML, the first is its header; `grey` for rows to compare with."""

    cells: Sequence[str]
    grey: bool = False


def page(*parts: str) -> str:
    """Tables and other HTML for one `st.html`, with the style sheet in front."""
    # the style stands inside the <div>: the sanitiser drops one that comes first
    return f'<div class="macl">{STYLE}{"".join(parts)}</div>'


def table(
    caption: str,
    head: Sequence[str],
    lines: Sequence[Line],
    numbers: Sequence[int],
    note: str = "",
    widths: Sequence[float] = (),
) -> str:
    """A table with caption and row and column headers.

    Args:
        caption: Plain text; empty under a heading that says the same.
        head: Column titles, HTML.
        lines: Rows.
        numbers: Columns that hold numbers.
        note: Plain text beside the caption.
        widths: Of the columns in percent, so that tables below each other line up; none: as the text needs.
    """
    kind = [' class="number"' if i in numbers else "" for i in range(len(head))]
    top = "".join(f'<th scope="col"{c}>{title}</th>' for title, c in zip(head, kind, strict=True))
    body = "".join(_line(line, kind) for line in lines)
    aside = f"<small>{escape(note)}</small>" if note else ""
    columns = "".join(f'<col style="width:{width:.2f}%">' for width in widths)
    top_line = f"<caption>{escape(caption)}{aside}</caption>" if caption else ""
    fixed = ' class="fixed"' if widths else ""
    return f"<table{fixed}>{top_line}{columns}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def value(cell: Cell) -> str:
    """A metric with its spread; best and second are marked, and why there is none is said."""
    if cell.mean is None:
        if cell.lack == NOT_COMPUTED:
            return f'<span class="note">{NOT_COMPUTED}</span>'
        return f'<span aria-label="no value">{escape(cell.lack)}</span>'
    text = escape(cell.value)
    if cell.rank == 1:
        text = f'<strong>{text}<span class="unseen"> best</span></strong>'
    elif cell.rank == 2:
        text = f'<span class="second">{text}<span class="unseen"> second</span></span>'
    notes = escape(cell.text.removeprefix(cell.value).strip())
    return f'{text} <span class="spread">{notes}</span>' if notes else text


def marked(color: str, html: str) -> str:
    """A name behind a square of its colour, silent for screen readers; further lines are indented."""
    square = f'<span class="swatch" style="background:{escape(color)}" aria-hidden="true"></span>'
    return f'<div class="marked">{square}{html}</div>'


def _line(line: Line, kind: Sequence[str]) -> str:
    first, *rest = line.cells
    cells = "".join(f"<td{c}>{cell}</td>" for cell, c in zip(rest, kind[1:], strict=True))
    grey = ' class="grey"' if line.grey else ""
    return f'<tr{grey}><th scope="row"{kind[0]}>{first}</th>{cells}</tr>'
