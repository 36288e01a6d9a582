"""A finished run's network, ready to embed other images than its test split."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from core import device as devices
from core.data.augment import view
from core.encoder.model import Backbone, ProjectionHead, at_once, build_backbone
from core.encoder.tensors import read_tensors
from core.errors import MaclError
from core.runs import Run, RunConfig
from core.runs.origin import look_of

WEIGHTS = "model.safetensors"
BATCH = 64
_HEAD, _WHOLE_HEAD, _WHOLE_BACKBONE = "encoder.layers.", "encoder.head.", "encoder.backbone."


@dataclass(frozen=True, eq=False)
class Trained:
    """Backbone and head of one run on one device, in evaluation mode."""

    config: RunConfig
    backbone: Backbone
    head: ProjectionHead
    device: torch.device
    precision: str = "auto"  # of the backbone, as `core.device.precision_of` takes it

    def pixels(self, images: np.ndarray) -> Tensor:
        """The backbone's input for prepared images (B, P, P, C) uint8: (B, C, S, S) floats in 0..1."""
        batch = torch.from_numpy(np.array(images)).to(self.device)
        seen = view(batch, self.config.image_size)
        return seen.contiguous(memory_format=devices.memory_format(self.device))

    def features(self, images: np.ndarray) -> Tensor:
        """Features (B, F) float32 of prepared images (B, P, P, C) uint8."""
        with torch.inference_mode(), devices.autocast(self.device, self.precision):
            features: Tensor = self.backbone(self.pixels(images)).float()
        return features

    def project(self, features: Tensor) -> np.ndarray:
        """Embeddings (B, D) float32, unit rows, of features (B, F), computed as at the end of training."""
        whole = self.config.trainable == "all"  # a head alone is trained and scored without autocast
        with (
            torch.inference_mode(),
            devices.autocast(self.device, self.precision if whole else "float32"),
        ):
            z: np.ndarray = self.head(features).float().cpu().numpy()
        return z

    def embed(self, images: np.ndarray, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Embeddings (N, D) float32, unit rows, of prepared images (N, P, P, C) uint8, batch by batch."""
        parts = [np.zeros((0, self.config.dim), np.float32)]
        size = min(BATCH, at_once(self.config.image_size))
        for start in range(0, len(images), size):
            parts.append(self.project(self.features(images[start : start + size])))
            if progress:
                progress(min(start + size, len(images)), len(images))
        return np.concatenate(parts)


@torch.inference_mode(False)  # weights created in inference mode fail outside it, and the caller may be in it
def read(run: Run, backbones: dict[tuple[str, str, int], Backbone] | None = None) -> Trained:
    """The network of a finished run.

    Args:
        run: Its folder holds `model.safetensors`.
        backbones: Frozen backbones by name, weights and channels, shared between runs; a new one is added.

    Raises:
        MaclError: If the run has no weights, or they cannot be read or do not fit.
    """
    config, path = run.config, run.path / WEIGHTS
    if not path.is_file():
        raise MaclError(f"{run.id} has no weights ({WEIGHTS}): train it on this machine, or copy them there")
    try:
        tensors, _ = read_tensors(path)
    except (SafetensorError, OSError) as error:
        raise MaclError(f"{path} cannot be read ({error}): train the run again") from error
    device = devices.resolve("auto")
    shared = {} if backbones is None else backbones
    original = config.backbone, config.weights, look_of(run).channels
    if config.trainable == "all":
        backbone = build_backbone(config.backbone, "none", look_of(run).channels)
        _fill(backbone, tensors, _WHOLE_BACKBONE, run)
    elif original in shared:
        backbone = shared[original]
    else:
        backbone = shared[original] = build_backbone(*original)
    head = ProjectionHead(backbone.features, config.hidden, config.dim)
    prefix = _WHOLE_HEAD if config.trainable == "all" else "encoder."
    _fill(head, {k: v for k, v in tensors.items() if k.startswith((_HEAD, _WHOLE_HEAD))}, prefix, run)
    layout = devices.memory_format(device)
    backbone = backbone.to(device).to(memory_format=layout).eval()
    # a float32 run stays in float32 even where "auto" would mean bf16, so it can be copied to any machine
    precision = config.precision if run.precision == "bf16" else run.precision
    return Trained(config, backbone, head.to(device).eval(), device, precision)


def _fill(module: torch.nn.Module, tensors: dict[str, Tensor], prefix: str, run: Run) -> None:
    own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        raise MaclError(
            f"the weights of {run.id} are not those of its configuration: train it again"
        ) from error
