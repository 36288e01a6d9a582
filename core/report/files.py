"""The comparison as a file: CSV, LaTeX, Markdown, and text for a terminal."""

import math
from collections.abc import Sequence

from core.metrics import METRICS
from core.report import spreadsheet
from core.report.cells import Cell, cells
from core.report.paper import published, warning
from core.report.rows import Row, blocks

LONG = 24  # characters; a longer method takes two lines
OTHERS = "Rows differ in their seeds and so in their test images."
TEST = "corrected resampled t-test over seeds, Holm, 5 %"


def to_csv(rows: list[Row], paper: bool = False) -> str:
    """One line per row; mean and std of every metric in percent with two decimals.

    With a pinned baseline also the difference in points, its 95 % interval, and the p-value after Holm. A
    missing value is an empty cell, so that columns stay numeric: no image can query, or the metric was not
    computed (the other formats say which).

    Args:
        rows: Rows in order.
        paper: Include the published values.
    """
    pinned = any(row.baseline for row in rows)
    parts = ["", "_std"]
    parts += ["_difference", "_low", "_high", "_p_holm"] if pinned else []
    parts += ["_published"] if paper else []
    head = ["dataset", "protocol", "method", "seeds", *(["baseline"] if pinned else [])]
    lines = [head + [f"{key}{part}" for key in METRICS for part in parts]]
    base = {id(row): _baseline(block) for block in blocks(rows) for row in block}
    for row in rows:
        line = [row.dataset, row.protocol, row.name, " ".join(map(str, row.seeds))]
        line += [base[id(row)]] if pinned else []
        line += [text for cell in cells(row).values() for text in _csv(cell, pinned, paper)]
        lines.append(line)
    return spreadsheet.to_csv(lines)


def _csv(cell: Cell, pinned: bool, paper: bool) -> list[str]:
    """A cell as columns of numbers, empty if there is no value for whatever reason."""
    columns = [cell.mean, cell.spread]
    if pinned:
        test = cell.against.test if cell.against else None
        columns += [test.mean, test.low, test.high] if test else [None] * 3
    texts = [_decimals(value) for value in columns]
    if pinned:
        holm = cell.against.holm if cell.against else math.nan
        texts.append("" if math.isnan(holm) else f"{holm:.2g}")
    return [*texts, _decimals(cell.published)] if paper else texts


def to_latex(rows: list[Row], paper: bool = False) -> str:
    """A whole table (booktabs) per data set and protocol; best bold, second underlined, + and − significant.

    Args:
        rows: Rows in order.
        paper: Include the published values.
    """
    return "\n".join(_latex(block, paper) for block in blocks(rows))


def _latex(block: list[Row], paper: bool) -> str:
    seeds = sorted({seed for row in block for seed in row.seeds})
    over = f"seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"seed {seeds[0]}"
    name, base = f"{' '.join(block[0].dataset.split())}, {block[0].protocol}", _baseline(block)
    over_seeds = "the seeds given ($n$)" if _differ(block) else over
    caption = f"{_tex(name)}: percent, " + (
        f"mean and standard deviation over {over_seeds}." if len(seeds) > 1 else f"{over}."
    )
    caption += f" {OTHERS}" if _differ(block) else ""
    caption += r" Best mean bold, second underlined."
    if base:
        caption += rf" $^{{+}}$ better, $^{{-}}$ worse than {_tex(base)} ({_tex(TEST)}).{_family(block)}"
    # long names wrap, so that the table fits between the margins
    first = "l" if max(len(_method(row, block)) for row in block) <= LONG else "p{31mm}"
    lines = [
        f"% {name}, {over}; needs \\usepackage{{booktabs}}",
        r"\begin{table*}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{{first}" + "r" * len(METRICS) + "}",
        r"\toprule",
        " & ".join(["Method", *(_head(title) for title in METRICS.values())]) + r" \\",
        r"\midrule",
    ]
    for row in block:
        lines.append(" & ".join([_tex(_method(row, block)), *map(_latex_cell, cells(row).values())]) + r" \\")
        if paper and published(row):
            lines.append(" & ".join([r"\quad published", *_published(row)]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if note := _caution(block, paper):
        lines.append(rf"\par\smallskip\parbox{{\textwidth}}{{{_tex(note)}}}")
    lines.append(r"\end{table*}")
    return "\n".join(lines) + "\n"


def _latex_cell(cell: Cell) -> str:
    mean, _, spread = cell.text.replace("–", "--").partition(" ± ")
    marks = {1: rf"\textbf{{{mean}}}", 2: rf"\underline{{{mean}}}"}
    sign = {"better": "$^{+}$", "worse": "$^{-}$"}.get(cell.verdict, "")
    return marks.get(cell.rank, mean) + sign + (rf"{{\scriptsize$\,\pm\,${spread}}}" if spread else "")


def _head(title: str) -> str:
    """Title of a column on two lines, so that the table fits the page."""
    name, at, cut = title.partition("@")
    return rf"\shortstack[r]{{{_tex(name)}\\{_tex(at + cut)}}}"


def to_text(rows: list[Row]) -> str:
    """Aligned columns for a terminal; * best, ' second; + and − significant against the baseline."""
    head = ["data set", "protocol", "method", "seeds", *METRICS.values()]
    lines = [head]
    pinned = any(row.baseline for row in rows)
    for row in rows:
        values = [_text(cell, pinned) for cell in cells(row).values()]
        lines.append([row.dataset, row.protocol, row.name, str(len(row.seeds)), *values])
    return aligned(lines, left=4)


def _text(cell: Cell, pinned: bool) -> str:
    mark = {1: "*", 2: "'"}.get(cell.rank, " ")
    sign = {"better": "+", "worse": "−"}.get(cell.verdict, " ") if pinned else ""
    return cell.text + mark + sign


def aligned(lines: Sequence[Sequence[str]], left: int) -> str:
    """Lines of cells in aligned columns; the first `left` ones flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = []
    for line in lines:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        texts.append("  ".join(cells).rstrip())
    return "\n".join(texts)


def to_markdown(rows: list[Row], paper: bool = False) -> str:
    """A table per data set and protocol; best bold, second in italics; + and − significant.

    Args:
        rows: Rows in order.
        paper: Include the published values.
    """
    parts = []
    for block in blocks(rows):
        lines = [f"{block[0].dataset}, {block[0].protocol}", ""]
        lines.append("| " + " | ".join(["method", *METRICS.values()]) + " |")
        lines.append("|---" + "|---:" * len(METRICS) + "|")
        for row in block:
            line = [_line(_method(row, block)), *map(_markdown, cells(row).values())]
            lines.append("| " + " | ".join(line) + " |")
            if paper and published(row):
                lines.append("| " + " | ".join(["– published", *_published(row)]) + " |")
        if _differ(block):
            lines += ["", f"Mean ± standard deviation over the seeds given (n). {OTHERS}"]
        if base := _baseline(block):
            lines += ["", f"Superscript + better, − worse than {_line(base)} ({TEST}).{_family(block)}"]
        if note := _caution(block, paper):
            lines += ["", note]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _markdown(cell: Cell) -> str:
    mark = {1: "**", 2: "*"}.get(cell.rank, "")
    sign = {"better": "<sup>+</sup>", "worse": "<sup>−</sup>"}.get(cell.verdict, "")
    return f"{mark}{cell.text}{mark}{sign}"


def _baseline(block: list[Row]) -> str:
    return next((row.name for row in block if row.baseline), "")


def _differ(block: list[Row]) -> bool:
    return len({row.seeds for row in block}) > 1


def _method(row: Row, block: list[Row]) -> str:
    """Name of a row, with its number of seeds if the rows of its block differ in them."""
    return f"{row.name} (n = {len(row.seeds)})" if _differ(block) else row.name


def _caution(block: list[Row], paper: bool) -> str:
    """A caution about the published values of a table; empty if it shows none."""
    return warning(block) if paper and any(published(row) for row in block) else ""


def _published(row: Row) -> list[str]:
    return [_decimals(cell.published) for cell in cells(row).values()]


def _family(block: list[Row]) -> str:
    """The number of comparisons that Holm corrects for, in words: those of the rows of the table."""
    counts = sorted(
        {comparison.family for row in block for comparison in row.against.values() if comparison.family}
    )
    if not counts:
        return ""
    span = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return f" Holm over {span} comparison{'s' if counts[-1] > 1 else ''} a metric."


def _line(text: str) -> str:
    """The text on one line, safe in a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _decimals(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.2f}"


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "ε": r"$\varepsilon$",
    "τ": r"$\tau$",
}
_KNOWN_TO_LATEX = 0x180  # pdflatex stops at letters beyond Latin unless a package declares them


def _tex(text: str) -> str:
    return "".join(rf"\{c}" if c in "&%$#_{}" else _TEX.get(c, _letter(c)) for c in text)


def _letter(c: str) -> str:
    return c if 0x20 <= ord(c) < _KNOWN_TO_LATEX and not 0x7F <= ord(c) < 0xA0 else "?"
