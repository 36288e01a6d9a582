"""Which results a person has called right or wrong, by what they were looking for; kept with the archive."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.archive.folder import folder_of
from core.errors import MaclError
from core.files import lock, unlock, write_atomic
from core.report.spreadsheet import to_csv

FILE = "marks.json"
WAIT_SECONDS = 5.0
Z95 = 1.959963984540054  # of a normal distribution, two-sided

Marks = dict[str, dict[int, bool]]  # what was looked for, to image, to whether it is right


def read(uri: str | Path) -> Marks:
    """All marks of an archive; MaclError if they cannot be read."""
    path = folder_of(uri) / FILE
    try:
        held = json.loads(path.read_bytes())
        return {
            str(name): {int(key): bool(right) for key, right in marks.items()}
            for name, marks in held["marks"].items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise MaclError(f"{path} cannot be read ({error}): copy it again, or move it away") from None


def mark(uri: str | Path, name: str, image: int, right: bool | None) -> Marks:
    """Call an image right or wrong, or neither (None); the marks as they are then.

    Raises:
        MaclError: If they cannot be kept.
    """
    path = folder_of(uri) / FILE
    guard, deadline = path.with_suffix(".lock"), time.monotonic() + WAIT_SECONDS
    try:
        while not lock(guard):
            if time.monotonic() > deadline:
                raise MaclError(f"{path} is being written by another process: try again")
            time.sleep(0.01)
        try:
            marks = read(uri)
            marks.setdefault(name, {}).pop(image, None)
            if right is not None:
                marks[name][image] = right
            marks = {title: given for title, given in marks.items() if given}
            write_atomic(path, json.dumps({"version": 1, "marks": marks}, indent=1) + "\n")
        finally:
            unlock(guard)
    except OSError as error:
        raise MaclError(
            f"{path} cannot be written ({error.strerror}): make room, or ask for access"
        ) from None
    return marks


@dataclass(frozen=True)
class Precision:
    """How many of the marked results are right.

    Attributes:
        k: Results that are shown.
        marked: How many of them are marked.
        right: How many of these are right.
    """

    k: int
    marked: int
    right: int

    @property
    def share(self) -> float:
        """Of the marked ones; nan without any."""
        return self.right / self.marked if self.marked else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        return wilson(self.right, self.marked)


def precision(images: Sequence[int], marks: Mapping[int, bool]) -> Precision:
    """Of results, best first, with the marks of what is looked for."""
    given = [marks[image] for image in images if image in marks]
    return Precision(len(images), len(given), sum(given))


def wilson(right: int, number: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, JASA 1927); 0 to 1 without any."""
    if number == 0:
        return 0.0, 1.0
    share, z = right / number, Z95
    middle = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * math.sqrt(share * (1 - share) / number + z * z / (4 * number * number))
    return max(0.0, middle - half), min(1.0, middle + half)


def table(marks: Marks, sources: Mapping[int, str], names: Iterable[str] | None = None) -> str:
    """The marked images as the table of a folder of one's own: file, and 1, 0 or -1 (not looked at) a label.

    Args:
        marks: From `read`.
        sources: File of each image; those without one are left out.
        names: What was looked for, each a column; None: everything.
    """
    columns = list(marks if names is None else names)
    images = dict.fromkeys(image for name in columns for image in marks.get(name, {}))
    lines: list[Sequence[object]] = [("image", *columns)]
    for image in images:
        if image in sources:
            given = [marks.get(name, {}).get(image) for name in columns]
            lines.append((sources[image], *(-1 if one is None else int(one) for one in given)))
    return to_csv(lines)
