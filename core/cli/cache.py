"""`macl cache`: the folders of the cache, their sizes and limits, and how to empty them."""

from typing import Annotated

import typer
from rich.table import Table

from core.background import cache
from core.cli.console import err, out
from core.errors import MaclError

ALL = "all"


def show(
    empty: Annotated[
        str | None, typer.Option(help="Empty this folder, or all: nothing in it is lost for good.")
    ] = None,
) -> None:
    """Show the folders of the cache with their sizes and limits, or empty them."""
    if empty is not None:
        _empty(empty)
        return
    table = Table(box=None, title=str(cache.cache_root()), title_justify="left")
    table.add_column("folder")
    for title in ("entries", "MB", "at most", "in use"):
        table.add_column(title, justify="right")
    total = 0
    for name, most in cache.BOUNDS.items():
        folder = cache.cache_root() / name
        entries = cache.entries(folder)
        size = sum(entry.size for entry in entries)
        used = sum(cache.user(folder, entry) is not None for entry in entries)
        table.add_row(name, f"{len(entries):,}", _mb(size), _mb(most), f"{used:,}")
        total += size
    table.add_row("together", "", _mb(total), _mb(sum(cache.BOUNDS.values())), "")
    out.print(table)


def _empty(name: str) -> None:
    names = list(cache.BOUNDS) if name == ALL else [one for one in cache.BOUNDS if _is_in(one, name)]
    if not names:
        raise MaclError(f"--empty: need {ALL} or one of {', '.join(cache.BOUNDS)}, got {name!r}")
    freed, stay = 0, list[str]()
    for one in names:
        size, left = cache.empty(one)
        freed, stay = freed + size, stay + left
    out.print(f"{_mb(freed)} MB freed")
    for line in stay:
        err.print(f"kept: {line}", markup=False)
    if stay:
        raise MaclError("what is in use was kept: close the app and let runs end, then empty it again")


def _is_in(folder: str, name: str) -> bool:
    return folder == name.rstrip("/") or folder.startswith(f"{name.rstrip('/')}/")


def _mb(size: int) -> str:
    return f"{size / cache.MB:,.1f}" if size < 10 * cache.MB else f"{size / cache.MB:,.0f}"
