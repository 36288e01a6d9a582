"""The numbers beside the pictures as an HTML table: a picture alone misleads."""

import math
from collections.abc import Sequence
from html import escape

from app.kit.tables import Line, marked, page, table, value
from core.metrics.space import NEIGHBOURS, SAMPLE, Numbers
from core.report import Cell

HEADS = {
    "Trustworthiness": f"Of the picture, not of the space: how far the {NEIGHBOURS} neighbours that it shows "
    "are neighbours; 1 is best (Venna and Kaski, 2001)",
    "Alignment": "Mean squared distance of images, each pair weighed by the overlap of its labels, 0 to 4; "
    "lower: similar images lie closer (after Wang and Isola, 2020)",
    "Uniformity": "Log of the mean of exp(−2 d²) over all pairs; lower: spread more evenly over the sphere "
    "(Wang and Isola, 2020)",
    "Effective rank": "Dimensions in use: exp of the entropy of the singular values (Roy and Vetterli, 2007)",
    "Hubness": f"Skewness of how often an image is among the {NEIGHBOURS} nearest of others; near 0: no hubs "
    "(Radovanović et al., 2010)",
    "mAP Medium": "mAP Medium@0.6 on the test split, percent: what retrieval with it scores",
}
Row = tuple[str, str, float, Numbers, Cell]


def numbers(rows: Sequence[Row], dims: int) -> str:
    """One line per run.

    Args:
        rows: Title, CSS background of its mark, trustworthiness of the picture, numbers of the space, mAP
            Medium.
        dims: Of the picture.
    """
    head = [
        "Run",
        *(
            f'<abbr title="{escape(text)}" style="text-decoration:none">{name}</abbr>'
            for name, text in HEADS.items()
        ),
    ]
    lines = [
        Line(
            [
                marked(color, escape(title)),
                _text(trust, 3), _text(of.alignment, 3), _text(of.uniformity, 2),
                _text(of.effective_rank, 1), _text(of.hubness, 2), value(score),
            ]
        )
        for title, color, trust, of, score in rows
    ]  # fmt: skip
    note = f"trustworthiness of the {dims}-D pictures, the rest of the embeddings themselves"
    if any(row[3].images == SAMPLE for row in rows):
        note += f", on {SAMPLE:,} images at most"
    return page(table("Numbers", head, lines, range(1, len(head)), note))


def _text(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")
