"""Tables of text as rows: small ones whole, of large ones the rows that name an image."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import mode
from typing import IO, Any

from core.data.encoding import OLD, find_encoding
from core.data.image_names import ImageNames
from core.data.source import File
from core.errors import MaclError

DELIMITERS = ",;\t|"
SAMPLE = 200  # rows that tell what separates the columns
WHOLE = 8 << 20  # bytes of a text that is read whole, so that every fault in it can be named
MOST_ROWS = 2_000_000  # that name an image
MOST_COLUMNS = 20_000
MOST_CELLS = 50_000_000
BLOCK = 1 << 20

Row = tuple[int, list[str]]  # its number, as editors and spreadsheets count, and its cells


@dataclass(frozen=True)
class Rows:
    """The rows of a table, its header first if it has one.

    Attributes:
        rows: All rows; of a large table the first one and those that name an image.
        delimiter: Between two columns of a text; empty for another kind of table.
        left_out: Rows of a large table that name no image.
        notes: What was guessed on the way.
        problems: What must be mended first.
    """

    rows: list[Row]
    delimiter: str = ""
    left_out: int = 0
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def decode_text(data: bytes) -> str:
    """Text in the encoding that `find_encoding` finds."""
    return data.decode(find_encoding([data]), errors="strict" if data[:2] in _WIDE else "replace")


_WIDE = (b"\xff\xfe", b"\xfe\xff")  # half a character at the end says that the file is cut


def split_rows(text: str, delimiter: str, spaces: bool = False, first: int = 1) -> list[Row]:
    """The rows that are not empty, without empty cells at their end.

    Args:
        text: The whole table.
        delimiter: Between two cells.
        spaces: A quote may follow spaces after the delimiter.
        first: Number of the first line.

    Raises:
        csv.Error: If a cell does not end.
    """
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=spaces and delimiter != "\t")
    rows: list[Row] = []
    number = first
    for row in reader:
        if any(cell.strip(" ,;\t") for cell in row):
            rows.append((number, trimmed(row)))
        number = first + reader.line_num  # a quoted cell may hold several lines
    return rows


def trimmed(row: list[str]) -> list[str]:
    """Cells without spaces around them or empty ones at the end, which spreadsheets write."""
    cells = [cell.strip() for cell in row]
    while len(cells) > 1 and not cells[-1]:
        cells.pop()
    return cells


def read_text(file: File, names: ImageNames) -> Rows:
    """The rows of a .csv, .tsv or .txt.

    Raises:
        MaclError: If it is too large.
        Exception: Of many kinds, if it cannot be read.
    """
    if file.size <= WHOLE:
        data = file.read()
        encoding = find_encoding([data])
        start = data.decode(encoding, errors="replace" if encoding in OLD else "strict")
    else:
        with file.open() as stream:
            encoding = find_encoding(_blocks(stream))
        with file.open() as stream:
            start = stream.read(BLOCK).decode(encoding, errors="ignore")
        start = start[: start.rfind("\n") + 1] or start
    said = re.match(r'\ufeff?"?sep=(.)"?\r?\n', start, re.IGNORECASE)  # Excel: what separates the columns
    start = start[said.end() if said else 0 :]
    delimiter = said[1] if said else _delimiter(start, names)
    heading = _heading(start, delimiter, names)
    above = "".join(start.splitlines(keepends=True)[:heading]) if heading else ""
    start = start[len(above) :]
    first_line = 1 + bool(said) + heading
    notes: tuple[str, ...] = ()
    if above.strip():
        notes = (f"{len(above.split(chr(10))) - 1} lines above the columns of {file.path} are left out",)
    if encoding in OLD:
        notes += (f"read as {OLD[encoding]}, by the look of its words: save it as UTF-8 if names are wrong",)
    if file.size <= WHOLE:
        rows = split_rows(start, delimiter, spaces=True, first=first_line)
        _check_quotes(start, delimiter, rows, file.path)
        return Rows(rows, delimiter, notes=notes)
    with file.open() as stream:
        read = _large(stream, encoding, delimiter, start, first_line, names, file.path)
    return Rows(read.rows, delimiter, read.left_out, notes, read.problems)


def _heading(text: str, delimiter: str, names: ImageNames) -> int:
    """Lines above the columns: empty ones, remarks after #, and a title."""
    lines = list(islice(io.StringIO(text, newline=""), SAMPLE))
    width = mode(line.count(delimiter) for line in lines if line.strip()) if any(map(str.strip, lines)) else 0
    for number, line in enumerate(lines):
        is_remark = line.startswith("#") and line.count(delimiter) < width
        is_title = delimiter not in line and not names.may_mean(line.strip(" \t\r\n\"'"))
        if line.strip() and not (width and (is_remark or is_title)):
            return number
    return 0


def _check_quotes(text: str, delimiter: str, rows: Sequence[Row], path: str) -> None:
    """Refuse a table with a quote that does not end: all rows behind it would be one cell.

    Raises:
        MaclError: If there is one.
    """
    if rows and any("\n" in cell for cell in rows[-1][1]):
        try:
            list(
                csv.reader(
                    io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
                )
            )
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise MaclError(
                    f"the label table {path} has a quote in row {rows[-1][0]} that does not end: "
                    "remove it, or end it"
                ) from None


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    while block := stream.read(BLOCK):
        yield block


def _delimiter(text: str, names: ImageNames) -> str:
    """What separates columns: that with which most rows name an image, then that of the first line.

    Of those in one line the first: later ones may separate labels.
    """
    lines = list(islice((line for line in io.StringIO(text) if line.strip(" ,;\t\n")), SAMPLE))
    lines = [line for line in lines if not line.startswith("#")] or lines
    if not lines:
        return ","
    bares = [re.sub(r'"(?:[^"]|"")*"', "", line) for line in lines]
    marked = next((bare for bare in bares if any(mark in bare for mark in DELIMITERS)), "")
    marks = [mark for _, mark in sorted((marked.find(mark), mark) for mark in DELIMITERS if mark in marked)]
    if marked != bares[0]:  # its first line is a title, or has spaces between the columns
        marks += [" "] if " " in bares[0].strip() else []
        marks = marks or [","]
    if len(marks) == 1:
        return marks[0]

    def rows_named(mark: str) -> int:
        try:
            return sum(
                any(map(names.may_mean, row)) for _, row in split_rows("".join(lines), mark, spaces=True)
            )
        except csv.Error:
            return 0

    return max(marks, key=rows_named)


def _large(
    stream: IO[bytes], encoding: str, delimiter: str, start: str, first: int, names: ImageNames, path: str
) -> Rows:
    """The first row of a large text, and the rows that name an image, without all of it in memory."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    head = split_rows(start, delimiter, spaces=True, first=first)[:SAMPLE]
    raw = [len(row) for row in csv.reader(io.StringIO(start, newline=""), delimiter=delimiter) if row]
    width = mode(raw)
    check_size(path, 0, 0, max(raw))
    hits = [sum(names.may_mean(row[k]) for _, row in head if k < len(row)) for k in range(width)]
    odd = 0

    def skip(row: Any) -> str:
        nonlocal odd
        odd += 1
        return "skip"

    titles = [str(k) for k in range(width)]
    reader = arrow.open_csv(
        stream,
        read_options=arrow.ReadOptions(
            block_size=BLOCK,
            use_threads=False,
            encoding=encoding.removesuffix("-sig"),
            column_names=titles,
            skip_rows=first - 1,
        ),
        parse_options=arrow.ParseOptions(delimiter=delimiter, invalid_row_handler=skip),
        convert_options=arrow.ConvertOptions(
            column_types={name: pa.string() for name in titles}, strings_can_be_null=False
        ),
    )
    columns = [k for k in range(width) if hits[k]] or list(range(width))
    last = pa.array([name for name in names.ends if "/" not in name], pa.string())
    rows: list[Row] = [head[0]]
    number = int(raw[0] != width)  # else the first row is not among those that follow
    odd -= number
    for batch in reader:
        mask = _named_in(batch, columns, last)
        kept = batch.filter(mask)
        numbers = [number + int(i) for i in mask.to_numpy(zero_copy_only=False).nonzero()[0]]
        lists = [column.to_pylist() for column in kept.columns]
        for at, row in zip(numbers, zip(*lists, strict=True), strict=True):
            if at:  # the first row is there already
                rows.append((at + first, trimmed(list(row))))
        number += len(batch)
        check_size(path, len(rows), len(rows) * width)
    problems: tuple[str, ...] = ()
    if odd > 0:
        problems = (f"{odd:,} rows of the label table have not {width} cells: mend or remove them",)
    return Rows(rows, delimiter, number - len(rows), (), problems)


def _named_in(batch: Any, columns: Sequence[int], last: Any) -> Any:
    """Which rows of a batch end as an image is called in one of the columns, a boolean array: `may_mean`."""
    import pyarrow as pa
    from pyarrow import compute

    mask = pa.repeat(False, len(batch))
    for k in columns:
        cells = batch.column(k)
        for slash in "/\\":
            if compute.any(compute.match_substring(cells, slash)).as_py():
                cells = compute.replace_substring_regex(cells, r"(?s)^.*[/\\]", "")
        if not compute.all(compute.string_is_ascii(cells)).as_py():
            cells = compute.utf8_normalize(cells, form="NFC")
        hit = compute.is_in(compute.utf8_lower(compute.utf8_trim_whitespace(cells)), value_set=last)
        mask = compute.or_(mask, hit)
    return mask


def check_size(path: str, rows: int, cells: int, columns: int = 0) -> None:
    """Refuse a table of more rows, cells or columns than are read.

    Raises:
        MaclError: If it is so large.
    """
    if columns > MOST_COLUMNS:
        raise MaclError(f"the label table {path} has {columns:,} columns: at most {MOST_COLUMNS:,} are read")
    if rows > MOST_ROWS or cells > MOST_CELLS:
        raise MaclError(
            f"the label table {path} has more than {MOST_ROWS:,} rows that name an image, or "
            f"{MOST_CELLS:,} cells in them: keep one row per image, and the columns that count"
        )
