"""A small folder of a person's own images with a table, and what is read of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from core.data import Reading, folder, source
from core.data.info import Found
from tests import data_fakes as fakes

STEMS = tuple(f"im{index}" for index in range(16))
# of three labels every combination but the empty one, twice and more
RIGHT = {
    stem: {name for bit, name in enumerate("abc") if (index % 7 + 1) >> bit & 1}
    for index, stem in enumerate(STEMS)
}


def images(root: Path, stems: Sequence[str] = STEMS, suffix: str = ".png") -> Path:
    for seed, stem in enumerate(stems):
        fakes.picture(root / f"{stem}{suffix}", seed)
    return root


def flags(stem: str) -> list[str]:
    """The cells of an image in columns a, b and c."""
    return [str(int(name in RIGHT[stem])) for name in "abc"]


def lines(header: str, row: str) -> str:
    """A table of all images: `{i}` is the number of one, `{s}` its stem, `{f}` its flags."""
    rows = (row.format(i=i, s=stem, f=",".join(flags(stem))) for i, stem in enumerate(STEMS))
    return "\n".join([header, *rows]) + "\n"


def read(root: Path, table: str | bytes | None = None, name: str = "labels.csv", **said: object) -> Found:
    """What is found in a folder with this table, as the person says."""
    if table is not None:
        (root / name).write_bytes(table.encode() if isinstance(table, str) else table)
    return folder.collect(source.scan(root), reading=Reading(**said))


def labels(found: Found) -> Mapping[str, set[str]]:
    """The labels of each image by its stem."""
    return {
        Path(name).stem: {label for label, has in zip(found.classes, row, strict=True) if has}
        for name, row in zip(found.names, found.labels.tolist(), strict=True)
    }
