"""The folder of a person's own losses: versions, names, trust; and what a copied run may bring."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import MaclError
from core.losses import LOSSES, LossSpec, Parameter, known, own, spec_of
from core.losses.source import digest
from core.runs import Run, RunConfig, create

TEXT = "# one\n"
OTHER = "# two\n"


def spec(text: str = TEXT, name: str = "margin") -> LossSpec:
    parameters = (
        Parameter("margin", "float", 0.2, "Cosine below which a negative costs nothing", low=-1, high=1),
        Parameter("steps", "int", 3, "How many"),
        Parameter("squared", "bool", True, "Square the hinge"),
    )
    key = own.key_of(name, text)
    return LossSpec(key, name, "your own loss", "Pulls.", parameters, "Margin", sha256=digest(text))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MACL_LOSSES", str(tmp_path / "losses"))
    monkeypatch.setattr(own, "_seen", {})
    return tmp_path / "losses"


def config(key: str, **more: object) -> RunConfig:
    return RunConfig.build("instant", dataset="demo", loss=key, **more)


def test_a_loss_that_was_added_is_known_by_its_name() -> None:
    assert list(known()) == list(LOSSES)
    added = own.keep(spec(), TEXT, offer=True)
    assert list(known()) == [*LOSSES, added.key]
    assert known()[added.key].title == "margin"
    assert own.resolve("margin") == own.resolve(added.key) == added.key
    assert own.text_of(added.key) == TEXT
    run = config("margin", params={"margin": 1, "steps": 4})
    assert run.loss == added.key
    assert run.spec == added
    assert run.params == {"margin": 1.0, "steps": 4, "squared": True}
    assert type(run.params["margin"]) is float
    assert type(run.params["steps"]) is int
    with pytest.raises(MaclError, match="margin: need a number from -1 to 1, got 2"):
        config("margin", params={"margin": 2.0})
    with pytest.raises(MaclError, match=r"loss: need one of .*macl_nested, margin@.*, got 'margn'"):
        config("margn")


def test_a_changed_file_is_another_method() -> None:
    first = own.keep(spec(), TEXT, offer=True)
    second = own.keep(spec(OTHER), OTHER, offer=True)
    assert (first.title, second.title) == ("margin", "margin (2)")
    assert [s.title for s in known().values()][-1] == "margin (2)"
    assert len(known()) == len(LOSSES) + 1
    assert own.resolve("margin") == second.key
    assert spec_of(first.key).title == "margin"
    assert config(first.key).identity != config(second.key).identity
    assert own.place("wg_macl") < own.place(first.key) < own.place(second.key)
    assert own.keep(spec(), TEXT, offer=True).title == "margin"  # back to the first: no third version
    assert own.resolve("margin") == first.key


def test_a_file_used_as_it_is_has_a_name_but_is_not_offered() -> None:
    used = own.keep(spec(), TEXT, offer=False)
    assert list(known()) == list(LOSSES)
    assert spec_of(used.key).title == "margin"
    assert own.text_of(used.key) == TEXT
    assert config(used.key).spec == used
    with pytest.raises(MaclError, match="loss: need one of"):
        config("margin")


def test_removing_withdraws_the_text_and_keeps_the_names(folder: Path) -> None:
    key = own.keep(spec(), TEXT, offer=True).key
    removed = own.remove("margin")
    assert (removed / f"{key}.py").read_text() == TEXT  # nothing is lost
    assert list(known()) == list(LOSSES)
    assert spec_of(key).title == "margin"
    with pytest.raises(MaclError, match="never executed unasked"):
        own.text_of(key)
    assert own.keep(spec(OTHER), OTHER, offer=True).title == "margin (2)"
    with pytest.raises(MaclError, match=r"'nothing' is none of your losses \(margin\)"):
        own.remove("nothing")


def test_a_text_that_was_changed_in_the_folder_is_not_executed(folder: Path) -> None:
    key = own.keep(spec(), TEXT, offer=True).key
    (folder / f"{key}.py").write_text("import os")
    with pytest.raises(MaclError, match="has been changed since it was added"):
        own.text_of(key)


def test_the_run_folder_is_its_own_witness(tmp_path: Path) -> None:
    own.keep(spec(), TEXT, offer=True)
    run = create(config("margin"), tmp_path / "runs")
    assert (run.path / "margin.py").read_text() == TEXT
    saved = json.loads((run.path / "config.json").read_text())
    assert saved["loss"] == own.key_of("margin", TEXT)
    assert saved["own"]["sha256"] == digest(TEXT)
    assert "own" not in json.loads(config("macl").model_dump_json())  # as earlier versions wrote it


def test_a_copied_run_shows_its_loss_but_brings_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.keep(spec(), TEXT, offer=True)
    run = create(config("margin", params={"margin": 0.3}), tmp_path / "runs")
    monkeypatch.setenv("MACL_LOSSES", str(tmp_path / "another machine"))
    copied = Run(run.path).config
    assert copied.spec.title == f"margin ({digest(TEXT)[:8]})"
    assert copied.spec.parameters == spec().parameters
    with pytest.raises(MaclError, match=r"read margin\.py in the run folder, then `macl loss add` it"):
        create(copied, tmp_path / "runs")
    assert not list((tmp_path / "runs").glob(".*"))  # nothing half made
    own.keep(spec(), TEXT, offer=True)  # as `macl loss add RUN/margin.py` does
    assert Run(run.path).config.spec.title == "margin"


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "0" * 64},
        {"key": "margin"},
        {"key": "macl"},
        {"title": "MACL"},
        {"parameters": 3},
        {"parameters": [{"name": "a b", "kind": "float", "default": 1.0, "help": ""}]},
        {"summary": 3},
        {
            "parameters": [
                {"name": "a", "kind": "float", "default": 1.0, "help": "", "symbol": "![](http://x)"}
            ]
        },
    ],
)
def test_a_damaged_specification_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    own.keep(spec(), TEXT, offer=True)
    run = create(config("margin"), tmp_path / "runs")
    own.remove("margin")
    (own.folder() / "margin.json").unlink()
    saved = json.loads((run.path / "config.json").read_text())
    saved["own"] |= change
    (run.path / "config.json").write_text(json.dumps(saved))
    with pytest.raises(MaclError, match="loss: "):
        _ = Run(run.path).config


def test_a_built_in_loss_cannot_be_replaced(tmp_path: Path) -> None:
    fake = own.to_json(replace(spec(), key="macl"))
    assert RunConfig.build("instant", loss="macl", own=fake).own is None
    assert spec_of("macl").title == "MACL"


def test_a_damaged_index_is_not_written_over(folder: Path) -> None:
    own.keep(spec(), TEXT, offer=True)
    (folder / "margin.json").write_text("{")
    assert list(known()) == list(LOSSES)
    with pytest.raises(MaclError, match=r"margin\.json is damaged"):
        own.keep(spec(OTHER), OTHER, offer=True)


def test_symbols_and_choices_that_a_page_would_render_are_refused() -> None:
    linked = Parameter("kind", "choice", "a", "", choices=("a", "[b](http://elsewhere.example)"))
    with pytest.raises(MaclError, match=r"margin\.py: need symbols and choices without"):
        own.keep(replace(spec(), parameters=(linked,)), TEXT, offer=True)
    assert list(known()) == list(LOSSES)
