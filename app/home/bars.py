"""One metric of several methods as bars in HTML, between chance and oracle; screen readers get a table."""

from collections.abc import Sequence
from html import escape

from app.compare.comparison import label, swatch
from core.metrics import METRICS
from core.report import Cell, Row, cell
from core.report.cells import NO_QUERY

STYLE = """<style>
.bars table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
.bars th, .bars td { padding: .22rem 0; border: 0; text-align: left; font-weight: 500; white-space: nowrap; }
.bars th { padding-right: 1rem; width: 1%; }
.bars .track { background: color-mix(in srgb, currentColor 7%, transparent); border-radius: 2px; }
.bars .bar { height: 1.05rem; border-radius: 2px; }
.bars .value { text-align: right; padding-left: .8rem; width: 1%; }
.bars .best { font-weight: 700; }
.bars .grey > * { color: color-mix(in srgb, currentColor 75%, transparent); font-style: italic; }
</style>"""


def bars(rows: Sequence[Row], key: str) -> str:
    """The rows of one block in their order, 0 to 100 percent.

    Args:
        rows: One block of `report.summary`.
        key: Of the metric.
    """
    lines = "".join(_line(row, cell(row, key)) for row in rows)
    # the style stands inside the <div>: the sanitiser drops one that comes first
    return (
        f'<div class="bars">{STYLE}<table aria-label="{escape(METRICS[key])}, percent">{lines}</table></div>'
    )


def _line(row: Row, score: Cell) -> str:
    if score.lack == NO_QUERY:
        return ""
    grey = ' class="grey"' if row.reference else ""
    best = " best" if score.rank == 1 else ""
    bar = f'<div class="bar" style="width:{score.mean or 0:.1f}%;background:{swatch(row)}"></div>'
    value = escape(score.value) if score.mean is None else f"{score.mean:.1f} %"
    return (
        f'<tr{grey}><th scope="row">{escape(label(row))}</th><td><div class="track">{bar}</div></td>'
        f'<td class="value{best}">{value}</td></tr>'
    )
