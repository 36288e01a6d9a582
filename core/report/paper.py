"""The values that the MACL paper prints in its tables 4 to 6: a reference, not a target.

Its Easy, Medium and Hard columns equal a random order on all three data sets.
"""

import csv
from functools import cache

from core.files import PROJECT
from core.losses import spec_of
from core.metrics import METRICS
from core.report.rows import Row

FILE = PROJECT / "assets" / "paper_tables.csv"


@cache
def tables() -> dict[str, tuple[int, dict[str, dict[str, float]]]]:
    """By data set: the number of its table, and percent by loss and metric."""
    by_dataset: dict[str, tuple[int, dict[str, dict[str, float]]]] = {}
    with FILE.open(newline="") as file:
        for line in csv.DictReader(file):
            table = by_dataset.setdefault(line["dataset"], (int(line["table"]), {}))
            table[1][line["loss"]] = {key: float(line[key]) for key in METRICS if key in line}
    return by_dataset


def published(row: Row) -> dict[str, float]:
    """The paper's values for a row, percent by metric; empty for a variant that it does not have."""
    if row.reference or row.method != spec_of(row.loss).title or row.dataset not in tables():
        return {}
    return tables()[row.dataset][1].get(row.loss, {})


def warning(block: list[Row]) -> str:
    """A caution for published values beside those of a block; empty if there are none.

    Args:
        block: Rows of one data set and protocol.
    """
    if block[0].dataset not in tables():
        return ""
    number, losses = tables()[block[0].dataset]
    text = (
        f"Published: Table {number} of the MACL paper, there with ResNet-18. Its mAP Easy, Medium and Hard "
        "equal those of a random order"
    )
    below = [
        METRICS[key]
        for row in block
        if row.loss == "chance"
        for key in METRICS
        if key in row.values
        and max(values.get(key, 100.0) for values in losses.values()) < row.values[key][0]
    ]
    if others := [title for title in below if not title.startswith("mAP ")]:
        text += f", and all its values of {' and '.join(others)} lie below chance"
    return text + ": a reference, no target."
