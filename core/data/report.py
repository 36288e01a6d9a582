"""What a data set contains and lacks, and what is broken, without preparing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from core.data.given import left_out, said
from core.data.info import DatasetInfo, Found
from core.data.look import LOOK, Look
from core.data.prepared import LISTED, Progress, Skipped, broken_among
from core.data.splits import split
from core.errors import MaclError


@dataclass(frozen=True)
class Report:
    """The findings; `str()` gives the text for the command line, with at most `LISTED` names per list.

    Attributes:
        name: Key of `DATASETS`.
        root: Where it was searched.
        images: Images found.
        expected: Images of the complete data set; 0 if it can be any.
        usable: Images with at least one label that are not known to be broken.
        unlabelled: Images without a label.
        counts: Images per label, in column order, over the images with a label.
        labels_from: What the labels were read from.
        without_image: Table rows whose image is missing.
        without_row: Images that are not in the table.
        without_label: Images that are in the table but without a label.
        several_rows: Images with several rows, whose labels were joined.
        columns: Of each column of a person's own table its name and what it was taken as.
        given_by: Where the data set says the split, in words; empty if it is random.
        unnamed: Images with a label that are in no part of that split, and left out.
        broken: (name, reason) of damaged masks, and of damaged images if they were decoded.
        decoded: Whether every image was decoded.
        splits: Sizes of train, val and test; empty if there are too few images.
        notes: Decisions made on the way.
        problems: What keeps the data set from being used as it is, each with what to do.
    """

    name: str
    root: str
    images: int = 0
    expected: int = 0
    usable: int = 0
    unlabelled: int = 0
    counts: tuple[tuple[str, int], ...] = ()
    labels_from: str = ""
    without_image: tuple[str, ...] = ()
    without_row: tuple[str, ...] = ()
    broken: Skipped = ()
    decoded: bool = False
    splits: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    without_label: tuple[str, ...] = ()
    several_rows: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    given_by: str = ""
    unnamed: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the data set can be used as it is."""
        return not self.problems

    def __str__(self) -> str:
        complete = f" of {self.expected}" if self.expected else ""
        lines = [f"{self.name} at {self.root}"]
        if self.images:
            lines.append(f"images       {self.images}{complete}, {self.usable} usable")
            lines.append(f"labels from  {self.labels_from}")
            lines += [f"  {name}: {what}" for name, what in together(self.columns)]
            lines.append(f"unlabelled   {self.unlabelled} (left out)")
            lines.append(
                f"broken       {_count(self.broken)}{'' if self.decoded else ' (images not decoded)'}"
            )
            lines += [f"  {name}: {why}" for name, why in self.broken[:LISTED]]
            lines += _list("rows without image", self.without_image)
            lines += _list("images without row", self.without_row)
            lines += _list("images without label", self.without_label)
            lines += _list("images with several rows", self.several_rows)
            lines += _list("images in no part of the split", self.unnamed)
            if self.splits:
                how = f"given by {self.given_by}" if self.given_by else "random, here of seed 0"
                sizes = ", ".join(f"{name} {size}" for name, size in self.splits)
                lines.append(f"splits       {sizes} ({how})")
            width = max((len(name) for name, _ in self.counts), default=0)
            lines.append("images per label")
            lines += [f"  {name:<{width}}  {count}" for name, count in self.counts]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"problem: {problem}" for problem in self.problems]
        lines.append("ready to use" if self.ok else "not ready")
        return "\n".join(lines)


def together(columns: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Columns side by side that were taken as the same, in one line."""
    lines = []
    for what, group in groupby(columns, key=lambda column: column[1]):
        names = [name for name, _ in group]
        lines.append((f"{', '.join(names[:LISTED])} and {len(names) - LISTED} more" if len(names) > LISTED
                      else ", ".join(names), what))  # fmt: skip
    return lines


def _count(items: Sequence[object]) -> str:
    return str(len(items)) if items else "none"


def _list(title: str, names: tuple[str, ...]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return [f"{title}: {len(names)} ({', '.join(names[:LISTED])}{more})"]


def examine(
    known: DatasetInfo,
    root: str,
    found: Found,
    decode: bool,
    progress: Progress | None,
    look: Look = LOOK,
) -> Report:
    """Findings on a data set whose files have been matched.

    Args:
        known: The data set as expected.
        root: Where it was found, for the text.
        found: The data set as found.
        decode: Decode every image to find the broken ones; takes as long as preparing.
        progress: Called with (done, total, what).
        look: How the images are seen.
    """
    labelled = found.labels.max(axis=1, initial=0) > 0  # (N,)
    broken = found.broken
    if decode:
        broken += broken_among(found.names, found.files, progress, look)
    bad = {name for name, _ in broken}
    good = np.array([name not in bad for name in found.names], dtype=bool)
    out = left_out(found)
    rows = np.flatnonzero(labelled & good & ~out)
    names = [found.names[i] for i in rows]
    problems = list(found.problems)
    splits: tuple[tuple[str, int], ...] = ()
    if broken:
        some = "1 image is" if len(broken) == 1 else f"{len(broken)} images are"
        problems.append(f"{some} broken: mend or remove them, or use --skip-broken")
    try:
        given = [found.given[i] for i in rows] if found.given else ()
        parts = split(found.labels[rows], names, known, 0, given, found.whole)
        splits = tuple((name, len(part)) for name, part in parts.items())
    except MaclError as error:
        problems.append(str(error))
    no_row = set(found.without_row)
    notes = (*found.notes, *said(found))
    if known.images and len(found.names) < known.images and not found.whole:
        notes += (f"{known.images - len(found.names)} images are missing; the test split is smaller",)
    return Report(
        name=known.name,
        root=root,
        images=len(found.names),
        expected=known.images,
        usable=len(rows),
        unlabelled=int((~labelled & good).sum()),
        counts=tuple(zip(found.classes, found.labels.sum(axis=0, dtype=int).tolist(), strict=True)),
        labels_from=found.labels_from,
        without_image=found.without_image,
        without_row=found.without_row,
        without_label=tuple(
            name
            for name, has in zip(found.names, labelled, strict=True)
            if not has and name not in no_row and name not in bad
        ),
        several_rows=found.several_rows,
        columns=found.columns,
        given_by=found.given_by,
        unnamed=tuple(name for name, no in zip(found.names, labelled & good & out, strict=True) if no),
        broken=broken,
        decoded=decode,
        splits=splits,
        notes=notes,
        problems=tuple(problems),
    )
