"""The comparison of finished runs: rows of mean ± std, as CSV, LaTeX, Markdown and text."""

from core.report.baseline import moved, named, pin
from core.report.cells import NOT_COMPUTED, Cell, cell, cells, lack, missing, single
from core.report.files import aligned, to_csv, to_latex, to_markdown, to_text
from core.report.paper import published, warning
from core.report.rows import (
    Result,
    Row,
    Value,
    blocks,
    dataset_name,
    flaw,
    method_name,
    protocol_name,
    read,
    summary,
)

__all__ = [
    "NOT_COMPUTED",
    "Cell",
    "Result",
    "Row",
    "Value",
    "aligned",
    "blocks",
    "cell",
    "cells",
    "dataset_name",
    "flaw",
    "lack",
    "method_name",
    "missing",
    "moved",
    "named",
    "pin",
    "protocol_name",
    "published",
    "read",
    "single",
    "summary",
    "to_csv",
    "to_latex",
    "to_markdown",
    "to_text",
    "warning",
]
