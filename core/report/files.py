"""The comparison as a file: CSV, LaTeX, Markdown, and text for a terminal."""

import csv
import io

from core.metrics import METRICS
from core.report.rows import Row, blocks


def to_csv(rows: list[Row]) -> str:
    """One line per row; mean and std of every metric in percent with two decimals."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    head = ["dataset", "protocol", "method", "seeds"]
    writer.writerow(head + [f"{key}{part}" for key in METRICS for part in ("", "_std")])
    for row in rows:
        cells = [row.dataset, row.protocol, row.method, " ".join(map(str, row.seeds))]
        for key in METRICS:
            mean, spread = row.values.get(key, (None, None))
            cells += ["" if mean is None else f"{mean:.2f}", "" if spread is None else f"{spread:.2f}"]
        writer.writerow([_harmless(cell) for cell in cells])
    return file.getvalue()


def to_latex(rows: list[Row]) -> str:
    """A booktabs table per data set and protocol; best bold, second underlined."""
    parts = []
    for block in blocks(rows):
        seeds = sorted({seed for row in block for seed in row.seeds})
        lines = [
            f"% {' '.join(block[0].dataset.split())}, {block[0].protocol}; percent, mean and standard "
            f"deviation over seeds {', '.join(map(str, seeds))}; needs booktabs",
            r"\begin{tabular}{l" + "r" * len(METRICS) + "}",
            r"\toprule",
            " & ".join(["Method", *(_tex(title) for title in METRICS.values())]) + r" \\",
            r"\midrule",
        ]
        for row in block:
            cells = [_tex(row.method)]
            for key in METRICS:
                text = cell(row, key).replace("±", r"$\pm$").replace("–", "--")
                cells.append(
                    {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(row.rank.get(key, 0), text)
                )
            lines.append(" & ".join(cells) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def to_text(rows: list[Row]) -> str:
    """Aligned columns for a terminal; * best, ' second."""
    head = ["data set", "protocol", "method", "seeds", *METRICS.values()]
    lines = [head]
    for row in rows:
        marks = {1: "*", 2: "'"}
        cells = [cell(row, key) + marks.get(row.rank.get(key, 0), " ") for key in METRICS]
        lines.append([row.dataset, row.protocol, row.method, str(len(row.seeds)), *cells])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    texts = []
    for line in lines:
        left = [cell.ljust(width) for cell, width in zip(line[:4], widths[:4], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(line[4:], widths[4:], strict=True)]
        texts.append("  ".join(left + right).rstrip())
    return "\n".join(texts)


def to_markdown(rows: list[Row]) -> str:
    """A table per data set and protocol; best bold, second in italics."""
    parts = []
    for block in blocks(rows):
        lines = [f"{block[0].dataset}, {block[0].protocol}", ""]
        lines.append("| " + " | ".join(["method", *METRICS.values()]) + " |")
        lines.append("|---" + "|---:" * len(METRICS) + "|")
        for row in block:
            marks = {1: "**", 2: "*"}
            cells = [f"{(m := marks.get(row.rank.get(key, 0), ''))}{cell(row, key)}{m}" for key in METRICS]
            method = " ".join(row.method.split()).replace("|", "\\|")
            lines.append("| " + " | ".join([method, *cells]) + " |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def cell(row: Row, key: str) -> str:
    """What a table shows: mean ± standard deviation in percent, two decimals; the mean alone for one seed."""
    if key not in row.values:
        return "–"
    mean, spread = row.values[key]
    return f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.2f}"


def _harmless(cell: str) -> str:
    """One line; a cell that a spreadsheet would take for a formula gets a leading apostrophe."""
    cell = " ".join(cell.split())
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") and not _number(cell) else cell


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def _tex(text: str) -> str:
    return "".join(rf"\{c}" if c in "&%$#_{}" else _TEX.get(c, c) for c in text)
