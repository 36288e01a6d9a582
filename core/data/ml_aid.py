"""ML-AID: 3,000 images of the scene data set AID with multiple labels.

References:
    Hua, Mou and Zhu, Relation network for multilabel aerial image classification (IEEE TGRS 58(7), 2020).
"""

import re
from collections.abc import Sequence

from core.data.info import LABELS_17, DatasetInfo, Found
from core.data.prepared import Progress
from core.data.reading import READ, Reading
from core.data.source import File
from core.data.table import choose_table, images_and_masks, match, read_table, tables_seen
from core.errors import MaclError

SCENES = (
    "airport|bareland|baseballfield|beach|bridge|center|church|commercial|denseresidential|desert|farmland|forest|"
    "industrial|meadow|mediumresidential|mountain|park|parking|playground|pond|port|railwaystation|resort|river|"
    "school|sparseresidential|square|stadium|storagetanks|viaduct"
)
STEM = re.compile(rf"({SCENES})_\d+")

ML_AID = DatasetInfo(
    name="ml_aid",
    title="ML-AID",
    summary="3,000 aerial images from all over the world, 30 scenes, 17 labels per image.",
    classes=LABELS_17,
    images=3000,
    train=2100,
    val=300,
    terms="No licence text was found: for research, not redistributed here.",
    where="the Google Drive link in the README of github.com/Hua-YS/AID-Multilabel-Dataset",
)


def collect(files: Sequence[File], progress: Progress | None = None, reading: Reading = READ) -> Found:
    """Images of any folder names (images_tr, images_test, scenes, …) and the table multilabel.csv.

    Raises:
        MaclError: If there are no images or no table.
    """
    images, _, notes = images_and_masks(files, STEM)
    if not images:
        raise MaclError(f"no image of ML-AID found (airport_1.jpg and so on): get it from {ML_AID.where}")
    chosen = choose_table(files, lambda name: True, "multilabel.csv", STEM)
    if chosen is None:
        seen = tables_seen(files, STEM)
        raise MaclError(
            f"{len(images)} images of ML-AID but no multilabel.csv{seen}: get it from {ML_AID.where}"
        )
    return match(LABELS_17, images, read_table(*chosen, LABELS_17, STEM), chosen[0].path, notes)
