"""The comparison of finished runs: rows with mean ± std, as CSV, LaTeX, Markdown and text."""

from core.report.baseline import moved, named, pin
from core.report.files import aligned, cell, to_csv, to_latex, to_markdown, to_text
from core.report.paper import published, warning
from core.report.rows import (
    Result,
    Row,
    Value,
    blocks,
    dataset_name,
    fewer,
    flaw,
    method_name,
    protocol_name,
    read,
    summary,
)

__all__ = [
    "Result",
    "Row",
    "Value",
    "aligned",
    "blocks",
    "cell",
    "dataset_name",
    "fewer",
    "flaw",
    "method_name",
    "moved",
    "named",
    "pin",
    "protocol_name",
    "published",
    "read",
    "summary",
    "to_csv",
    "to_latex",
    "to_markdown",
    "to_text",
    "warning",
]
