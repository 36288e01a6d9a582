"""The way into an archive: `python -m tests.bench.archive_embed [FOLDER] [IMAGES]`.

How fast images are embedded beside the network's own forward pass of the same images from memory, by a
ResNet-18 at the size of images that training from scratch has, and by the light encoder of a head; and scenes
of 10,000 pixels in three zones: coordinates, gaps, and the most memory of a process that does nothing else.
What limits the first is said with it: on a CPU decoding and network share the cores, so that no ingest can be
faster than the sum of both; processor time beside it says what another process on the machine cost. Without a
folder drawn JPEGs of 256 pixels are embedded.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image

from core import archive, runs
from core.archive import ingest, scene
from core.data.decode import decode, quiet_decoding
from core.data.prepared import prepared_size
from core.encoder import trained
from core.files import PROJECT
from core.runs import Run
from tests.bench import measured, sized, verdict

ASKED = [word for word in sys.argv[1:] if not (word.startswith("-") or word.isdecimal())]
COUNTS = [int(word) for word in sys.argv[1:] if word.isdecimal()]
NUMBER = COUNTS[0] if COUNTS else sized(1536, 40)  # images
SIDE = sized(10_000, 600)  # pixels of a scene
ROUNDS = sized(3, 1)
SIZE = sized(256, 32)  # of the images of the ResNet-18, as the paper's preset has it
missed: list[str] = []


def main() -> int:
    """Print every figure beside its bar; 1 if one is missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = photographs(folder / "images")
        resnet = encoder(folder, "paper", SIZE)
        of_a_rate(folder, files, resnet, f"ResNet-18 at {SIZE} px", 0.9)
        light = encoder(folder, "instant", sized(128, 32))
        of_a_rate(folder, files, light, "EfficientNet-Lite0 at 128 px", None)
        for zone in (32601, 32632, 32760)[: sized(3, 1)]:
            of_a_scene(folder, light, zone)
    print(f"load {os.getloadavg()[0]:.1f}; missed: {', '.join(missed) or 'none'}")
    return verdict(missed)


def photographs(drawn: Path) -> list[Path]:
    """The images that are embedded."""
    if ASKED:
        found = sorted(path for path in Path(ASKED[0]).rglob("*") if path.suffix in (".jpg", ".png", ".tif"))
        return found[:NUMBER]
    drawn.mkdir()
    dice = np.random.default_rng(0)
    for i in range(NUMBER):
        rough = Image.fromarray(dice.integers(0, 256, (32, 32, 3), np.uint8))
        rough.resize((256, 256), Image.Resampling.BICUBIC).save(drawn / f"{i:05d}.jpg", quality=90)
    return sorted(drawn.iterdir())


def encoder(folder: Path, preset: str, size: int) -> Run:
    """A run with an untrained network, which takes as long as a trained one."""
    from safetensors.torch import save_file

    from core.encoder.model import ProjectionHead, build_backbone

    config = runs.RunConfig.build(preset, dataset="demo", loss="macl", image_size=size)
    run = runs.create(config, folder / "runs")
    network = build_backbone(config.backbone, "none")
    head = ProjectionHead(network.features, config.hidden, config.dim)
    whole = config.trainable == "all"
    tensors = {f"encoder.{'head.' * whole}{key}": value for key, value in head.state_dict().items()}
    if whole:
        tensors |= {f"encoder.backbone.{key}": value for key, value in network.state_dict().items()}
    save_file({key: value.contiguous() for key, value in tensors.items()}, run.path / trained.WEIGHTS)
    return run


def of_a_rate(folder: Path, files: list[Path], run: Run, name: str, bar: float | None) -> None:
    """The rate of the whole ingest over that of the forward pass, measured in turn; the median counts."""
    network, ratios = trained.read(run), []
    side = prepared_size(run.config.image_size)
    start = time.thread_time()
    with quiet_decoding():
        pixels = np.stack([decode(path.read_bytes(), side) for path in files])
    decoding = (time.thread_time() - start) / len(files)
    network.embed(pixels[:128])
    ingest.add(folder / f"{run.id}-first", [run], [str(files[0])])  # what is imported once is no image's
    for turn in range(ROUNDS):
        began = time.perf_counter(), time.process_time()
        for start in range(0, len(pixels), 64):
            network.embed(pixels[start : start + 64])
        forward = time.perf_counter() - began[0], time.process_time() - began[1]
        began = time.perf_counter(), time.process_time()
        done = ingest.add(folder / f"{run.id}-{turn}", [run], [str(path) for path in files])
        whole = time.perf_counter() - began[0], time.process_time() - began[1]
        assert sum(done.added.values()) + done.there == len(files)
        ratios.append([one / all_of_it for one, all_of_it in zip(forward, whole, strict=True)])
        print(f"  {name}: forward {len(files) / forward[0]:.1f}/s, ingest {len(files) / whole[0]:.1f}/s")
    print(f"  {name}: one core decodes {1 / decoding:.0f}/s")
    wall, processor = np.median(ratios, axis=0)
    said(f"ingest over forward, {name}", float(wall), "", bar, least=True)
    said(f"ingest over forward, {name}, processor time", float(processor), "")


CODE = """
import json, sys
from pathlib import Path
from core.archive import ingest
from core.runs import Run
place, run, *sources = sys.argv[1:]
peaks = []
for source in sources:
    done = ingest.add(place, [Run(Path(run))], [source], tile=256)
    (peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    peaks.append(int(peak) / 1e3)
print(json.dumps({"peaks": peaks, "gaps": done.gaps, "added": sum(done.added.values())}))
"""


def of_a_scene(folder: Path, run: Run, zone: int) -> None:
    """A scene through the whole ingest, in a process of its own that has embedded one image before.

    What libraries and network take at least (torch for CUDA alone half a gigabyte) is not the scene's.
    """
    path, place, one = folder / f"zone{zone}.tif", folder / f"archive{zone}", folder / "one.png"
    gaps = drawn(path, zone)
    Image.fromarray(np.full((64, 64, 3), 99, np.uint8)).save(one)
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(place), str(run.path), str(one), str(path)],
        cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    said(f"scene in zone {zone}", time.perf_counter() - began, "s")
    came = json.loads(done.stdout.splitlines()[-1])
    before, most = came["peaks"]
    said(f"scene in zone {zone}, memory beyond that of one image", most - before, "MB", 1000)
    said(f"scene in zone {zone}, most memory of the process", most, "MB")
    part = archive.open(place)
    records = [record for record in part.records(part.ids()).values() if record.window]
    off = max(error(record, zone) for record in records)
    said(f"scene in zone {zone}, coordinates", off, "px", 0.5)
    tiles = len(scene.windows(SIDE, SIDE, 256, 256))
    if came["gaps"] != gaps or came["added"] != tiles - gaps or len(records) != tiles - gaps:
        missed.append(f"{came} of {tiles} tiles with {gaps} gaps")


def drawn(path: Path, zone: int) -> int:
    """A scene whose upper left quarter has no data; returns the tiles that are mostly gap."""
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=3, dtype="uint8", nodata=0,
        compress="deflate", tiled=True, crs=f"EPSG:{zone}",
        transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_300_000),
    ) as file:  # fmt: skip
        dice = np.random.default_rng(zone)
        for top in range(0, SIDE, 1000):
            rows = min(1000, SIDE - top)
            values = dice.integers(1, 256, (3, rows, SIDE), np.uint8)
            values[:, : max(0, SIDE // 2 - top), : SIDE // 2] = 0
            file.write(values, window=rasterio.windows.Window(0, top, SIDE, rows))
    half = SIDE // 2
    windows = scene.windows(SIDE, SIDE, 256, 256)
    return sum(max(0, min(256, half - x)) * max(0, min(256, half - y)) > 256**2 / 2 for x, y, _, _ in windows)


def error(record: archive.Record, zone: int) -> float:
    """Pixels by which a place is beside the middle of its window."""
    from rasterio.warp import transform

    left, top, width, height = map(int, record.window.split())
    (x,), (y,) = transform("EPSG:4326", f"EPSG:{zone}", [record.lon], [record.lat])
    return max(
        abs((x - 500_000) / 10 - left - width / 2),
        abs((5_300_000 - y) / 10 - top - height / 2),
    )


def said(name: str, value: float, unit: str, bar: float | None = None, *, least: bool = False) -> None:
    """Print a figure beside its bar, and remember it if it misses."""
    beside = "" if bar is None else f" (bar {'≥' if least else '≤'} {bar:.4g} {unit})"
    print(f"{name:<52} {value:9.4g} {unit}{beside}", flush=True)
    if not measured(f"archive: {name}", value, unit, bar, least=least):
        missed.append(name)


if __name__ == "__main__":
    sys.exit(main())
