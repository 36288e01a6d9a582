"""The shown command line: read back by `macl train`, it is the same configuration, whatever that is."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from typer.testing import CliRunner

from app.train.command import command
from core import cli
from core.errors import MaclError
from core.losses import LOSSES
from core.runs import PRESETS, Run, RunConfig, settings
from core.runs.settings import Setting

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)


def values(setting: Setting) -> st.SearchStrategy[Any]:
    """Values of one setting, by what it says of itself."""
    if setting.kind in ("bool", "choice"):
        return st.sampled_from(setting.few)
    if setting.kind == "path":
        files = WORDS.filter(lambda name: "/" not in name and name not in (".", "..")).map("/a/{}".format)
        return st.one_of(files, *map(st.just, setting.words))
    if setting.name == "device":
        return st.sampled_from(["auto", "cpu", "cuda:1", "mps"])
    if setting.kind == "text":
        return WORDS
    low, high = setting.low, setting.high
    if setting.kind == "int":
        return st.integers(None if low is None else int(low), None if high is None else int(high))
    return st.floats(low, high, exclude_min=setting.above, allow_nan=False, allow_infinity=False)


@st.composite
def configurations(draw: st.DrawFn) -> RunConfig:
    """Any that there can be: some fields and parameters changed from what they are."""
    preset, loss = draw(st.sampled_from(list(PRESETS))), draw(st.sampled_from(list(LOSSES)))
    fields = {setting.name: values(setting) for setting in settings.fields() if setting.name != "loss"}
    params = {name: values(setting) for name, setting in settings.of_loss(loss).items()}
    given = draw(st.fixed_dictionaries({}, optional=fields))
    changed = draw(st.fixed_dictionaries({}, optional=params))
    try:
        return RunConfig.build(preset, loss=loss, params=changed, **given)
    except MaclError:  # two fields that exclude each other
        reject()


def read_back(text: str, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """The configuration that `macl train` makes of a command line."""
    made: list[RunConfig] = []
    monkeypatch.setattr("core.runs.create", lambda config, _: made.append(config))
    monkeypatch.setattr("core.cli.train.run_here", lambda _: None)
    result = CliRunner().invoke(cli.app, shlex.split(text)[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return made[0]


@given(configurations())
def test_it_is_read_back_as_the_same_configuration(config: RunConfig) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert read_back(command(config), monkeypatch) == config


def test_it_makes_the_same_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = RunConfig.build(
        "quick",
        dataset="folder",
        data_root=str(tmp_path / "a folder"),
        skip_broken=True,
        loss="macl",
        params={"alpha": 2.5, "use_w": False, "denominator": "own", "eps": 1e-7},
        seed=7,
        augment=False,
        lr=3e-4,
        epochs=3,
        optimizer="adamw",
        hidden=64,
        dim=32,
        step_epochs=2,
        step_factor=0.5,
        weights=str(tmp_path / "some weights.pth"),
        device="cpu",
    )
    made: list[Run] = []
    monkeypatch.setattr("core.cli.train.run_here", made.append)
    monkeypatch.setenv("MACL_RUN_ROOT", str(tmp_path / "runs"))
    result = CliRunner().invoke(cli.app, shlex.split(command(config))[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert made[0].config == config


def test_it_says_what_differs_from_the_preset() -> None:
    plain = RunConfig.build("instant", loss="mulsupcon")
    assert command(plain) == "macl train --preset instant --dataset demo --loss mulsupcon --seed 0"
    changed = RunConfig.build("quick", augment=False, lr=0.01, params={"use_w": False, "alpha": 2.0})
    assert command(changed) == (
        "macl train --preset quick --dataset demo --loss macl --param alpha=2 --param use_w=false "
        "--no-augment --lr 0.01 --seed 0"
    )


def test_paths_mean_the_same_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "macl train --preset paper --dataset folder --root here --weights r18.pth"
    config = read_back(text, monkeypatch)
    assert (config.data_root, config.weights) == (str(tmp_path / "here"), str(tmp_path / "r18.pth"))
    assert read_back("macl train --preset paper --data-root '' --weights none", monkeypatch).data_root is None
