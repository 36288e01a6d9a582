"""Own field data in a real browser: from the path to the first training, without a command line."""

import zipfile
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import rasterio
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from rasterio.transform import Affine

from core import runs
from tests.e2e.conftest import PATIENCE_MS, Server, wait

pytestmark = pytest.mark.usefixtures("server")
expect.set_options(timeout=PATIENCE_MS)
MB = 1 << 20
OWN = f"dataset={quote('Your own images')}"


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 GeoTIFFs of four bands and 16 bits, a table as pandas writes it, with a split of its own."""
    folder = tmp_path_factory.mktemp("field")
    dice = np.random.default_rng(0)
    rows = [",file,split,water,crops,town"]
    for index in range(120):
        flags = [index % 2, index // 2 % 2, int(index % 4 == 0)]
        if index == 7:
            flags[0] = -1  # nobody has looked
        bright = 1500 * np.array([*np.clip(flags, 0, 1), 0]).reshape(4, 1, 1)
        values = (dice.integers(200, 900, (4, 32, 32)) + bright).astype(np.uint16)
        profile = {
            "driver": "GTiff", "count": 4, "height": 32, "width": 32, "dtype": "uint16", "crs": "EPSG:32632",
            "transform": Affine(10, 0, 5e5 + 320 * index, 0, -10, 5e6),
        }  # fmt: skip
        with rasterio.open(folder / f"tile_{index:03d}.tif", "w", **profile) as file:
            file.write(values)
        part = "train" if index < 90 else "test"
        rows.append(f"{index},tile_{index:03d},{part},{','.join(map(str, flags))}")
    (folder / "annotations.csv").write_text("\n".join(rows) + "\n")
    return folder


def choose(page: Page, label: str, option: str) -> None:
    """An entry of a list, which is opened where it is shut; again if the page was drawn anew in between."""
    entry = page.get_by_role("option", name=option, exact=True)
    for tries in range(10):
        page.get_by_role("combobox", name=label).fill(option)
        try:
            entry.click(timeout=3000)
            return
        except PlaywrightTimeout:
            assert tries < 9, f"{label} does not offer {option}"


def test_from_the_path_to_the_first_training(server: Server, field: Path, page: Page) -> None:
    page.goto(f"{server.url}/data?{OWN}&size=96")
    box = page.get_by_role("textbox", name="Its folder or archive")
    box.fill(str(field))
    box.press("Enter")

    # the table is refused with the way out in the page's words, and the form that has it is open
    problem = page.get_by_text("which may mean unknown or no")
    problem.wait_for()
    expect(problem).to_contain_text("Unknown flags: take as no")
    expect(problem).not_to_contain_text("--unknown")
    expect(page.get_by_text("file (names the images)")).to_be_visible()
    expect(page.get_by_text("split (the split: no label)")).to_be_visible()
    expect(page.get_by_text("water, crops, town (a label, 0 or 1)")).to_be_visible()
    choose(page, "Unknown flags", "take as no")
    page.get_by_role("textbox", name="Bands").fill("3,2,1")
    page.get_by_role("button", name="Read it so").click()

    page.get_by_text("How to read it · unknown flags take as no, bands 3,2,1").wait_for()
    page.get_by_text("Found 120 images").wait_for()
    expect(page.get_by_text("The split is given by a column of annotations.csv")).to_be_visible()
    expect(page.get_by_text("the seed draws 11 from its training images")).to_be_visible()
    expect(problem).to_have_count(0)
    page.get_by_role("button", name="Prepare the images").press("Enter")
    page.get_by_role("heading", name="120 images, 3 labels").wait_for()
    expect(page.get_by_text("the seed draws 11 from its training images")).to_be_visible()

    page.get_by_role("link", name="Train on this data set").click()
    page.get_by_text("The same on the command line").click()
    page.get_by_test_id("stCode").first.wait_for()
    command = page.get_by_test_id("stCode").first
    expect(command).to_contain_text("--unknown no")
    expect(command).to_contain_text("--bands 3,2,1")
    page.get_by_role("button", name="Start 2 runs").click()
    wait(lambda: [run.state for run in runs.list_runs(server.run_root)] == ["finished"] * 2, 180)
    for run in runs.list_runs(server.run_root):
        assert (run.config.reading.unknown, run.config.reading.bands) == ("no", "3,2,1")
        assert [len(run.splits()[part]) for part in ("train", "val", "test")] == [79, 11, 30]

    page.goto(f"{server.url}/data?{OWN}&size=96")  # another session: as the newest run there read it
    page.get_by_text("How to read it · unknown flags take as no, bands 3,2,1").wait_for()


def test_a_link_keeps_how_the_images_are_read(server: Server, field: Path, page: Page) -> None:
    said = "&".join(f"folder_reading={quote(text)}" for text in ("unknown=no", "ignore_columns=town"))
    page.goto(f"{server.url}/data?{OWN}&size=96&folder_root={quote(str(field))}&{said}")
    page.get_by_text("How to read it · columns to ignore town, unknown flags take as no").wait_for()
    page.get_by_text("town (left out, as you say)").wait_for()
    page.get_by_role("link", name="Compare").first.click()
    page.get_by_role("link", name="Train").first.click()
    page.get_by_text("How to read it · columns to ignore town").wait_for()


def memory(server: Server, what: str = "VmHWM") -> int:
    """Bytes of memory that the server has taken at most; with VmRSS that it takes now."""
    assert server.process
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(what)))


def test_a_table_takes_no_memory_of_the_server(server: Server, page: Page, tmp_path: Path) -> None:
    """A zip of some 100 kB unpacks to a table of 60 MB, and a link is enough to open it."""
    page.goto(f"{server.url}/data?{OWN}&size=96")
    page.get_by_text("All data sets, and how to get them").wait_for()
    path, row = tmp_path / "mine.zip", "a.png,field\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"no image")
        archive.writestr("labels.csv", "image,labels\n" + row * (60 * 10**6 // len(row)))
    assert path.stat().st_size < 300_000
    before = memory(server, "VmRSS")
    page.goto(f"{server.url}/data?{OWN}&size=96&folder_root={quote(str(path))}")
    told = page.get_by_text("Found 1 images").or_(page.get_by_test_id("stAlert")).first
    expect(told).to_be_visible(timeout=120_000)  # read, or refused for its rows
    assert memory(server) - before < 300 * MB
