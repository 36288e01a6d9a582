"""DLRSD and UC Merced: the same 2,100 aerial images with two sets of labels.

References:
    Shao, Yang and Zhou, Performance evaluation of single-label and multi-label remote sensing image retrieval
    using a dense labeling dataset (Remote Sensing 10(6), 2018).
    Chaudhuri et al., Multilabel remote sensing image retrieval using a semisupervised graph-theoretic method
    (IEEE TGRS 56(2), 2018): the multi-label table of UC Merced.
    Yang and Newsam, Bag-of-visual-words and spatial extensions for land-use classification (ACM GIS 2010).
"""

import re
from collections.abc import Sequence

from core.data.info import LABELS_17, DatasetInfo, Download, Found
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

SCENES = (
    "agricultural|airplane|baseballdiamond|beach|buildings|chaparral|denseresidential|forest|freeway|golfcourse|"
    "harbor|intersection|mediumresidential|mobilehomepark|overpass|parkinglot|river|runway|sparseresidential|"
    "storagetanks|tenniscourt"
)
STEM = re.compile(rf"({SCENES})\d+")
UCM_TABLE = re.compile(r"landuse|ucm|merced")

DLRSD = DatasetInfo(
    name="dlrsd",
    title="DLRSD",
    summary="2,100 aerial images of US towns and landscapes, 21 scenes, every pixel in one of 17 classes.",
    classes=LABELS_17,
    images=2100,
    train=1475,
    val=214,
    terms="No licence text was found: for research, not redistributed here.",
    where="its authors' page, sites.google.com/view/zhouwx/dataset, or `macl data fetch dlrsd`",
    download=Download(
        url="https://huggingface.co/datasets/calebrob6/dlrsd/resolve/main/DLRSD.zip",
        filename="DLRSD.zip",
        algorithm="sha256",
        digest="cb49d850855a7622c51b5f09dbdf98952e064b661f35cb105e8749513e75796f",
    ),
)

UCM = DatasetInfo(
    name="ucm",
    title="UC Merced multi-label",
    summary="The 2,100 images of DLRSD with the older multi-label table of UC Merced.",
    classes=LABELS_17,
    images=2100,
    train=1475,
    val=214,
    terms="Images: USGS, public domain. Label table: no licence text was found, for research.",
    where="images from weegee.vision.ucmerced.edu or `macl data fetch ucm`, with the multi-label table "
    "LandUse_Multilabeled.txt of Chaudhuri et al. (2018) beside them",
    download=Download(
        url="https://huggingface.co/datasets/torchgeo/ucmerced/resolve/main/UCMerced_LandUse.zip",
        filename="UCMerced_LandUse.zip",
        algorithm="md5",
        digest="5b7ec56793786b6dc8a908e8854ac0e4",
        note="This archive holds the images only: put the multi-label table LandUse_Multilabeled.txt of "
        "Chaudhuri et al. (2018) beside it.",
    ),
)


def collect_dlrsd(files: Sequence[File], progress: Progress | None = None, reading: Reading = READ) -> Found:
    """DLRSD's own labels: from the palette masks where every image has one, else from the table.

    The masks come first because they give the numbers of the paper's Table 3.

    Raises:
        MaclError: If there are no images, or neither masks nor a table.
    """
    images, masks, notes = images_and_masks(files, STEM)
    if not images:
        raise MaclError(f"no image of DLRSD found (agricultural00.tif and so on): get it from {DLRSD.where}")
    if masks.keys() >= images.keys():
        table, broken = read_masks({stem: masks[stem] for stem in images}, LABELS_17, progress)
        found = match(LABELS_17, images, table, f"{len(images)} palette masks", notes)
        return without_broken(found, broken)
    chosen = choose_table(files, lambda name: not UCM_TABLE.search(name), "multilabels.csv", STEM)
    if chosen is not None:
        if masks:
            notes += (f"only {len(masks)} of {len(images)} images have a mask: the table was read instead",)
        return match(LABELS_17, images, read_table(*chosen, LABELS_17, STEM), chosen[0].path, notes)
    if masks:
        table, broken = read_masks(masks, LABELS_17, progress)
        return without_broken(match(LABELS_17, images, table, f"{len(masks)} palette masks", notes), broken)
    raise MaclError(
        f"{len(images)} images of DLRSD but no labels{tables_seen(files, STEM)}: need multilabels.csv or the "
        f"masks Labels/<class>/<class>NN.png; get them from {DLRSD.where}"
    )


def collect_ucm(files: Sequence[File], progress: Progress | None = None, reading: Reading = READ) -> Found:
    """The same images with the UC Merced multi-label table.

    Raises:
        MaclError: If there are no images or no table.
    """
    images, _, notes = images_and_masks(files, STEM)
    if not images:
        raise MaclError(f"no image of UC Merced found (agricultural00.tif and so on): get {UCM.where}")
    published_name = "landuse_multilabeled.txt"
    chosen = choose_table(files, lambda name: bool(UCM_TABLE.search(name)), published_name, STEM)
    if chosen is None:
        raise MaclError(
            f"{len(images)} images of UC Merced but no LandUse_Multilabeled.txt{tables_seen(files, STEM)}: "
            "put the multi-label table of Chaudhuri et al. (2018) beside them"
        )
    return match(LABELS_17, images, read_table(*chosen, LABELS_17, STEM), chosen[0].path, notes)
