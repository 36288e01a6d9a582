"""A trained encoder and its test embeddings as plain files, for use outside this product."""

import csv
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save

from core.data.look import TAILS, Look
from core.data.prepared import prepared_size
from core.encoder.model import Backbone, Encoder, ProjectionHead, build_backbone
from core.encoder.tensors import read_tensors
from core.encoder.weights import TORCHVISION
from core.errors import MaclError
from core.files import write_atomic
from core.runs import Run, RunConfig
from core.runs.origin import look_of

ONNX_PACKAGES = ("onnx", "onnxscript")  # the extra `onnx`
NO_BANDS = (
    "the bands B04, B03, B02, or red, green, blue, where they are so named, else the first three, or the "
    "first of one or two,"
)


def encoder(run: Run) -> Encoder:
    """The whole trained encoder of a finished run, in evaluation mode, on the CPU.

    Images (B, C, H, W) with values 0 to 1 in, unit rows (B, dim) out.

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
    # the run holds a fully trained backbone; a frozen one comes from its original weights
    weights = config.weights if frozen else "none"
    backbone = build_backbone(config.backbone, weights, look_of(run).channels)
    whole = Encoder(backbone, ProjectionHead(backbone.features, config.hidden, config.dim))
    try:
        saved = read_tensors(path)[0]
        tensors = {k.removeprefix("encoder."): v for k, v in saved.items() if k.startswith("encoder.")}
        (whole.head if frozen else whole).load_state_dict(tensors)
    except SafetensorError as error:
        raise MaclError(f"{path} is damaged ({error}): copy it again, or train the run again") from None
    except RuntimeError:  # of load_state_dict, which lists hundreds of tensors
        raise MaclError(
            f"{path} holds other weights than those of its configuration: copy the run again"
        ) from None
    return whole.eval()


def write(run: Run, folder: Path, force: bool = False, onnx: bool = False) -> None:
    """Write the encoder, the description of its input, test embeddings, configuration, scores and splits.

    Args:
        run: A finished run.
        folder: Created if missing.
        force: Write even into a folder that is not empty.
        onnx: Write the encoder as `encoder.onnx` too.

    Raises:
        MaclError: If the folder is not empty or holds a run, the run has no weights, or packages for ONNX are
            missing.
    """
    if onnx and not all(map(importlib.util.find_spec, ONNX_PACKAGES)):
        raise MaclError(
            f"--onnx needs the packages {' and '.join(ONNX_PACKAGES)}: "
            ".venv/bin/pip install --constraint constraints.txt --editable '.[onnx]'"
        )
    if folder.exists() and not folder.is_dir():
        raise MaclError(f"{folder} is a file: choose a folder with --to")
    names_there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if "config.json" in names_there and names_there & {"metrics.jsonl", "lock"}:
        raise MaclError(f"{folder} holds a run: choose another folder with --to")
    if names_there and not force:
        raise MaclError(
            f"{folder} is not empty: choose another folder with --to, or write there with --force"
        )
    whole = encoder(run)
    graph = onnx_bytes(whole, run.config) if onnx else b""
    z, y = run.embeddings()
    names = run.splits()["test"]
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in whole.state_dict().items()}
    write_atomic(folder / "encoder.safetensors", save(state, {"config": run.config.model_dump_json()}))
    classes = run.classes() or [f"y{i}" for i in range(y.shape[1])]
    description = _about(run, whole, classes)
    if onnx:
        write_atomic(folder / "encoder.onnx", graph)
        description["onnx"] = _about_onnx(run, description["recipe"])
    write_atomic(folder / "encoder.json", json.dumps(description, indent=2) + "\n")
    for name in ("config.json", "scores.json", "splits.json"):
        write_atomic(folder / name, (run.path / name).read_bytes())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *classes, *(f"z{i}" for i in range(z.shape[1]))])
    for name, labels, row in zip(names, y, z, strict=True):
        writer.writerow([name, *map(int, labels), *(f"{value:.7g}" for value in row)])
    write_atomic(folder / "embeddings.csv", text.getvalue())


def onnx_bytes(whole: Encoder, config: RunConfig) -> bytes:
    """The whole encoder as one ONNX graph in float32: `images` (B, C, S, S) in, `z` (B, D) out, any B.

    Raises:
        MaclError: If the exporter does not know an operation of the backbone.
    """
    # 2 images: with 1, B would become a constant
    example = torch.rand(2, whole.backbone.channels, config.image_size, config.image_size)
    try:
        # by torch.export: the TorchScript exporter is deprecated and knows no bicubic resize (ViTs)
        program = torch.onnx.export(
            whole, (example,), dynamo=True, verbose=False, input_names=["images"], output_names=["z"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        raise MaclError(
            f"torch cannot write {config.backbone} as ONNX ({str(error).splitlines()[0]}): leave --onnx out"
        ) from error
    assert program is not None  # it returns one if no file is named
    graph: bytes = program.model_proto.SerializeToString()
    return graph


def _about_onnx(run: Run, recipe: list[str]) -> dict[str, object]:
    """What somebody with only an ONNX runtime needs to know."""
    size, look = run.config.image_size, look_of(run)
    named = look.whole or look.channels != 3
    bytes_on = next(step for step, text in enumerate(recipe) if text.startswith("x = (x.float()"))
    return {
        "file": "encoder.onnx",
        "input": {"name": "images", "shape": ["batch", look.channels, size, size], "type": "float32"},
        "values": f"bands {', '.join(look.bands)}, 0 to 1" if named else "RGB, 0 to 1",
        "normalisation": "inside the graph: neither subtract mean nor divide by std",
        "output": {"name": "z", "shape": ["batch", run.config.dim], "type": "float32, rows of length 1"},
        "recipe": [
            *recipe[:bytes_on],
            "images = x.float() / 255",
            "z = onnxruntime.InferenceSession('encoder.onnx').run(['z'], {'images': images.numpy()})[0]",
        ],
        "precision": "float32, also of a run that was trained in bf16",
    }


def _about(run: Run, whole: Encoder, classes: list[str]) -> dict[str, Any]:
    """What a program without this product needs to know of the encoder and do with an image, step by step."""
    config, backbone, look = run.config, whole.backbone, look_of(run)
    return {
        "backbone": config.backbone,
        "network": _network(config.backbone, backbone),
        "classes": classes,
        "mean": [round(value, 6) for value in backbone.mean.flatten().tolist()],
        "std": [round(value, 6) for value in backbone.std.flatten().tolist()],
        "prepared_size": prepared_size(config.image_size),
        "channels": look.channels,
        "bands": list(look.bands),
        "limits": [list(pair) for pair in look.limits],
        "image_size": config.image_size,
        "precision": run.precision,
        "recipe": _recipe(run),
    }


def _network(name: str, backbone: Backbone) -> str:
    """The call that creates the network of the backbone."""
    if name in TORCHVISION:
        first = ""
        if backbone.channels != 3:
            layer = f"Conv2d({backbone.channels}, 64, kernel_size=7, stride=2, padding=3, bias=False)"
            first = f", its conv1 by torch.nn.{layer}"
        return f"torchvision.models.get_model({name!r}), its fc replaced by torch.nn.Identity(){first}"
    bands = f", in_chans={backbone.channels}" if backbone.channels != 3 else ""
    any_size = ", dynamic_img_size=True" if getattr(backbone.network, "dynamic_img_size", False) else ""
    return f"timm.create_model({name!r}, num_classes=0{bands}{any_size})"


def _recipe(run: Run) -> list[str]:
    """From an image file to its embedding: `decode`, `view` and the encoder in words."""
    size, bf16 = run.config.image_size, run.precision == "bf16"
    first = prepared_size(size)
    low, high = TAILS
    look = look_of(run)
    chosen = f"the bands {', '.join(look.bands)} (numbers from 1, or names)" if look.bands else NO_BANDS
    ends = "lo, hi = `limits`, a pair for each band (the last for all others)"
    if not look.limits:
        ends = (
            f"lo = numpy.percentile(known, {low}, method='lower'), hi = numpy.percentile(known, {high}, "
            "method='higher') of these bands together, or least and greatest where the two are equal"
        )
    cast = ", under torch.autocast with torch.bfloat16, network and x in torch.channels_last" if bf16 else ""
    same = ", under the same autocast" if bf16 and run.config.trainable == "all" else ""
    steps = [
        *(_bands_of(look, first, ends) if look.channels != 3 else _rgb_of(chosen, first, ends)),
        f"x = its bytes as a torch.uint8 tensor (B, {look.channels}, {first}, {first}) on the CPU; "
        f"torch.nn.functional.interpolate(x, ({size}, {size}), mode='bilinear', antialias=True): bytes "
        "again",
        "x = (x.float() / 255 - mean) / std, each per band",
        f"h = network(x) with the tensors backbone.network.* of encoder.safetensors, in evaluation "
        f"mode{cast}",
        "z = linear(h.float(), head.layers.0.weight, head.layers.0.bias), relu, then likewise with "
        f"head.layers.2{same}",
        "z.float(), its rows divided by their length",
    ]
    if bf16:
        steps.append(
            "bf16 rounds in another way on another kind of processor or in float32, where a cosine to "
            f"embeddings.csv, made on {run.scores()['device']}, can be as low as 0.99: train with "
            "--precision float32 for an encoder that gives the same everywhere"
        )
    return steps


def _rgb_of(chosen: str, first: int, ends: str) -> list[str]:
    """From a file to an RGB image of `first` pixels."""
    return [
        "image = PIL.Image.open(file), the first frame; of a JPEG, before any pixel is read, "
        f"image.draft(None, ({2 * first}, {2 * first})); then PIL.ImageOps.exif_transpose(image)",
        "a TIFF, JPEG 2000 or PNG with more than 8 bits per band or floats, with more than four bands, or "
        "with several pages of equal size (whose bands follow one another) instead by "
        f"rasterio.open(file).read(): {chosen} as values v; known = those that are finite, not the "
        "no-data value and neither masked nor transparent in any of these bands, the rest becomes "
        "black; of more than 8 bits or floats "
        f"numpy.rint(255 * (v.clip(lo, hi) - lo) / (hi - lo)) of each band, {ends}",
        "transparency (a band A, or 'transparency' in image.info): image.convert('RGBA') over opaque black "
        "by PIL.Image.alpha_composite; a TIFF's band A is left out instead where none of it is 255, or where "
        "half of it or more lies in 1..254",
        "image = image.convert('RGB')",
        f"image = image.resize(({first}, {first}), PIL.Image.Resampling.BICUBIC, reducing_gap=3.0): the "
        "whole image, not a crop",
    ]


def _bands_of(look: Look, first: int, ends: str) -> list[str]:
    """From a file to as many bands as the network sees, of `first` pixels."""
    count = len(look.bands)
    which = f"all {count} bands" if look.whole else f"the bands {', '.join(look.bands)}"
    return [
        f"v = rasterio.open(file).read(): {which} in the order of `bands` (numbers from 1, or names; pages "
        "of equal size follow one another, and so do the files of an image in one file per band), upright",
        "of more than 8 bits or floats numpy.rint(255 * (v.clip(lo, hi) - lo) / (hi - lo)) of each band, "
        f"{ends}; known = those that are finite, not the no-data value and neither masked nor transparent in "
        "any of these bands, the rest becomes 0",
        f"image = each band by itself as PIL.Image.fromarray(band).resize(({first}, {first}), "
        "PIL.Image.Resampling.BICUBIC, reducing_gap=3.0): the whole image, not a crop",
    ]
