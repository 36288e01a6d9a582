"""WHDLD: 4,940 satellite images of Wuhan, every pixel labelled with 6 classes.

References:
    Shao, Zhou, Deng, Zhang and Cheng, Multilabel remote sensing image retrieval based on fully convolutional
    network (IEEE JSTARS 13, 2020).
"""

import re
from collections.abc import Sequence

from core.data.info import DatasetInfo, Found
from core.data.prepared import Progress
from core.data.reading import READ, Reading
from core.data.source import File
from core.data.table import (
    choose_table,
    images_and_masks,
    match,
    read_masks,
    read_table,
    tables_seen,
    without_broken,
)
from core.errors import MaclError

STEM = re.compile(r"wh\d+")
CLASSES = ("building", "road", "pavement", "vegetation", "bare soil", "water")  # mask values 1 to 6

WHDLD = DatasetInfo(
    name="whdld",
    title="WHDLD",
    summary="4,940 satellite images of the city of Wuhan, every pixel in one of 6 classes.",
    classes=CLASSES,
    images=4940,
    train=3444,
    val=518,
    terms="No licence text was found: for research, not redistributed here.",
    where="its authors' page, sites.google.com/view/zhouwx/dataset",
)


def collect(files: Sequence[File], progress: Progress | None = None, reading: Reading = READ) -> Found:
    """Labels from the table multilabels.xlsx, or without it from the masks, which agree with it.

    Raises:
        MaclError: If there are no images, or neither a table nor masks.
    """
    images, masks, notes = images_and_masks(files, STEM)
    if not images:
        raise MaclError(f"no image of WHDLD found (wh0001.jpg and so on): get it from {WHDLD.where}")
    chosen = choose_table(files, lambda name: True, "multilabels.xlsx", STEM)
    if chosen is not None:
        return match(CLASSES, images, read_table(*chosen, CLASSES, STEM), chosen[0].path, notes)
    if masks:
        table, broken = read_masks(masks, CLASSES, progress)
        return without_broken(match(CLASSES, images, table, f"{len(masks)} palette masks", notes), broken)
    raise MaclError(
        f"{len(images)} images of WHDLD but no labels{tables_seen(files, STEM)}: need multilabels.xlsx "
        f"or the masks ImagesPNG/whNNNN.png; get them from {WHDLD.where}"
    )
