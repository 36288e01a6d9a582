"""Features of a frozen backbone: computed once per data set, backbone, weights and size, then cached."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from core import device as devices
from core.background.cache import cache_root, use, writing
from core.data import Dataset
from core.data.augment import view
from core.encoder.model import at_once, build_backbone
from core.encoder.weights import weights_key
from core.errors import MaclError

VERSION = 2  # raise it when a change to the view or the normalisation changes the features
BATCH = 64

_begun: dict[Path, tuple[np.ndarray, int]] = {}  # one interrupted table, and how many rows it has


def features(
    dataset: Dataset,
    backbone: str,
    weights: str,
    image_size: int,
    device: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
    precision: str = "auto",
) -> np.ndarray:
    """Features of every image of a data set, in evaluation mode, without augmentation.

    Args:
        dataset: Its images are resized as a whole to `image_size`.
        backbone: As in `core.encoder.model.build_backbone`.
        weights: As there; "none" is one fixed draw of random weights.
        image_size: Side, pixels.
        device: As in `core.device.resolve`.
        progress: Called with (done, total, what) after each batch; an exception from it stops the work, and
            the next call in this process goes on from there.
        precision: As in `core.device.precision_of`.

    Returns:
        (N, F) float32, memory-mapped and read-only, in the order of `dataset.images`.

    Raises:
        MaclError: If device, backbone or weights are missing, or a feature is not finite.
    """
    target = devices.resolve(device)
    computes_in = devices.precision_of(target, precision)
    key = (VERSION, dataset.key, backbone, weights_key(backbone, weights), image_size, computes_in)
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
    path = cache_root() / "features" / f"{name}.npy"
    count = len(dataset.images)
    cached = _read(path, count)
    if cached is not None:
        return cached

    if target.type == "cpu":
        devices.keep_memory()
    if weights == "none":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build_backbone(backbone, weights, dataset.look.channels)
    else:
        network = build_backbone(backbone, weights, dataset.look.channels)
    network = network.to(target).to(memory_format=devices.memory_format(target)).eval()
    table, done = _begun.pop(path, (np.empty((count, network.features), np.float32), 0))
    what = f"features of {backbone}"
    size = min(BATCH, at_once(image_size))
    try:
        with torch.inference_mode(), devices.autocast(target, computes_in):
            for start in range(done, count, size):
                batch = torch.from_numpy(np.array(dataset.images[start : start + size])).to(target)
                images = view(batch, image_size).contiguous(memory_format=devices.memory_format(target))
                table[start : start + size] = network(images).float().cpu().numpy()
                done = min(start + size, count)
                if progress is not None:
                    progress(done, count, what)
    except Exception:
        _begun.clear()
        _begun[path] = table, done
        raise
    if not np.isfinite(table).all():
        raise MaclError(f"{backbone} with weights {weights} gives features that are not finite: take others")
    with writing(path) as partial, partial.open("xb") as file:
        np.save(file, table)
    return _load(path)


def _read(path: Path, count: int) -> np.ndarray | None:
    """The cached table; None if it is missing or incomplete."""
    try:
        table = _load(path)
    except (OSError, EOFError, ValueError):
        return None
    return table if table.ndim == 2 and len(table) == count else None


def _load(path: Path) -> np.ndarray:
    table: np.ndarray = np.load(path, mmap_mode="r")
    use(path)
    return table
