"""The whole ranking of every run as CSV."""

import csv
import io
import math
from collections.abc import Sequence

from app.retrieval.rows import Asked, Row
from core.retrieve import search_for

COLUMNS = (
    "run", "title", "query", "rank", "image", "split", "cosine", "jaccard",
    "labels", "shared", "missing", "extra",
)  # fmt: skip


def to_csv(rows: Sequence[Row], asked: Asked, classes: Sequence[str]) -> str:
    """One line per run and image of its gallery, best first; labels are separated by semicolons."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        place = row.gallery
        if place is None or row.z is None:
            continue
        held = asked.labels if row.place is None else place.y[row.place]
        answer = search_for(row.z, held, place.z, place.y, len(place.z), row.place)
        for rank, found in enumerate(answer.neighbours, start=1):
            known = not math.isnan(found.jaccard)
            parts = (found.shared, found.missing, found.extra) if known else ((), (), ())
            labels = [label for label, has in zip(classes, place.y[found.row], strict=True) if has]
            writer.writerow(
                [
                    *map(harmless, (row.run.id, row.title, asked.name)),
                    rank,
                    harmless(place.names[found.row]),
                    place.splits[found.row],
                    f"{found.cosine:.6f}",
                    f"{found.jaccard:.6f}" if known else "",
                    harmless("; ".join(labels)),
                    *(harmless("; ".join(classes[i] for i in part)) for part in parts),
                ]
            )
    return file.getvalue()


def harmless(cell: str) -> str:
    """One line; what a spreadsheet would take for a formula gets a leading apostrophe."""
    cell = " ".join(cell.split())
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell
