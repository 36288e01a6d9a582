"""An export gives every saved embedding again, by the recipe in encoder.json and nothing of the product."""

import csv
import importlib.util
import io
import json
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
import timm
import torch
import torchvision
from PIL import Image, ImageOps, TiffImagePlugin
from rasterio.errors import NotGeoreferencedWarning
from safetensors.torch import load_file
from torch.nn import functional as F

from assets.demo import draw as demo
from core import cli, runs
from core.data import load
from core.data.augment import view
from core.encoder import export, trained
from core.errors import MaclError
from core.retrieval import upload
from core.runs import Run
from core.runs.origin import look_of
from core.training import loop
from tests.core.data.test_data_prepared import deep_tiff
from tests.small_runs import config

EACH = 12  # images of a kind
LEAST = {"float32": 0.9999, "bf16": 0.999}  # cosine of every image


def written(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def turned(image: Image.Image) -> bytes:
    exif = image.getexif()
    exif[0x0112] = 6
    return written(image, "JPEG", exif=exif, quality=95)


def grey(image: Image.Image, kind: type, least: float, most: float) -> np.ndarray:
    values = np.asarray(image.convert("L"), dtype=np.float64) / 255 * (most - least) + least
    return values.astype(kind)


def seen_in_part(image: Image.Image, kind: str) -> bytes:
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, image.width // 3, image.height // 2))
    alpha.paste(128, (0, image.height // 2, 4, image.height))
    return written(Image.merge("RGBA", (*image.split(), alpha)), kind)


def no_data(image: Image.Image) -> bytes:
    values = grey(image, np.float32, -3, 700)
    values[:5], values[7, 7] = -9999, np.nan
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[42113] = "-9999"
    return written(Image.fromarray(values), "TIFF", tiffinfo=tags)


KINDS: dict[str, tuple[str, int, Callable[[Image.Image], bytes]]] = {  # extension, side, how it is written
    "plain": ("png", 48, lambda image: written(image, "PNG")),
    "of the size of training": ("png", 32, lambda image: written(image, "PNG")),
    "oblong": ("png", 150, lambda image: written(image.crop((0, 0, 61, 150)), "PNG")),
    "large": ("tif", 260, lambda image: written(image, "TIFF")),
    "large JPEG": ("jpg", 400, lambda image: written(image, "JPEG", quality=90)),
    "turned": ("jpg", 64, lambda image: turned(image.crop((0, 0, 64, 40)))),
    "grey": ("png", 48, lambda image: written(image.convert("L"), "PNG")),
    "palette": ("png", 48, lambda image: written(image.convert("P"), "PNG", transparency=3)),
    "CMYK": ("jpg", 48, lambda image: written(image.convert("CMYK"), "JPEG")),
    "transparent": ("png", 48, lambda image: seen_in_part(image, "PNG")),
    "edge of a scene": ("tif", 48, lambda image: seen_in_part(image, "TIFF")),
    "near infrared": (
        *("tif", 48),
        lambda image: written(Image.merge("RGBA", (*image.split(), image.convert("L"))), "TIFF"),
    ),
    "16 bits": ("png", 48, lambda image: written(Image.fromarray(grey(image, np.uint16, 90, 4000)), "PNG")),
    "floats with gaps": ("tif", 48, no_data),
    "16 bits per band": ("tif", 48, lambda image: deep_tiff(np.asarray(image).astype(np.uint16) * 200 + 99)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn scenes in every form that a person's own folder may hold."""
    place = tmp_path_factory.mktemp("kinds")
    lines = ["image," + ",".join(demo.CLASSES)]
    for index in range(EACH * len(KINDS)):
        kind = list(KINDS)[index % len(KINDS)]
        extension, side, write = KINDS[kind]
        pixels, labels = demo.draw(index, size=side)
        name = f"{kind.replace(' ', '-')}_{index:03d}.{extension}"
        (place / name).write_bytes(write(Image.fromarray(pixels)))
        lines.append(f"{name}," + ",".join(map(str, labels)))
    (place / "labels.csv").write_text("\n".join(lines) + "\n")
    return place


# -- somebody who has Pillow, numpy, torch, timm and torchvision, and reads encoder.json -------------------


def prepared(file: Path, side: int, limits: list[list[float]]) -> torch.Tensor:
    image: Image.Image = Image.open(file)
    deep = (
        image.mode.startswith("I") or image.mode == "F" or any(";16" in str(tile[3]) for tile in image.tile)
    )  # type: ignore[attr-defined]
    if image.format == "JPEG":
        image.draft(None, (2 * side, 2 * side))
    tiff = image.format == "TIFF"
    image = ImageOps.exif_transpose(image)
    if deep:
        image = stretched(file, limits)
    elif "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        band = np.asarray(rgba)[..., 3]
        between = ((band > 0) & (band < 255)).mean()
        if not tiff or ((band == 255).any() and between < 0.5):
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    image = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def stretched(file: Path, limits: list[list[float]]) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(file) as source:
            values, gap = source.read().astype(np.float64), source.nodata
    known = (np.isfinite(values) & (values != gap)).all(axis=0)
    low, high = np.array(limits)[: len(values), :, None, None].swapaxes(0, 1)
    grey = np.where(known, np.rint(255 * (values.clip(low, high) - low) / (high - low)), 0).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(grey.transpose(1, 2, 0)).squeeze())


def by_the_recipe(exported: Path, files: list[Path]) -> torch.Tensor:
    about = json.loads((exported / "encoder.json").read_text())
    tensors = load_file(exported / "encoder.safetensors")
    if about["network"].startswith("timm."):
        network = eval(about["network"], {"timm": timm})
    else:
        network = torchvision.models.get_model(about["backbone"])
        network.fc = torch.nn.Identity()
    prefix = "backbone.network."
    network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    network = network.eval().to(memory_format=torch.channels_last)

    x = torch.stack(
        [prepared(file, about["prepared_size"], about["limits"]) for file in files]
    )  # (B, 3, P, P) uint8
    x = F.interpolate(x, (about["image_size"],) * 2, mode="bilinear", antialias=True)
    mean, std = (torch.tensor(about[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    x = ((x.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)
    bf16 = about["precision"] == "bf16"
    again = any("head.layers.2, under the same autocast" in step for step in about["recipe"])
    with torch.inference_mode():
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            h = network(x)
        with torch.autocast("cpu", torch.bfloat16) if again else nullcontext():
            h = h if again else h.float()
            h = F.linear(h, tensors["head.layers.0.weight"], tensors["head.layers.0.bias"]).relu()
            z = F.linear(h, tensors["head.layers.2.weight"], tensors["head.layers.2.bias"])
    return F.normalize(z.float())


# -- the product --------------------------------------------------------------------------------------------

RUNS: list[dict[str, Any]] = [
    {"preset": "instant", "precision": "float32"},
    {"preset": "instant", "precision": "bf16"},
    {"preset": "instant"},
    {"preset": "quick", "precision": "float32"},
    {"preset": "quick", "precision": "bf16", "backbone": "mobilenetv3_small_050"},
    {"preset": "quick", "precision": "float32", "backbone": "mobilenetv3_small_050", "keep": "best"},
    {"preset": "quick", "precision": "float32", "backbone": "vit_tiny_patch16_224", "dim": 8, "hidden": 16},
]


@pytest.mark.parametrize("fields", RUNS, ids=lambda fields: "-".join(map(str, fields.values())))
def test_an_export_is_enough_without_the_product(
    fields: dict[str, Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(folder, tmp_path, **fields)
    monkeypatch.chdir(tmp_path)
    cli.app(["export", str(run.path)], standalone_mode=False)
    exported = tmp_path / "export" / run.id
    about = json.loads((exported / "encoder.json").read_text())
    rows = list(csv.DictReader((exported / "embeddings.csv").read_text().splitlines()))
    assert about["classes"] == list(demo.CLASSES)
    assert list(rows[0])[: 1 + len(about["classes"])] == ["image", *about["classes"]]
    assert about["precision"] == fields.get("precision", run.precision)
    tested = {row["image"].split("_")[0].replace("-", " ") for row in rows}
    assert tested == set(KINDS)

    z = by_the_recipe(exported, [folder / row["image"] for row in rows])
    saved = torch.tensor([[float(row[f"z{i}"]) for i in range(z.shape[1])] for row in rows])
    np.testing.assert_allclose(saved, run.embeddings()[0], atol=1e-6)
    cosine = {row["image"]: value for row, value in zip(rows, (z * saved).sum(1).tolist(), strict=True)}
    worst = min(cosine, key=lambda name: cosine[name])
    assert cosine[worst] >= LEAST[about["precision"]], (worst, cosine[worst])


@pytest.mark.parametrize("fields", [RUNS[0], RUNS[3]], ids=["frozen", "trained"])
def test_the_onnx_file_gives_every_saved_embedding_again(
    fields: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    """By onnxruntime and what encoder.json says of its input: with a frozen backbone and a trained one."""
    run = made(folder, tmp_path, **fields)
    cli.app(["export", str(run.path), "--onnx", "--to", str(tmp_path / "out")], standalone_mode=False)
    assert look_of(run) == replace(load("folder", str(folder), image_size=32).look, plain=True)
    onnx.checker.check_model(tmp_path / "out" / "encoder.onnx", full_check=True)
    whole = json.loads((tmp_path / "out" / "encoder.json").read_text())
    about = whole["onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "out" / about["file"])
    (given,), (made_of_it,) = session.get_inputs(), session.get_outputs()
    assert given.shape == about["input"]["shape"] == ["batch", 3, 32, 32]
    assert made_of_it.shape == about["output"]["shape"] == ["batch", run.config.dim]
    assert about["values"] == "RGB, 0 to 1"
    assert about["normalisation"].startswith("inside the graph")
    assert not any("mean" in step or "std" in step for step in about["recipe"])
    assert about["recipe"][-2] == "images = x.float() / 255"

    side, limits = whole["prepared_size"], whole["limits"]
    x = torch.stack([prepared(folder / name, side, limits) for name in run.splits()["test"]])
    x = F.interpolate(x, (whole["image_size"],) * 2, mode="bilinear", antialias=True)
    images = (x.float() / 255).numpy()
    for size in (1, 7):
        parts = np.split(images, range(size, len(images), size))
        z = np.concatenate([session.run(["z"], {"images": part})[0] for part in parts])
        np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
        cosine = (z * run.embeddings()[0]).sum(1)
        assert cosine.min() >= LEAST["float32"], (size, cosine.min())


def test_without_the_extra_onnx_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(folder, tmp_path, preset="instant")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MaclError, match=r"--onnx needs .* onnxscript: \.venv/bin/pip install .*\[onnx\]"):
        cli.app(["export", str(run.path), "--onnx", "--to", str(tmp_path / "out")], standalone_mode=False)
    assert not (tmp_path / "out").exists()
    cli.app(["export", str(run.path), "--to", str(tmp_path / "out")], standalone_mode=False)
    assert not (tmp_path / "out" / "encoder.onnx").exists()


@pytest.mark.parametrize("preset", ["instant", "quick"])
def test_a_float32_run_is_embedded_in_float32_on_every_machine(
    preset: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a processor that would choose bf16, and also those with `precision: auto`."""
    run = made(folder, tmp_path, preset=preset, precision="float32")
    run.mark("config.json", run.config.model_copy(update={"precision": "auto"}).model_dump_json())
    monkeypatch.setattr("core.device._cpu_has_bf16", lambda: True)
    data = load("folder", str(folder), image_size=32)
    rows = [data.names.index(name) for name in run.splits()["test"]]
    z, _ = run.embeddings()
    assert (trained.read(run).embed(data.images[rows]) * z).sum(1).min() >= LEAST["float32"]
    with torch.inference_mode():
        whole = export.encoder(run)(view(torch.from_numpy(data.images[rows]), 32)).numpy()
    assert (whole * z).sum(1).min() >= LEAST["float32"]
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)


def test_an_uploaded_image_of_any_kind_is_seen_as_in_its_data_set(folder: Path) -> None:
    data = load("folder", str(folder), image_size=32)
    for name, pixels in list(zip(data.names, data.images, strict=True))[: 2 * len(KINDS)]:
        (seen,) = upload.read((folder / name).read_bytes(), [40], data.look)
        np.testing.assert_array_equal(seen, pixels, name)


def made(folder: Path, root: Path, **fields: Any) -> Run:
    run = runs.create(config(folder, device="cpu", epochs=1, **fields), root / "runs")
    assert loop.run(run.path) == "finished", run.error
    return run
