"""The whole ranking of every run as CSV."""

from collections.abc import Sequence

from app.retrieval.rows import Outcome
from core.report import spreadsheet

COLUMNS = (
    "run", "title", "query", "rank", "image", "split", "cosine", "jaccard",
    "labels", "shared", "missing", "extra",
)  # fmt: skip


def to_csv(outcomes: Sequence[Outcome], classes: Sequence[str]) -> str:
    """One line per run and image of its gallery, best first; labels are separated by semicolons."""
    lines: list[Sequence[object]] = [COLUMNS]
    for outcome in outcomes:
        for image in outcome.searched.ranking(classes) if outcome.searched else ():
            lines.append(
                [
                    outcome.run.id,
                    outcome.row.title,
                    outcome.row.query,
                    image.rank,
                    image.name,
                    image.split,
                    f"{image.cosine:.6f}",
                    f"{image.jaccard:.6f}" if image.compared else "",
                    *("; ".join(part) for part in (image.labels, image.shared, image.missing, image.extra)),
                ]
            )
    return spreadsheet.to_csv(lines)
