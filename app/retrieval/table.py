"""The whole ranking of every run as CSV."""

import math
from collections.abc import Sequence

from app.retrieval.rows import Asked, Row
from core.report import spreadsheet
from core.retrieval.search import search_for

COLUMNS = (
    "run", "title", "query", "rank", "image", "split", "cosine", "jaccard",
    "labels", "shared", "missing", "extra",
)  # fmt: skip


def to_csv(rows: Sequence[Row], asked: Asked, classes: Sequence[str]) -> str:
    """One line per run and image of its gallery, best first; labels are separated by semicolons."""
    lines: list[Sequence[object]] = [COLUMNS]
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
            lines.append(
                [
                    row.run.id,
                    row.title,
                    asked.name,
                    rank,
                    place.names[found.row],
                    place.splits[found.row],
                    f"{found.cosine:.6f}",
                    f"{found.jaccard:.6f}" if known else "",
                    "; ".join(labels),
                    *("; ".join(classes[i] for i in part) for part in parts),
                ]
            )
    return spreadsheet.to_csv(lines)
