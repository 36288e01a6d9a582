"""Runs on any number of bands: trained, resumed, scored, asked, explained, exported."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import rasterio
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from typer.testing import CliRunner

from core import cli, runs
from core.background import cache
from core.data import load
from core.encoder import trained
from core.errors import MaclError
from core.report import scoring
from core.retrieval import ask, upload
from core.retrieval.embedder import Embedder
from core.runs import Run
from core.runs.origin import look_of
from core.training import loop
from tests.core.data.test_data_raster import written
from tests.small_runs import config

N, SIDE = 40, 48
NAMES = {
    "four": ("B02", "B03", "B04", "B08"),
    "thirteen": (),
    "files": ("B02", "B03", "B04", "B8A", "B11"),
}
COUNT = {"four": 4, "thirteen": 13, "files": 5}


def values(i: int, count: int) -> np.ndarray:
    """(C, S, S) uint16, brighter in the bands of its labels."""
    rng = np.random.default_rng(i)
    bright = 100 + 900 * (i >> (np.arange(count) % 3) & 1)
    return (rng.integers(0, 800, (count, SIDE, SIDE)) + bright[:, None, None]).astype(np.uint16)


def folder(root: Path, kind: str) -> Path:
    root.mkdir()
    with (root / "labels.csv").open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["image", "a", "b", "c"])
        for i in range(N):
            bands = values(i, COUNT[kind])
            if kind == "files":
                place = root / f"p{i:02d}"
                place.mkdir()
                for band, one in zip(NAMES[kind], bands, strict=True):
                    (place / f"p{i:02d}_{band}.tif").write_bytes(written(one[None, :: 1 + (band == "B11")]))
            else:
                (root / f"p{i:02d}.tif").write_bytes(written(bands, NAMES[kind]))
            name = f"p{i:02d}" if kind == "files" else f"p{i:02d}.tif"
            rows.writerow([name, 1, i & 1, i >> 1 & 1])
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    place = tmp_path_factory.mktemp("bands")

    def one(kind: str) -> Path:
        return place / kind if (place / kind).exists() else folder(place / kind, kind)

    return one


def made(root: Path, where: Path, **fields: Any) -> Run:
    fields = {"device": "cpu", "epochs": 1, "bands": "all", "precision": "float32"} | fields
    run = runs.create(config(root, **fields), where / "runs")
    assert loop.run(run.path) == "finished", run.error
    return run


RUNS = [
    ("four", {"preset": "instant"}),
    ("four", {"preset": "quick", "keep": "best"}),
    ("thirteen", {"preset": "instant"}),
    ("thirteen", {"preset": "quick", "backbone": "mobilenetv3_small_050"}),
    ("files", {"preset": "quick", "backbone": "vit_tiny_patch16_224", "dim": 8, "hidden": 16}),
    ("files", {"preset": "instant", "bands": "B11,B8A,B04,B02"}),
]


@pytest.mark.parametrize(("kind", "fields"), RUNS, ids=lambda value: str(value)[:40])
def test_from_files_to_scores_and_back(
    kind: str, fields: dict[str, Any], folders: Callable[[str], Path], tmp_path: Path
) -> None:
    run = made(folders(kind), tmp_path, **fields)
    count = 4 if "bands" in fields else COUNT[kind]
    data = run.config.images.load()
    assert data.images.shape[3] == look_of(run).channels == count
    assert len(look_of(run).limits) == count
    z, _ = run.embeddings()
    network = trained.read(run)
    assert network.backbone.channels == count
    rows = [data.names.index(name) for name in run.splits()["test"]]
    np.testing.assert_allclose(network.embed(data.images[rows]), z, atol=1e-4)
    scored = scoring.over_all(run)
    assert scored["images"] == N
    (run.path / "data.json").unlink()
    assert look_of(run) == look_of(Run(run.path)), "the weights know it too"
    assert look_of(run).channels == count


def test_the_way_is_the_same_with_a_stop_in_between(folders: Callable[[str], Path], tmp_path: Path) -> None:
    fields = {"preset": "quick", "backbone": "mobilenetv3_small_050", "epochs": 2, "batch_size": 8}
    whole = made(folders("four"), tmp_path / "a", **fields)
    parts = runs.create(whole.config, tmp_path / "b")

    def stop(done: int, total: int, what: str) -> None:
        if (done, what) == (3, "training"):
            (parts.path / "stop").touch()

    assert loop.run(parts.path, stop) == "stopped"
    assert loop.run(parts.path) == "finished", parts.error
    np.testing.assert_array_equal(whole.embeddings()[0], parts.embeddings()[0])


def test_the_command_line(folders: Callable[[str], Path], tmp_path: Path) -> None:
    root = folders("four")
    out = CliRunner().invoke(cli.app, ["data", "check", "folder", "--data-root", str(root), "--bands", "all"])
    assert out.exit_code == 0, out.output
    assert "the network sees 4 bands (B02, B03, B04, B08); B04, B03, B02 are shown" in " ".join(
        out.output.split()
    )
    arguments = ["--preset", "quick", "--dataset", "folder", "--data-root", str(root), "--epochs", "1"]
    arguments += ["--image-size", "32", "--batch-size", "16", "--backbone", "mobilenetv3_small_050"]
    arguments += ["--loss", "mulsupcon", "--device", "cpu", "--run-root", str(tmp_path)]
    out = CliRunner().invoke(cli.app, ["train", *arguments, "--bands", "all:4,3,2"])
    assert out.exit_code == 0, out.output
    run = Run(Path(out.output.splitlines()[-1]))
    assert run.config.reading.bands == "all:4,3,2"
    assert look_of(run).shown == (3, 2, 1)
    out = CliRunner().invoke(cli.app, ["evaluate", str(run.path), "--gallery", "all"])
    assert out.exit_code == 0, out.output


# -- questions ----------------------------------------------------------------------------------------------


@pytest.fixture
def _own_embedder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "home", lambda: tmp_path / "embedder")
    monkeypatch.setattr(ask, "ensure", lambda: None)
    for name in ("questions", "answers"):
        (tmp_path / "embedder" / name).mkdir(parents=True)


def answered(*questions: ask.Question) -> list[ask.Reply]:
    for question in questions:
        ask.ask(question)
    embedder = Embedder(0.0)
    while embedder.next_one():
        pass
    return [ask.look(question) for question in questions]


def uploaded(run: Run, data: bytes) -> str:
    key, look = upload.key_of(data), look_of(run)
    ask.keep_picture(ask.seen(key, look), {40: upload.pixels(data, [40], None, look)[0]})
    return ask.PICTURE + key


@pytest.mark.usefixtures("_own_embedder")
@pytest.mark.parametrize("preset", ["instant", "quick"])
def test_an_upload_and_regions(preset: str, folders: Callable[[str], Path], tmp_path: Path) -> None:
    root = folders("four")
    run = made(root, tmp_path, preset=preset)
    z, names = run.embeddings()[0], run.splits()["test"]
    name = uploaded(run, (root / names[1]).read_bytes())
    path = str(run.path)
    embedded, explained, splits = answered(
        ask.Question("embed", path, name),
        ask.Question("explain", path, name, names[2]),
        ask.Question("splits", path),
    )
    assert embedded.state == "ready", embedded.error
    np.testing.assert_allclose(embedded.arrays["z"][0], z[1], atol=1e-4)
    assert explained.state == "ready", explained.error
    assert explained.arrays["cosine"] == pytest.approx(z[1] @ z[2], abs=1e-3)
    assert splits.state == "ready", splits.error
    assert len(splits.arrays["z_train"]) == len(run.splits()["train"])


@pytest.mark.usefixtures("_own_embedder")
def test_runs_that_see_a_picture_in_other_ways_share_no_features(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    """With one frozen backbone, and so one kind of features."""
    root = folders("four")
    one, other = (made(root, tmp_path / bands, preset="instant", bands=bands) for bands in ("4,3,2", "1,2,3"))
    name = one.splits()["test"][0]
    data = (root / name).read_bytes()
    asked = [ask.Question("embed", str(run.path), uploaded(run, data)) for run in (one, other)]
    for run, reply in zip((one, other), answered(*asked), strict=True):
        np.testing.assert_allclose(reply.arrays["z"][0], run.embeddings()[0][0], atol=1e-4)


def test_an_upload_without_the_bands_is_a_sentence(folders: Callable[[str], Path], tmp_path: Path) -> None:
    """Of all bands, of a choice of them, and by name."""
    run = made(folders("four"), tmp_path, preset="instant")
    picture = written(values(0, 3).astype(np.uint8))
    need = "need an image with the bands that the run was trained on"
    with pytest.raises(MaclError, match=f"^3 bands where the data set has 4: {need}$"):
        upload.pixels(picture, [40], None, look_of(run))
    with pytest.raises(MaclError, match=f"^no band B04: it has B1, B2, B3, B8: {need}$"):
        upload.pixels(written(values(0, 4), ("B1", "B2", "B3", "B8")), [40], None, look_of(run))
    stream = tmp_path / "photo.jpg"
    Image.new("RGB", (40, 40)).save(stream)
    with pytest.raises(MaclError, match=f"^3 bands where the data set has 4: {need}$"):
        upload.pixels(stream.read_bytes(), [40], None, look_of(run))
    (unnamed,) = upload.pixels(written(values(0, 4)), [40], None, look_of(run))
    (named,) = upload.pixels(written(values(0, 4), NAMES["four"]), [40], None, look_of(run))
    np.testing.assert_array_equal(unnamed, named)
    assert unnamed.shape == (40, 40, 4)


# -- export -------------------------------------------------------------------------------------------------


def prepared(root: Path, about: dict[str, Any]) -> torch.Tensor:
    """By rasterio, numpy and Pillow, as encoder.json says."""
    with rasterio.open(root) as source:
        v = source.read().astype(np.float64)
    side, bands = about["prepared_size"], []
    for band, (low, high) in zip(v, about["limits"], strict=True):
        grey = np.rint(255 * (band.clip(low, high) - low) / (high - low)).astype(np.uint8)
        image = Image.fromarray(grey)
        bands.append(image.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0))
    return torch.from_numpy(np.stack(bands))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("four", {"preset": "instant"}),
        ("four", {"preset": "quick"}),
        ("thirteen", {"preset": "quick", "backbone": "mobilenetv3_small_050"}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_export_is_enough_without_the_product(
    kind: str, fields: dict[str, Any], folders: Callable[[str], Path], tmp_path: Path
) -> None:
    root, count = folders(kind), COUNT[kind]
    run = made(root, tmp_path, **fields)
    out = tmp_path / "out"
    with_onnx = ["--onnx"] if fields["preset"] == "quick" else []
    cli.app(["export", str(run.path), *with_onnx, "--to", str(out)], standalone_mode=False)
    about = json.loads((out / "encoder.json").read_text())
    bands = list(NAMES[kind]) or [str(k + 1) for k in range(count)]
    assert (about["channels"], about["bands"]) == (count, bands)
    assert len(about["mean"]) == len(about["std"]) == len(about["limits"]) == count
    assert any(f"all {count} bands" in step for step in about["recipe"])
    assert not any("RGB" in step for step in about["recipe"])

    x = torch.stack([prepared(root / name, about) for name in run.splits()["test"]])
    x = F.interpolate(x, (about["image_size"],) * 2, mode="bilinear", antialias=True).float() / 255
    z = run.embeddings()[0]
    if with_onnx:
        session = onnxruntime.InferenceSession(out / "encoder.onnx")
        assert session.get_inputs()[0].shape == about["onnx"]["input"]["shape"] == ["batch", count, 32, 32]
        assert about["onnx"]["values"] == f"bands {', '.join(bands)}, 0 to 1"
        assert (session.run(["z"], {"images": x.numpy()})[0] * z).sum(1).min() > 0.9999

    tensors = load_file(out / "encoder.safetensors")
    if about["network"].startswith("timm."):
        network = eval(about["network"], {"timm": timm})
    else:
        network = torchvision.models.get_model(about["backbone"])
        network.fc = torch.nn.Identity()
        network.conv1 = eval(about["network"].partition("its conv1 by ")[2], {"torch": torch})
    prefix = "backbone.network."
    network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    mean, std = (torch.tensor(about[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        h = network.eval()((x - mean) / std)
        h = F.linear(h, tensors["head.layers.0.weight"], tensors["head.layers.0.bias"]).relu()
        again = F.normalize(F.linear(h, tensors["head.layers.2.weight"], tensors["head.layers.2.bias"]))
    assert (again.numpy() * z).sum(1).min() > 0.9999


def test_features_of_other_bands_are_not_taken_from_the_cache(
    folders: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    root = folders("four")
    for number, bands in enumerate(("all", "", "4,3,2", "all:4,3,2"), 1):
        made(root, tmp_path / str(number), preset="instant", bands=bands)
        # what is shown changes nothing of what is computed
        assert len(list((cache.cache_root() / "features").glob("*.npy"))) == min(number, 3)


def test_a_run_of_before_is_read_as_rgb(tiny: Path, tmp_path: Path) -> None:
    """Without its look, beside or in the weights."""
    run = made(tiny, tmp_path, preset="quick", bands="")
    data = json.loads((run.path / "data.json").read_text())
    del data["stretch"]
    (run.path / "data.json").write_text(json.dumps(data))
    weights = run.path / "model.safetensors"
    save_file(load_file(weights), weights, {"config": run.config.model_dump_json(), "epoch": "1"})
    assert look_of(run).channels == 3
    images = load("folder", tiny, 32)
    rows = [images.names.index(name) for name in run.splits()["test"]]
    z = trained.read(run).embed(images.images[rows])
    np.testing.assert_allclose(z, run.embeddings()[0], atol=1e-4)
