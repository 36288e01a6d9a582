"""What does not fit a schema is said in a person's words; pydantic's own reach nobody."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from core import runs
from core.encoder.model import build_backbone
from core.errors import MaclError
from core.experiments.axes import parse_one, parse_params
from core.runs import RunConfig
from core.runs.folder import program

NAN, INF = float("nan"), float("inf")
PYDANTIC = re.compile(
    r"Input should|Extra inputs|Field required|valid (boolean|integer|number|string)|unable to"
)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"params": {"tau": NAN}}, "params.tau: need a finite number, got nan"),
        (
            {"params": {"tau": [1]}},
            "params.tau: need true or false, a whole number, a number or text, got [1]",
        ),
        ({"params": 5}, "params: need names with values, got 5"),
        ({"lr": INF}, "lr: need a finite number, got inf"),
        ({"lr": "x"}, "lr: need a number, got 'x'"),
        ({"lr": 0}, "lr: need more than 0.0, got 0"),
        ({"epochs": 2.5}, "epochs: need a whole number, got 2.5"),
        ({"epochs": 0}, "epochs: need at least 1, got 0"),
        ({"epochs": 10**9}, "epochs: need at most 10000, got 1000000000"),
        ({"augment": "maybe"}, "augment: need true or false, got 'maybe'"),
        ({"optimizer": "sgd"}, "optimizer: need adam or adamw, got 'sgd'"),
        ({"backbone": None}, "backbone: need text, got None"),
        ({"reading": {"bands": 5}}, "reading.bands: need text, got 5"),
        ({"reading": {"band": "4"}}, "reading.band: there is no such field: did you mean bands?"),
        ({"epoch": 5}, "epoch: there is no such field: did you mean epochs?"),
        ({"zzz": 5}, "zzz: there is no such field"),
        (
            {"epochs": "many", "dim": 1},
            "dim: need at least 2, got 1; epochs: need a whole number, got 'many'",
        ),
    ],
)
def test_fields(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(MaclError) as error:
        RunConfig.build("instant", **fields)
    assert str(error.value) == said


@pytest.mark.parametrize("name", [name for name in RunConfig.model_fields if name != "preset"])
@pytest.mark.parametrize("value", [NAN, [], {"a": 1}, "\0", -(10**30), None, b"\xff", True])
def test_no_word_of_the_schema_library_is_left(name: str, value: object) -> None:
    said = ""
    try:
        RunConfig.build("instant", **{name: value})
    except MaclError as error:
        said = str(error)
    assert not PYDANTIC.search(said), said
    assert len(said) < 700


@pytest.mark.parametrize("text", ['{"dataset":', "[]", "null", '{"epochs": {"a": 1}}', '{"preset": 1}', "\0"])
def test_a_file_that_is_no_configuration(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(MaclError) as error:
        _ = runs.Run(tmp_path).config
    assert str(error.value).startswith(f"{tmp_path / 'config.json'}: ")
    assert not PYDANTIC.search(str(error.value)), str(error.value)


def test_a_run_of_another_version_says_which_wrote_it(tmp_path: Path) -> None:
    run = runs.create(RunConfig.build("instant"), tmp_path)
    about = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps(about | {"warp": 2}))
    with pytest.raises(MaclError, match=r"warp: there is no such field$"):
        _ = run.config
    (run.path / "version.txt").write_text("9.1\n")
    with pytest.raises(
        MaclError, match=rf"\(version 9.1 of this program wrote it, this is {program()}: open"
    ):
        _ = run.config
    (run.path / "version.txt").unlink()
    with pytest.raises(MaclError, match="another version of this program wrote it"):
        _ = run.config


def test_a_misspelt_setting_is_asked_after() -> None:
    with pytest.raises(MaclError, match=r"did you mean epochs\?"):
        parse_one("epoch=5", "macl")
    with pytest.raises(MaclError, match=r"did you mean alpha\?"):
        parse_params("macl", ["alhpa=1"])


def test_no_backbone_is_proposed_twice() -> None:
    with pytest.raises(MaclError) as error:
        build_backbone("resnet19")
    near = str(error.value).partition("choose ")[2].partition(" or ")[0].split(", ")
    assert "resnet18" in near
    assert len(set(near)) == len(near)
