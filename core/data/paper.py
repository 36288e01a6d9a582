"""The data sets in the paper's Tables 1 to 3; labels in the column order of this program."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One data set in the paper.

    Attributes:
        images: Number of images (Table 1).
        side: Side of an image in pixels (Table 1).
        resolution: Metres per pixel (Table 1).
        source: Source of the images (Table 1).
        year: Year of publication (Table 1).
        splits: Images for training, validation and test (Table 2).
        counts: Images per label (Table 3).
    """

    images: int
    side: int
    resolution: str
    source: str
    year: int
    splits: tuple[int, int, int]
    counts: tuple[int, ...]


PAPER = {
    "dlrsd": Published(
        2100, 256, "0.3", "DLRSD", 2018, (1475, 214, 411),
        (100, 754, 713, 897, 116, 105, 100, 103, 977, 102, 1331, 291, 101, 103, 100, 1021, 208),
    ),
    "ml_aid": Published(
        3000, 600, "8–0.5", "AID", 2020, (2100, 300, 600),
        (99, 1475, 2161, 2026, 112, 344, 271, 214, 2295, 2, 2328, 259, 221, 284, 108, 2406, 852),
    ),
    "whdld": Published(
        4940, 256, "2", "Gaofen-1 and Ziyuan-3", 2020, (3444, 518, 978),
        (3722, 3162, 3881, 4631, 3539, 3886),
    ),
}  # fmt: skip
