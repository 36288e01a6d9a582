"""A trained encoder and its test embeddings as plain files, for use outside this product."""

import csv
import io
import json
from pathlib import Path

from safetensors.torch import save

from core.data.prepared import prepared_size
from core.errors import MaclError
from core.files import write_atomic
from core.model import Encoder, ProjectionHead, build_backbone
from core.runs import Run
from core.train import read_tensors


def encoder(run: Run) -> Encoder:
    """The whole trained encoder of a finished run, in evaluation mode, on the CPU.

    Images (B, 3, H, W) with values 0 to 1 in, unit rows (B, dim) out.

    Raises:
        MaclError: If the run has no weights, or none yet.
    """
    path = run.path / "model.safetensors"
    if not path.is_file():
        if run.recorded:
            raise MaclError(
                f"{run.id} came with the product, without its weights: train it here to export it"
            )
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


def write(run: Run, folder: Path, force: bool = False) -> None:
    """Write the encoder, what its input must be, the test embeddings, configuration, scores and splits.

    Args:
        run: A finished run.
        folder: Made if missing.
        force: Also into a folder that is not empty.

    Raises:
        MaclError: If the folder is not empty, or holds a run, or the run has no weights.
    """
    held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if "config.json" in held and held & {"metrics.jsonl", "lock"}:
        raise MaclError(f"{folder} holds a run: choose another folder with --to")
    if held and not force:
        raise MaclError(
            f"{folder} is not empty: choose another folder with --to, or write there with --force"
        )
    whole = encoder(run)
    z, y = run.embeddings()
    names = run.splits()["test"]
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in whole.state_dict().items()}
    write_atomic(folder / "encoder.safetensors", save(state, {"config": run.config.model_dump_json()}))
    classes = run.classes() or [f"y{i}" for i in range(y.shape[1])]
    write_atomic(folder / "encoder.json", json.dumps(_about(run, whole, classes), indent=2) + "\n")
    for name in ("config.json", "scores.json", "splits.json"):
        write_atomic(folder / name, (run.path / name).read_bytes())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *classes, *(f"z{i}" for i in range(z.shape[1]))])
    for name, labels, row in zip(names, y, z, strict=True):
        writer.writerow([name, *map(int, labels), *(f"{value:.7g}" for value in row)])
    write_atomic(folder / "embeddings.csv", text.getvalue())


def _about(run: Run, whole: Encoder, classes: list[str]) -> dict[str, object]:
    """What a program without this product has to know of the encoder."""
    config, backbone = run.config, whole.backbone
    first = prepared_size(config.image_size)
    return {
        "backbone": config.backbone,
        "classes": classes,
        "mean": [round(value, 6) for value in backbone.mean.flatten().tolist()],
        "std": [round(value, 6) for value in backbone.std.flatten().tolist()],
        "image_size": config.image_size,
        "input": "RGB in 0..1, then (x - mean) / std",
        "resize": "the whole image, not a crop, to image_size x image_size, bilinear with antialiasing; "
        f"in training it was first brought to {first} x {first}, bicubic",
    }
