"""CSV that a spreadsheet opens without running anything."""

import csv
import io

import pytest

from core.report.spreadsheet import harmless, to_csv


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r\n=1", "  =1"])
def test_a_formula_becomes_text(text: str) -> None:
    assert str(harmless(text)).startswith("'")


@pytest.mark.parametrize("text", ["-1.5", "+2", "-1e-3", "beach 01.tif", "a=b", ""])
def test_numbers_and_plain_texts_stay(text: str) -> None:
    assert harmless(text) == text


def test_rows_read_back_as_they_were() -> None:
    rows = [["name", "value"], ['a "quoted", one', 0.25], ["=SUM(A1)", 3], ["two\nlines", None]]
    read = list(csv.reader(io.StringIO(to_csv(rows))))
    assert read == [["name", "value"], ['a "quoted", one', "0.25"], ["'=SUM(A1)", "3"], ["two lines", ""]]
