"""The comparison as HTML: one table of the 7 metrics per data set and protocol."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

from app import names
from app.palette import CHANCE_COLOR, ORACLE_COLOR, loss_color
from app.tables import Line, marked, page, table
from core.metrics import METRICS
from core.report import Row, blocks

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
WIDTHS = [17.5, 5.5, *([77 / len(METRICS)] * len(METRICS))]  # of the columns, percent


def tables(found: Sequence[Sequence[Row]]) -> str:
    """All blocks of `report.summary` as HTML."""
    return page(*(block(rows) for rows in found))


def definitions() -> str:
    """What the columns mean, as HTML."""
    terms = "".join(
        f"<dt>{escape(METRICS[key])}</dt><dd>{escape(text)}</dd>" for key, text in DEFINITIONS.items()
    )
    return page(f"<dl>{terms}</dl>")


def ordered(rows: Sequence[Row]) -> list[list[Row]]:
    """Blocks of `report.summary`: a person's own before those that are recorded or of the demo set."""
    return sorted(blocks(rows), key=lambda rows: (_all_recorded(rows), rows[0].dataset == "demo"))


def links(found: Sequence[Sequence[Row]]) -> list[str]:
    """A short name of each block: its data set, and its preset where that alone is not enough."""
    titles = [title(rows) for rows in found]
    return [
        name if titles.count(name) == 1 else f"{name}, {rows[0].protocol}"
        for name, rows in zip(titles, found, strict=True)
    ]


def block(rows: Sequence[Row]) -> str:
    """The table of one data set and protocol.

    Args:
        rows: One block of `report.summary`.
    """
    head = ["Method", "Seeds"]
    head += [_head(key) for key in METRICS]
    lines = [
        Line([_method(row), str(len(row.seeds)), *(_value(row, key) for key in METRICS)], row.reference)
        for row in rows
    ]
    return table(title(rows), head, lines, range(1, len(head)), protocol(rows), WIDTHS)


def title(rows: Sequence[Row]) -> str:
    """Data set of a block; the folder's name where it is the person's own."""
    config = rows[0].results[0].config
    own = f" {Path(config.data_root).name}" if config.dataset == "folder" and config.data_root else ""
    return names.dataset_title(config.dataset) + own


def protocol(rows: Sequence[Row]) -> str:
    """Preset and changes, seeds, sizes and device: what a reader needs to trust the numbers."""
    results = [result for row in rows for result in row.results]
    seeds = sorted({seed for row in rows for seed in row.seeds})
    images = sorted({int(result.scores["images"]) for result in results if "images" in result.scores})
    devices = sorted({str(result.scores["device"]) for result in results if "device" in result.scores})
    many = len(seeds) > 1
    parts = [rows[0].protocol, f"seeds {_span(seeds)}: mean ± std" if many else f"seed {seeds[0]}"]
    if images:
        parts.append(f"{'–'.join(str(n) for n in sorted({images[0], images[-1]}))} test images")
    if devices:
        parts.append("; ".join(devices))
    if len({row.seeds for row in rows}) > 1:
        parts.append("rows differ in their seeds and so in their test images")
    return " · ".join(parts)


def of_one_seed(rows: Sequence[Row]) -> list[str]:
    """Runs to look at side by side: those of the seed that most rows have; a seed has its own test split."""
    methods = [row for row in rows if not row.reference]
    count = Counter(seed for row in methods for seed in row.seeds)
    seed = min(count, key=lambda seed: (-count[seed], seed))
    return [result.id for row in methods for result in row.results if result.config.seed == seed]


def label(row: Row) -> str:
    """Method of a row in words, parameters by their symbols."""
    return row.method if row.reference else names.method(row.results[0].config)


def color(row: Row) -> str:
    """Colour of a row on every figure."""
    return {"chance": CHANCE_COLOR, "oracle": ORACLE_COLOR}.get(row.loss) or loss_color(row.loss)


def _head(key: str) -> str:
    words = escape(METRICS[key]).replace(" ", "&nbsp;").replace("@", "<wbr>@")
    return f'<abbr title="{escape(DEFINITIONS[key])}" style="text-decoration:none">{words}</abbr>'


def _all_recorded(rows: Sequence[Row]) -> bool:
    return all(result.recorded for row in rows for result in row.results)


def _method(row: Row) -> str:
    recorded = not row.reference and _all_recorded([row])
    note = ' <span class="note">recorded</span>' if recorded else ""
    return marked(color(row), escape(label(row)) + note)


def _value(row: Row, key: str) -> str:
    if key not in row.values:
        return '<span aria-label="no value">–</span>'
    mean, spread = row.values[key]
    text = f"{mean:.2f}"
    if row.rank.get(key) == 1:
        text = f'<strong>{text}<span class="unseen"> best</span></strong>'
    elif row.rank.get(key) == 2:
        text = f'<span class="second">{text}<span class="unseen"> second</span></span>'
    return text if spread is None else f'{text} <span class="spread">± {spread:.2f}</span>'


def _span(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))
