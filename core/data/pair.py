"""Two images that show the same place: the result of the search for duplicates."""

from dataclasses import dataclass

KEPT = 0.5  # similarity from which a pair is kept; unrelated images stay below, except runways and the like
LEAST_OVERLAP = 0.25  # of the image; smaller common parts prove too little


@dataclass(frozen=True)
class Pair:
    """Two images that show the same place.

    Attributes:
        a, b: Rows in the prepared data set, a < b.
        similarity: Correlation of the fine structure where they overlap, KEPT … 1.
        overlap: Share of the image that both show, LEAST_OVERLAP … 1.
        turn: How to turn b: quarter turns to the left, first mirrored if 4 … 7; 0 for none.
    """

    a: int
    b: int
    similarity: float
    overlap: float
    turn: int = 0
