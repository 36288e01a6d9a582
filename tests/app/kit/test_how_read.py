"""How a person's own data are read: said on the page, in the session, the address, and all that follows."""

import re
import zipfile
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import cache, image_cache
from app.kit import how_read
from app.kit.how_read import _joined, named, on_page, words
from app.sensitivity import plan
from core import runs
from core.data import ImageSet, Reading, sets
from core.data.columns import listed
from core.files import PROJECT
from core.report import method_name, protocol_name
from core.runs import RunConfig
from tests.app.data.test_page_data import page_of, press, settled
from tests.core.data.test_data_recall import never

NO = Reading(unknown="no", ignore_columns="trees")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "runs").mkdir()
    monkeypatch.setenv("MACL_RUN_ROOT", str(tmp_path / "runs"))
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))  # where these images are not prepared yet
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    for remembered in (image_cache._prepared, image_cache._dataset, image_cache._files):
        remembered.clear()
    return tmp_path / "runs"


@pytest.fixture
def mine(tiny: Path, tmp_path: Path) -> Path:
    """A zip whose table leaves one flag open."""
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for file in sorted(tiny.glob("*.png")):
            archive.write(file, file.name)
        table = (tiny / "labels.csv").read_text()
        archive.writestr("labels.csv", re.sub(r"(?<=scene007.png,)\d", "-1", table))
    return tmp_path / "mine.zip"


def own(path: Path, *said: str) -> AppTest:
    return page_of(dataset="Your own images", folder_root=str(path), size="96", folder_reading=list(said))


def said(page: AppTest) -> list[str]:
    """How the address says that the images are read."""
    values = page.query_params["folder_reading"]
    return [values] if isinstance(values, str) else list(values)


def test_no_message_of_the_data_speaks_of_an_option_that_the_page_has() -> None:
    texts = [path.read_text() for path in (PROJECT / "core" / "data").glob("*.py")]
    options = {f"--{name.replace('_', '-')}" for name in Reading.model_fields}
    telling = [text for text in texts if any(option in text for option in options)]
    assert len(telling) > 3
    for text in telling:
        assert not [option for option in options if re.search(rf"{option}\b", on_page(text))]


def test_an_option_becomes_the_setting_of_the_page() -> None:
    assert on_page("take all of them as no with --unknown no") == (
        "take all of them as no with “Unknown flags: take as no”"
    )
    assert on_page("say so with --separator space (several), or --separator none (one)") == (
        "say so with “Between labels: space” (several), or “Between labels: one label in each cell” (one)"
    )
    assert (
        on_page('for example with --label-columns "my tags"') == "for example with “Label columns: my tags”"
    )
    assert on_page("choose others with --bands") == "choose others with “Bands”"
    assert on_page("--no-such-option") == "--no-such-option"
    assert named(["--near-equal join", "--skip-broken"]) == {"near_equal"}


def test_columns_with_commas_are_kept_apart() -> None:
    for names in (["water"], ["Moors, heathland", "sea"], ['the "wet" one'], []):
        assert listed(_joined(names)) == names


def test_what_is_said_is_what_differs() -> None:
    assert words(Reading()) == ""
    assert words(Reading(split="random", separator=";", stretch="0:3000", image_column="file")) == (
        "split random, image column file, between labels semicolon, stretch 0:3000"
    )


def test_the_way_out_of_a_problem_is_on_the_page_and_is_used_by_all_that_follows(mine: Path) -> None:
    page = own(mine)
    assert r"“Unknown flags\: take as no”" in page.error[0].value
    assert "--" not in page.error[0].value
    next(box for box in page.selectbox if box.label == "Unknown flags").set_value("no")
    press(page, "Read it so")
    settled(page)
    assert not page.error
    assert any("Found **160** images" in text.value for text in page.markdown)
    assert said(page) == ["unknown=no"]
    assert any("taken as no" in text.value for text in page.caption)
    page.switch_page("../pages/compare.py").run()
    page.switch_page("../pages/train.py").run()
    assert "--unknown no" in page.code[0].value
    assert said(page) == ["unknown=no"]
    page.switch_page("../pages/data.py").run()
    assert not page.error


def test_a_link_says_how_the_images_are_read(mine: Path) -> None:
    page = own(mine, *(f"{name}={value}" for name, value in NO.model_dump(exclude_defaults=True).items()))
    assert not page.error
    assert any("**trees** (left out, as you say)" in text.value for text in page.markdown)
    for wrong in ("bands=1,,2", "colour=red", "nothing"):
        page = own(mine, wrong)
        assert "how to read the images" in page.warning[0].value


def test_a_problem_of_what_is_typed_is_said_in_the_form(mine: Path) -> None:
    page = own(mine, "unknown=no")
    next(box for box in page.text_input if box.label == "Bands").set_value("1,,2")
    press(page, "Read it so")
    assert any("need bands with commas between" in error.value for error in page.error)
    assert said(page) == ["unknown=no"]


def test_the_server_reads_no_table(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "_found", never)
    page = own(mine, "unknown=no")
    assert any("Found **160** images" in text.value for text in page.markdown)
    press(page, "Prepare the images")
    settled(page)
    assert "160 images" in page.header[0].value
    for view in ("Paper", "Together"):
        page = page_of(
            dataset="Your own images",
            folder_root=str(mine),
            size="96",
            view=view,
            folder_reading=["unknown=no"],
        )
        assert not page.error


def test_the_newest_run_there_says_how_a_folder_is_read(mine: Path, root: Path) -> None:
    config = RunConfig.build("instant", dataset="folder", data_root=str(mine), reading=NO)
    run = runs.create(config, root)
    page = own(mine)
    assert not page.error
    assert said(page) == ["ignore_columns=trees", "unknown=no"]
    page = AppTest.from_file(str(PROJECT / "app" / "navigation.py"), default_timeout=60)
    page.session_state["train_runs"] = [run.id]
    page.session_state["config_open"] = True
    page.switch_page("../pages/train.py").run()
    told = "Its images and tables were read so: columns to ignore trees, unknown flags take as no."
    assert told in [text.value for text in page.caption]


def test_a_sweep_says_how_the_images_are_read() -> None:
    fields = {"dataset": "folder", "data_root": "/mine", **NO.model_dump(exclude_defaults=True)}
    planned = plan.sweeps.grid("mine", "instant", {"loss": "macl", **fields}, {"alpha": (0, 1), "seed": (0,)})
    assert all(point.config.reading == NO for point in planned.points)
    shown = plan.command(planned, None, "instant", fields, [0])
    assert "--set ignore_columns=trees --set unknown=no" in shown


def test_runs_that_read_in_another_way_are_another_comparison() -> None:
    plain, other = (
        RunConfig.build("instant", dataset="folder", data_root="/mine", reading=r) for r in (Reading(), NO)
    )
    assert method_name(plain) == method_name(other)
    assert protocol_name(plain) != protocol_name(other)
    assert ImageSet("folder", "/mine", 128) != other.images
    assert how_read.words(other.reading)
