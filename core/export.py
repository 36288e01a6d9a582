"""A trained encoder and its test embeddings as plain files, for use outside this product."""

import csv
import io
from pathlib import Path

from safetensors.torch import save

from core.errors import MaclError
from core.files import write_atomic
from core.model import Encoder, ProjectionHead, build_backbone
from core.runs import Run
from core.train import read_tensors


def encoder(run: Run) -> Encoder:
    """The whole trained encoder of a finished run, in evaluation mode, on the CPU.

    Images (B, 3, H, W) with values 0 to 1 in, unit rows (B, dim) out.

    Raises:
        MaclError: If the run has no weights yet.
    """
    path = run.path / "model.safetensors"
    if not path.is_file():
        raise MaclError(f"{run.id} has no weights yet: it is {run.state}; resume it to its end")
    config = run.config
    frozen = config.trainable == "head"
    # a fully trained backbone comes from the run; a frozen one is where it came from
    backbone = build_backbone(config.backbone, config.weights if frozen else "none")
    whole = Encoder(backbone, ProjectionHead(backbone.features, config.hidden, config.dim))
    tensors = {
        k.removeprefix("encoder."): v for k, v in read_tensors(path)[0].items() if k.startswith("encoder.")
    }
    (whole.head if frozen else whole).load_state_dict(tensors)
    return whole.eval()


def write(run: Run, folder: Path) -> None:
    """Write encoder.safetensors, config.json, scores.json, splits.json and embeddings.csv to `folder`."""
    whole = encoder(run)
    z, y = run.embeddings()
    names = run.splits()["test"]
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in whole.state_dict().items()}
    write_atomic(folder / "encoder.safetensors", save(state, {"config": run.config.model_dump_json()}))
    for name in ("config.json", "scores.json", "splits.json"):
        write_atomic(folder / name, (run.path / name).read_bytes())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *(f"y{i}" for i in range(y.shape[1])), *(f"z{i}" for i in range(z.shape[1]))])
    for name, labels, row in zip(names, y, z, strict=True):
        writer.writerow([name, *map(int, labels), *(f"{value:.7g}" for value in row)])
    write_atomic(folder / "embeddings.csv", text.getvalue())
