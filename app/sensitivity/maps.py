"""T and w of a small batch under the settings: cause beside effect."""

import numpy as np
import streamlit as st

from app import cache, image_cache
from app.kit import heatmaps, tiles
from app.kit.gallery import class_names
from app.kit.thumbnails import Thumbnails
from app.mechanism import pairs, selection, waiting
from app.mechanism.batch import Chosen, Source
from core import mechanism
from core.losses import spec_of
from core.mechanism import Batch, draw
from core.runs import Run, RunConfig

IMAGES = 24
KEPT = "lab_batch"


def show(now: Run, before: Run, config: RunConfig, images: Thumbnails) -> None:
    """Maps for the settings, at once: they need only labels and do not wait for the training."""
    finished = next((run for run in (now, before) if run.state == "finished"), None)
    if finished is None:
        return
    source = batch_of(finished, config, images)
    draw_maps(source, config, "lab_maps")


def batch_of(run: Run, config: RunConfig, images: Thumbnails) -> Chosen:
    """A batch of the run's test images with their pictures; runs of one data set and seed share it."""
    files = image_cache.files(config.images)
    key = (config.images, config.seed, len(cache.train_names(run)), files)
    cached = st.session_state.get(KEPT, (None,))
    if cached[0] != key:
        chosen = _batch(run, images)
        sprite = tiles.sprite(chosen.source.images, chosen.names)
        cached = st.session_state[KEPT] = (key, chosen, sprite)
    _, stored, pictures = cached
    result: Chosen = stored
    tiles.keep(result.key, pictures)
    return result


def _batch(run: Run, images: Thumbnails) -> Chosen:
    names, (_, y) = cache.test_names(run), cache.embeddings(run)
    data, rows = images.dataset, draw(y, IMAGES, 0)
    row_of = {name: row for row, name in enumerate(data.names)}
    labels = data.labels[[row_of[name] for name in cache.train_names(run) if name in row_of]]
    source = Source(run.id, names, y, labels, class_names(run, images), None, None, run, data)
    batch = Batch(y[rows].astype(np.uint8), labels)
    return Chosen(source, batch, [names[row] for row in rows], f"lab:{data.key}:{run.id}")


def draw_maps(chosen: Chosen, config: RunConfig, key: str) -> None:
    """T and w side by side, rows ordered by their rarest label."""
    if not (mechanism.written(config.loss) or spec_of(config.loss).pair_terms):
        return  # it does not say its weights
    reply = waiting.reply(chosen.batch, config.loss, config.params)
    if reply is not None and reply.answer is None:
        waiting.tell(reply, chosen.batch, config.loss, config.params)
        return
    all_maps = mechanism.maps(config.loss, chosen.batch, config.params, reply.answer if reply else None)
    names = [name for name in ("T", "w") if pairs.SHOWN[name] in all_maps.values]
    order = mechanism.order("label", chosen.batch.y, chosen.batch.labels)
    width = all_maps.values["J"].shape[1]
    items, prototypes = selection.items(chosen), selection.prototypes(chosen)
    rows = [items[n] for n in order]
    columns = np.concatenate([order, np.arange(len(order), width)]) if all_maps.images else np.arange(width)
    heat_maps = [pairs.heat_map(config.loss, name, pairs.CORRECTED, all_maps) for name in names]
    heatmaps.show(
        key,
        [
            heatmaps.HeatMap(
                one.title, one.note, one.values[np.ix_(order, columns)], one.low, one.high, one.scale
            )
            for one in heat_maps
        ],
        rows,
        [*(rows if all_maps.images else []), *prototypes][:width],
        lambda _row, _column: None,
        tiles=chosen.key,
        groups=pairs.groups(chosen, order, "label"),
        cuts=[len(order)] if all_maps.images and width > len(order) else [],
        same=all_maps.images,
        widest="430px",
    )
