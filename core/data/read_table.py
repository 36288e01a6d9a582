"""Tables of any kind as rows of text: small ones whole, of large ones the rows that name an image."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import chain
from typing import Any

from core.background.cache import cache_root, used, writing
from core.data.image_names import ImageNames
from core.data.json_table import json_rows
from core.data.memory import is_short, out_of_memory
from core.data.source import File
from core.data.text_table import (
    Row,
    Rows,
    check_size,
    decode_text,
    read_text,
    split_rows,
    trimmed,
)
from core.errors import MaclError

TEXTS = frozenset({".csv", ".tsv", ".txt"})
JSON = frozenset({".json", ".jsonl", ".ndjson"})
KINDS = TEXTS | JSON | {".xlsx", ".parquet"}
BY_CONTENT = {b"PK\3\4": ".xlsx", b"PAR1": ".parquet", b"\xd0\xcf\x11\xe0": ".xls"}
WHOLE_ROWS = 50_000  # rows of a table that is no text are read whole
LARGEST = {kind: 128 << 20 for kind in (".xlsx", *JSON)}  # bytes, unpacked: these are read at once
LARGEST_OTHER = 4 << 30
LARGEST_PUBLISHED = 16 << 20


def read_rows(file: File, names: ImageNames) -> Rows:
    """The rows of a table that may be about images.

    Raises:
        MaclError: If the file cannot be read as a table, is empty, or is too large.
    """
    _bounded(file)
    try:
        _check_kind(file)
        read = read_text(file, names) if file.suffix in TEXTS else _other(file, names)
    except MaclError:
        raise
    except Exception as error:  # each kind, and a damaged zip around it, has its own errors
        if is_short(error):
            raise out_of_memory("Reading the label table", file.path) from None
        raise MaclError(f"the label table {file.path} cannot be read ({error})") from None
    if not read.rows:
        raise MaclError(f"the label table {file.path} is empty: need one row per image")
    width = max(len(row) for _, row in read.rows)
    check_size(file.path, len(read.rows), sum(len(row) for _, row in read.rows), width)
    if width < 2:
        raise MaclError(f"the label table {file.path} has one column only: need the image, then its labels")
    return read


def _check_kind(file: File) -> None:
    """Refuse a table that is called as it is not.

    Raises:
        MaclError: If its first bytes are those of another kind of table.
    """
    with file.open() as stream:
        kind = BY_CONTENT.get(stream.read(4), "")
    if kind == ".xls":
        raise MaclError(
            f"the label table {file.path} is an old or locked workbook: save it as .csv, or as .xlsx without "
            "a password"
        )
    if kind and kind != file.suffix and file.suffix in KINDS:
        raise MaclError(f"the label table {file.path} is a {kind} file by its content: call it so")
    if not kind and file.size and file.suffix == ".xlsx":
        raise MaclError(
            f"the label table {file.path} is no workbook by its content: save it as .xlsx or .csv"
        )


def cells(file: File, delimiters: str = ",;\t") -> list[Row]:
    """All non-empty rows of a table as text.

    Raises:
        MaclError: If the file cannot be read as a table.
    """
    _bounded(file, LARGEST_PUBLISHED)
    try:
        data = file.read()
        if file.suffix == ".xlsx":
            return next(iter(_sheets(data).values()))
        text = decode_text(data)
    except MaclError:
        raise
    except Exception as error:  # a sheet is a zip of XML, and each layer has its own errors
        if is_short(error):
            raise out_of_memory("Reading the label table", file.path) from None
        raise MaclError(f"the label table {file.path} cannot be read ({error}): get it again") from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first:
        raise MaclError(f"the label table {file.path} is empty: get it again")
    try:
        return split_rows(text, max(delimiters, key=first.count))
    except csv.Error as error:
        raise MaclError(f"the label table {file.path} cannot be read ({error}): get it again") from None


def _bounded(file: File, most: int = 0) -> None:
    most = most or LARGEST.get(file.suffix, LARGEST_OTHER)
    if file.size > most:
        raise MaclError(
            f"the label table {file.path} has {file.size / 1e6:,.0f} MB, at most {most / 1e6:,.0f} MB are "
            "read of its kind: save the rows that count as .csv or .parquet"
        )


def _other(file: File, names: ImageNames) -> Rows:
    """A sheet, a Parquet file or JSON."""
    if file.suffix == ".xlsx":
        data = file.read()
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            unpacked = sum(member.file_size for member in book.infolist())
        _bounded(replace(file, size=unpacked))
        return _sheet_of_images(_sheets(data), names, file.path)
    if file.suffix in JSON:
        return _kept(json_rows(decode_text(file.read()), file.path, names), names, file.path)
    from pyarrow import parquet

    with file.open() as stream, parquet.ParquetFile(stream) as table:
        size = sum(table.metadata.row_group(k).total_byte_size for k in range(table.num_row_groups))
        _bounded(replace(file, size=size))
        columns = table.schema_arrow.names
        rows = (
            [record[name] for name in columns]
            for batch in table.iter_batches(batch_size=1 << 14)
            for record in batch.to_pylist()
        )
        return _kept(chain([columns], rows), names, file.path)


def _kept(rows: Iterable[Sequence[Any]], names: ImageNames, path: str) -> Rows:
    """The first rows of a table, and of the later ones those that name an image."""
    kept: list[Row] = []
    left_out = 0
    for number, values in enumerate(rows, start=1):
        row = trimmed([_as_text(value) for value in values])
        if number <= WHOLE_ROWS or any(map(names.may_mean, row)):
            kept.append((number, row))
        else:
            left_out += 1
        if number % WHOLE_ROWS == 0:
            check_size(path, len(kept), sum(len(row) for _, row in kept))
    return Rows([(number, row) for number, row in kept if any(row)], left_out=left_out)


def _as_text(value: Any) -> str:
    """A value as it would stand in a cell; a list as JSON, which keeps commas within names."""
    if value is None or value != value:  # not a number
        return ""
    if isinstance(value, bytes):  # a picture, not a text
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _sheet_of_images(sheets: dict[str, list[Row]], names: ImageNames, path: str) -> Rows:
    """The sheet that names images, or the first if none does; rows above its columns are left out.

    Raises:
        MaclError: If several do.
    """
    fits = [title for title, rows in sheets.items() if any(names.may_mean(c) for _, row in rows for c in row)]
    if len(fits) > 1:
        raise MaclError(
            f"the label table {path} names images in {len(fits)} sheets, {', '.join(fits)}: keep one, "
            "or save each as a .csv"
        )
    chosen = fits[0] if fits else next(iter(sheets))
    notes: tuple[str, ...] = (f"the sheet {chosen} of {path} is read",) if len(sheets) > 1 else ()
    rows = sheets[chosen]
    width = max((len(row) for _, row in rows), default=0)
    start = next((k for k, (_, row) in enumerate(rows) if len(row) > 1 or names.may_mean(row[0])), 0)
    if start and width > 1:
        notes += (f"{start} rows above the columns of {path} are left out",)
        rows = rows[start:]
    return Rows(rows, notes=notes)


def _sheets(data: bytes) -> dict[str, list[Row]]:
    """The rows of each sheet; cached by content, because reading thousands of rows takes half a second."""
    cached = cache_root() / "sheets" / f"{sha256(data).hexdigest()[:32]}.all.json"
    with contextlib.suppress(OSError, ValueError):
        sheets = {
            title: [(number, row) for number, row in rows]
            for title, rows in json.loads(cached.read_text()).items()
        }
        used(cached)
        return sheets
    import openpyxl  # 0.15 s, and only this kind of table needs it

    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    try:
        sheets = {sheet.title: _sheet_rows(sheet) for sheet in book.worksheets}
    finally:
        book.close()
    with writing(cached) as partial:
        partial.write_text(json.dumps(sheets))
    return sheets


def _sheet_rows(sheet: Any) -> list[Row]:
    rows = (
        (number, trimmed(["" if cell is None else str(cell) for cell in row]))
        for number, row in enumerate(sheet.iter_rows(values_only=True), start=1)
    )
    return [(number, row) for number, row in rows if any(row)]
