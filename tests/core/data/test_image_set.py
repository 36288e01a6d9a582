"""One value says which images: a key of what is kept of them, and it opens what `core.data.load` opens."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from core.data import ImageSet, fingerprint, is_prepared, load
from core.errors import MaclError
from core.runs import RunConfig


def test_it_opens_what_load_opens(tiny: Path) -> None:
    images = ImageSet("folder", str(tiny), 40)
    data = images.load(3)
    same = load("folder", str(tiny), image_size=40, seed=3)
    assert (data.key, data.names) == (same.key, same.names)
    assert all(np.array_equal(data.splits[name], same.splits[name]) for name in same.splits)
    assert images.is_prepared() is is_prepared("folder", str(tiny), 40)
    assert not ImageSet("folder", str(tiny), 200).is_prepared()
    assert images.fingerprint() == fingerprint("folder", str(tiny))


def test_broken_images_are_left_out_where_it_says_so(tiny: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(tiny, mine)
    (mine / "scene003.png").write_bytes(b"no image")
    with pytest.raises(MaclError):
        ImageSet("folder", str(mine), 32).load()
    with pytest.raises(MaclError, match="not prepared"):
        ImageSet("folder", str(mine), 32, skip_broken=True).load(only_prepared=True)
    assert len(ImageSet("folder", str(mine), 32, skip_broken=True).load().skipped) == 1


def test_a_run_says_which_images_it_trains_on() -> None:
    fields = {"dataset": "folder", "data_root": "/a", "image_size": 64, "skip_broken": True}
    config = RunConfig.build("quick", **fields)
    assert config.images == ImageSet("folder", "/a", 64, skip_broken=True)
    assert {config.images: 1}[RunConfig.build("quick", seed=5, loss="oml", **fields).images] == 1
