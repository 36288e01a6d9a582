"""The comparison as HTML: one table of the 7 metrics per data set and protocol."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from app.kit import names, palette
from app.kit.palette import CHANCE_COLOR, ORACLE_COLOR, loss_color
from app.kit.tables import Line, marked, page, table, value
from core.metrics import METRICS
from core.metrics.significance import Comparison, p_value
from core.report import Cell, Row, blocks, cells, moved, named, pin
from core.runs import PRESETS

DEFINITIONS = {
    "map_sim": "mean average precision over the first 5,000; relevant: at least one shared label (eq. 11)",
    "ndcg_sim": "gain 2^(number of shared labels) − 1, discount 1/log2(1 + rank), first 100 results, "
    "relative to the best order of the whole gallery (eq. 12)",
    "map_easy": "mean average precision over all; relevant: Jaccard index of the labels ≥ 0.4 (eq. 14)",
    "map_medium": "the same for Jaccard ≥ 0.6",
    "map_hard": "the same for Jaccard ≥ 0.8",
    "ndcg": "gain 2^Jaccard − 1, otherwise as nDCG(sim) (eqs. 15–17)",
    "wap": "at each relevant rank the mean Jaccard index so far, averaged over the relevant among the first "
    "100 (eq. 18); the oracle is no bound here: an exact match followed by irrelevant images scores higher",
}
DEFAULT = "map_easy"
SIGNS = {  # verdict of a comparison with the baseline: mark and words
    "better": ("▲", "better"),
    "worse": ("▼", "worse"),
    "same": ("≈", "cannot be told apart"),
    "unknown": ("?", "too few seeds in common"),
}
STYLE = """<style>
.macl .against, .macl .published { display: block; font-size: .92em; font-weight: 400; }
.macl .better { color: color-mix(in srgb, #0f8a5f 62%, currentColor); font-weight: 600; }
.macl .worse { color: color-mix(in srgb, #c7402d 62%, currentColor); font-weight: 600; }
.macl .same, .macl .unknown, .macl .published { opacity: .75; }
.macl .published { font-style: italic; }
</style>"""
_REFERENCES = {"chance": CHANCE_COLOR, "oracle": ORACLE_COLOR}
NUMBERS = range(1, len(METRICS) + 2)  # columns
WIDTHS = [17.5, 5.5, *([77 / len(METRICS)] * len(METRICS))]  # of the columns, percent


@dataclass(frozen=True)
class View:
    """How a person wants to see the comparison.

    Attributes:
        metric: Key of the metric that order, sentences and figures go by.
        best_first: Rows by that metric instead of in the order of the losses.
        by_method: One table per method instead of one per data set and protocol.
        baseline: Label of the row to compare with; empty for none.
        paper: Whether the published values are shown.
    """

    metric: str = DEFAULT
    best_first: bool = False
    by_method: bool = False
    baseline: str = ""
    paper: bool = False


def definitions() -> str:
    """What the columns mean, as HTML."""
    terms = "".join(
        f"<dt>{escape(METRICS[key])}</dt><dd>{escape(text)}</dd>" for key, text in DEFINITIONS.items()
    )
    return page(f"<dl>{terms}</dl>")


def ordered(rows: Sequence[Row]) -> list[list[Row]]:
    """Blocks of `report.summary`: a person's own first, the demo set and special studies last."""

    def sort_key(rows: Sequence[Row]) -> tuple[bool, bool, int, bool]:
        first = rows[0].results[0]
        preset = list(PRESETS).index(first.config.preset)
        return _all_recorded(rows), bool(first.study), preset, rows[0].dataset == "demo"

    return sorted(blocks(rows), key=sort_key)


def arranged(rows: Sequence[Row], view: View) -> list[list[Row]]:
    """Blocks in the order of the page, with their rows in the order of the view and the baseline pinned."""
    arranged_blocks = []
    for block in ordered(rows):
        base = named(block, view.baseline)
        block = pin(block, base) if base else block
        if view.best_first:
            rank = {"chance": 2, "oracle": 0}  # descending, the two references included
            block = sorted(
                block,
                key=lambda row: (rank.get(row.loss, 1), -row.values.get(view.metric, (-1.0, None))[0]),
            )
        arranged_blocks.append(block)
    return arranged_blocks


def by_method(found: Sequence[Sequence[Row]]) -> dict[str, list[Row]]:
    """The rows of all blocks by method: how each does on every data set."""
    parts: dict[str, list[Row]] = {}
    for row in sorted((row for rows in found for row in rows), key=lambda row: row.reference):
        parts.setdefault(label(row).removesuffix(", recorded"), []).append(row)
    return parts


def block(rows: Sequence[Row], view: View, caption: str = "") -> str:
    """The table of one data set and protocol.

    Args:
        rows: One block of `arranged`.
        view: What is marked in it.
        caption: Title above the table; empty for none.
    """
    noted = not _all_recorded(rows)  # where everything is recorded, the caption says so once
    lines = [_line(row, _method(row, noted), view) for row in rows]
    return _page(table(caption, _heads("Method", view), lines, NUMBERS, protocol(rows), WIDTHS))


def methods(found: Sequence[Sequence[Row]], view: View) -> str:
    """A table per method, with a row per data set and protocol."""
    return _page(*(_of_method(name, rows, view, found) for name, rows in by_method(found).items()))


def _of_method(name: str, rows: Sequence[Row], view: View, all_blocks: Sequence[Sequence[Row]]) -> str:
    lines = []
    for row in rows:
        notes = [row.protocol, *_notes(row)]
        first = f'{escape(title([row], all_blocks))} <span class="note">{escape(", ".join(notes))}</span>'
        lines.append(_line(row, first, view))
    return table(name, _heads("Data set", view), lines, NUMBERS, "", WIDTHS)


def link(rows: Sequence[Row], found: Sequence[Sequence[Row]]) -> str:
    """A short name of a block: its data set, and its protocol where that alone is not enough."""
    titles, own = [title(other, found) for other in found], title(rows, found)
    return own if titles.count(own) == 1 else f"{own}, {rows[0].protocol}"


def title(rows: Sequence[Row], found: Sequence[Sequence[Row]] = ()) -> str:
    """Data set of a block; the folder's name where it is the person's own.

    Args:
        rows: The block.
        found: All blocks: of folders with one name, as much of the path as tells them apart is given.
    """
    config = rows[0].results[0].config
    if config.dataset != "folder" or not config.data_root:
        return names.dataset_title(config.dataset)
    configs = [block[0].results[0].config for block in found]
    others = [Path(c.data_root).parts for c in configs if c.dataset == "folder" and c.data_root]
    parts = Path(config.data_root).parts
    others = [other for other in others if other != parts]
    length = 1
    while length < len(parts) and any(other[-length:] == parts[-length:] for other in others):
        length += 1
    return f"{names.dataset_title(config.dataset)} {Path(*parts[-length:])}"


def protocol(rows: Sequence[Row]) -> str:
    """Preset and changes, seeds, sizes and device: what a reader needs to trust the numbers."""
    results = [result for row in rows for result in row.results]
    seeds = sorted({seed for row in rows for seed in row.seeds})
    images = sorted({int(result.scores["images"]) for result in results if result.scores.get("images")})
    devices = sorted({str(result.scores["device"]) for result in results if "device" in result.scores})
    several = len(seeds) > 1
    parts = ["recorded"] if _all_recorded(rows) else []
    parts += [rows[0].protocol, f"{_seeds(seeds)}: mean ± std" if several else _seeds(seeds)]
    if images:
        parts.append(f"{'–'.join(str(n) for n in sorted({images[0], images[-1]}))} test images")
    if devices:
        parts.append("; ".join(devices))
    if len({row.seeds for row in rows}) > 1:
        parts.append("rows differ in their seeds and so in their test images")
    if changed := moved(rows):
        parts.append(f"the data changed between the rows: other test images at {_seeds(changed)}")
    return " · ".join(parts)


def of_one_seed(rows: Sequence[Row]) -> list[str]:
    """Runs to look at side by side: those of the seed that most rows have; each seed has its own test split.

    Empty where no run folder is behind the rows.
    """
    results = [result for row in rows if not row.reference for result in row.results if result.folder]
    counts = Counter(result.config.seed for result in results)
    seed = min(counts, key=lambda seed: (-counts[seed], seed), default=0)
    return [result.id for result in results if result.config.seed == seed]


def label(row: Row) -> str:
    """Method of a row in words, parameters by their symbols."""
    if row.reference:
        return row.method
    return names.method(row.results[0].config) + row.name.removeprefix(row.method)


def color(row: Row) -> str:
    """Colour of a row on every figure."""
    return _REFERENCES.get(row.loss) or loss_color(row.loss, row.results[0].config.params)


def swatch(row: Row) -> str:
    """The same colour as a CSS background, striped for a variant of a loss."""
    return _REFERENCES.get(row.loss) or palette.swatch(row.loss, row.results[0].config.params)


def symbol(row: Row) -> str:
    """Shape of a method's dots on every figure."""
    return palette.symbol(row.loss, row.results[0].config.params)


def _page(*parts: str) -> str:
    return page(STYLE, *parts)


def _heads(first: str, view: View) -> list[str]:
    heads = []
    for key in METRICS:
        words = escape(METRICS[key]).replace(" ", "&nbsp;").replace("@", "<wbr>@")
        falls = view.best_first and key == view.metric
        arrow = '<span aria-hidden="true">▾ </span><span class="unseen">best first: </span>' if falls else ""
        text = f'<abbr title="{escape(DEFINITIONS[key])}" style="text-decoration:none">{words}</abbr>'
        heads.append(arrow + text)
    return [first, "Seeds", *heads]


def _line(row: Row, first: str, view: View) -> Line:
    values = [value(cell) + _against(cell.against) + _published(cell, view) for cell in cells(row).values()]
    return Line([first, str(len(row.seeds)), *values], row.reference)


def _all_recorded(rows: Sequence[Row]) -> bool:
    return all(result.recorded for row in rows for result in row.results)


def _method(row: Row, noted: bool) -> str:
    notes = [note for note in _notes(row) if noted or note != "recorded"]
    note = f' <span class="note">{", ".join(notes)}</span>' if notes else ""
    return marked(swatch(row), escape(label(row).removesuffix(", recorded")) + note)


def _notes(row: Row) -> list[str]:
    return [word for word, holds in (("recorded", row.recorded), ("baseline", row.baseline)) if holds]


def _against(comparison: Comparison | None) -> str:
    """The difference with its mark; pointing at it shows interval and p-value."""
    if comparison is None:
        return ""
    sign, words = SIGNS[comparison.verdict]
    if not comparison.seeds:
        return f'<span class="against unknown" title="{escape(comparison.lack)}">–</span>'
    tooltip = f"{words}; seeds in common: {len(comparison.seeds)}"
    if comparison.verdict != "unknown":
        interval = f"{comparison.test.low:+.2f} to {comparison.test.high:+.2f}"
        tooltip += f"; 95 % interval {interval}, {p_value(comparison.holm)} after Holm"
    points = f"{comparison.test.mean:+.2f}".replace("-", "−")
    return (
        f'<span class="against {escape(comparison.verdict)}" title="{escape(tooltip)}">'
        f'<span aria-hidden="true">{sign}</span> {points}<span class="unseen"> {words}</span></span>'
    )


def _published(cell: Cell, view: View) -> str:
    visible = view.paper and cell.published is not None
    return f'<span class="published">paper {cell.published:.2f}</span>' if visible else ""


def _seeds(seeds: Sequence[int]) -> str:
    return f"seeds {_span(seeds)}" if len(seeds) > 1 else f"seed {seeds[0]}"


def _span(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))
