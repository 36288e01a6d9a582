"""T and w of a small batch under the settings: cause beside effect."""

import numpy as np
import streamlit as st

from app import cache, image_cache
from app.kit import heatmaps, tiles
from app.kit.gallery import class_names
from app.kit.thumbnails import Thumbnails
from app.mechanism import pairs, selection
from app.mechanism.batch import Chosen, Source
from core import mechanism
from core.mechanism import Batch, draw
from core.runs import Run, RunConfig

IMAGES = 24
KEPT = "lab_batch"


def show(now: Run, before: Run, config: RunConfig, images: Thumbnails) -> None:
    """Maps of the settings at once; they need labels alone, so they do not wait for the training."""
    known = next((run for run in (now, before) if run.state == "finished"), None)
    if known is None:
        return
    source = batch_of(known, config, images)
    draw_maps(source, config, "lab_maps")


def batch_of(run: Run, config: RunConfig, images: Thumbnails) -> Chosen:
    """A batch of the run's test images with their pictures; runs of one data set and seed share it."""
    files = image_cache.files(config.images)
    wanted = (config.images, config.seed, len(cache.train_names(run)), files)
    kept = st.session_state.get(KEPT, (None,))
    if kept[0] != wanted:
        chosen = _batch(run, images)
        sprite = tiles.sprite(chosen.source.images, chosen.names)
        kept = st.session_state[KEPT] = (wanted, chosen, sprite)
    _, found, pictures = kept
    result: Chosen = found
    tiles.keep(result.key, pictures)
    return result


def _batch(run: Run, images: Thumbnails) -> Chosen:
    names, (_, y) = cache.test_names(run), cache.embeddings(run)
    data, rows = images.dataset, draw(y, IMAGES, 0)
    place = {name: row for row, name in enumerate(data.names)}
    labels = data.labels[[place[name] for name in cache.train_names(run) if name in place]]
    source = Source(run.id, names, y, labels, class_names(run, images), None, None, run, data)
    batch = Batch(y[rows].astype(np.uint8), labels)
    return Chosen(source, batch, [names[row] for row in rows], f"lab:{data.key}:{run.id}")


def draw_maps(chosen: Chosen, config: RunConfig, key: str) -> None:
    """T and w side by side, rows ordered by their rarest label."""
    found = mechanism.maps(config.loss, chosen.batch, config.params)
    wanted = [name for name in ("T", "w") if pairs.SHOWN[name] in found.values]
    order = mechanism.order("label", chosen.batch.y, chosen.batch.labels)
    width = found.values["J"].shape[1]
    items, prototypes = selection.items(chosen), selection.prototypes(chosen)
    rows = [items[n] for n in order]
    place = np.concatenate([order, np.arange(len(order), width)]) if found.images else np.arange(width)
    drawn = [pairs.heat_map(config.loss, name, pairs.CORRECTED, found) for name in wanted]
    heatmaps.show(
        key,
        [
            heatmaps.HeatMap(
                one.title, one.note, one.values[np.ix_(order, place)], one.low, one.high, one.scale
            )
            for one in drawn
        ],
        rows,
        [*(rows if found.images else []), *prototypes][:width],
        lambda _row, _column: None,
        tiles=chosen.key,
        groups=pairs.groups(chosen, order, "label"),
        cuts=[len(order)] if found.images and width > len(order) else [],
        same=found.images,
        widest="430px",
    )
