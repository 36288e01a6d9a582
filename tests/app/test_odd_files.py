"""One odd file takes nothing else with it: every page shows the sound runs, and names the odd one.

Each case plants a file that is sound JSON, or sound tensors, of a shape that nobody expected.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from streamlit.testing.v1 import AppTest

from app import cache
from app.kit.words import JOINER
from core import report, runs
from core.cli import run as commands
from core.cli.table import table
from core.errors import MaclError
from core.experiments import sweep
from core.queue import launch
from core.runs import Run
from tests.components import component_data, open_page

DEEP = "[" * 20_000 + "]" * 20_000
ODD = "zz-odd"  # the newest folder: first in every list, and chosen where nobody has chosen


def config(change: dict[str, object]) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        fields = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(fields | change))

    return plant


def text(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


def within(name: str, key: str) -> Callable[[Path], None]:
    """Put deeply nested lists into a field of a file."""

    def plant(folder: Path) -> None:
        fields = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(fields | {key: "DEEP"}).replace('"DEEP"', DEEP))

    return plant


def without(name: str, key: str) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        fields = json.loads((folder / name).read_text())
        del fields[key]
        (folder / name).write_text(json.dumps(fields))

    return plant


def tensors(
    change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        both = load_file(folder / "embeddings.safetensors")
        z, y = change(both["z"], both["y"])
        save_file({"z": z, "y": y}, folder / "embeddings.safetensors")

    return plant


def bf16(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    both = load_file(folder / "embeddings.safetensors")
    save_file({"z": both["z"].to(torch.bfloat16), "y": both["y"]}, folder / "embeddings.safetensors")


def nan(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z[3] = np.nan
    return z, y


CASES: dict[str, Callable[[Path], None]] = {
    "an unknown preset": config({"preset": "nope"}),
    "a deep configuration": within("config.json", "params"),
    "a deep field": within("config.json", "own"),
    "a whole configuration that is deep": text("config.json", DEEP),
    "a split without train": without("splits.json", "train"),
    "a split of numbers": text("splits.json", '{"train": [1], "val": 5, "test": {"a": 1}}'),
    "a deep split": within("splits.json", "train"),
    "deep scores": text("scores.json", DEEP),
    "scores with a deep part": within("scores.json", "metrics"),
    "scores with words": without("scores.json", "chance"),
    "deep data": text("data.json", DEEP),
    "foreign data": text("data.json", '{"images": 1, "names": [], "classes": {}, "labels": 0, "splits": 5}'),
    "deep changes": text("epochs.json", DEEP),
    "classes that are no names": text("classes.json", "[1, [2], {}]"),
    "deep progress": text("progress.json", DEEP),
    "bf16": bf16,
    "NaN": tensors(nan),
    "unequal lengths": tensors(lambda z, y: (z[:-1].copy(), y)),
    "a vector": tensors(lambda z, y: (z[:, 0].copy(), y)),
    "another split": tensors(lambda z, y: (z[:-1].copy(), y[:-1].copy())),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished_runs: Path) -> Path:
    """Two sound runs, and nothing that was recorded."""
    folder = tmp_path / "runs"
    shutil.copytree(finished_runs, folder)
    monkeypatch.setenv("MACL_RUN_ROOT", str(folder))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    monkeypatch.setenv("MACL_BENCHMARK_ROOT", str(tmp_path / "benchmarks"))
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    return folder


def odd(root: Path, plant: Callable[[Path], None], name: str) -> Run:
    source = next(run for run in runs.list_runs(root) if not run.id.startswith(ODD))
    folder = Path(shutil.copytree(source.path, root / name))
    plant(folder)
    return Run(folder)


def words(page: AppTest) -> str:
    """What stands on a page in words, without the marks that keep it from being Markdown."""
    kinds = ("warning", "error", "info", "caption", "markdown")
    text = "\n".join(str(one.value) for kind in kinds for one in getattr(page, kind))
    return text.replace("\\", "").replace(JOINER, "")


UNREADABLE = [
    case for case in CASES if "configuration" in case or case in ("an unknown preset", "a deep field")
]
CHOSEN = ("a split without train", "a split of numbers", "bf16", "NaN", "unequal lengths", "a vector",
          "another split")  # fmt: skip
SWEEPS = {
    "axes": '{"title": "t", "note": "", "axes": 5, "points": []}',
    "points": '{"title": "t", "note": "", "axes": {"alpha": [0]}, "points": [{"at": 5, "config": {}}]}',
    "values": '{"title": "t", "note": "", "axes": {"alpha": [[0]]}, "points": []}',
    "deep": DEEP,
    "list": "[]",
    "future": '{"schema": 99, "title": 1}',
}
SUMMARIES = {
    "runs": '{"about": {"study": ""}, "splits": {}, "runs": 5}',
    "splits": '{"about": {"study": ""}, "splits": [], "runs": []}',
    "about": '{"about": [], "splits": {}, "runs": []}',
    "notes": '{"about": {"study": "", "notes": [5]}, "splits": {}, "runs": []}',
    "joined": '{"about": {"study": "", "joined": [5]}, "splits": {}, "runs": []}',
    "deep": DEEP,
    "list": "[1]",
    "future": '{"about": 1, "schema": 99}',
}


@pytest.fixture
def everything(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every odd file there is beside the sound runs, each in a run, a sweep or a benchmark of its own."""
    for number, plant in enumerate(CASES.values()):
        odd(root, plant, f"{ODD}-{number:02d}")
    (root / sweep.FOLDER).mkdir()
    for name, content in SWEEPS.items():
        (root / sweep.FOLDER / f"odd-{name}.json").write_text(content)
    for name, content in SUMMARIES.items():
        (root / "benchmarks" / f"odd-{name}").mkdir(parents=True)
        (root / "benchmarks" / f"odd-{name}" / "summary.json").write_text(content)
    (root / ".recorded").mkdir()
    (root / ".recorded" / "odd.json").write_text("[1]")
    monkeypatch.setenv("MACL_BENCHMARK_ROOT", str(root / ".recorded"))
    return root


def number(case: str) -> str:
    return f"{ODD}-{list(CASES).index(case):02d}"


@pytest.mark.parametrize("name", ["home", "train", "compare", "retrieval", "embeddings", "mechanism"])
@pytest.mark.usefixtures("everything")
def test_every_page_shows_the_sound_runs_and_names_the_odd_ones(name: str) -> None:
    page = open_page(name)
    assert not page.exception
    told = words(page)
    for case in UNREADABLE:
        assert f"{number(case)} was left out: " in told, case
    if name == "compare":
        (table,) = (one.proto.body for one in page.get("html") if "MulSupCon" in one.proto.body)
        assert "MACL" in table
        for case in ("a split of numbers", "a deep split", "deep scores", "scores with words"):
            assert re.search(rf"Left out: .*{number(case)}/", told), case
        for odd_one in SUMMARIES:
            assert f"odd-{odd_one}/summary.json" in told
        assert ".recorded/odd.json" in told
        assert "odd-future/summary.json was written by a newer version of this program" in told
    if name == "train":
        assert {"MACL", "MulSupCon"} <= set(page.dataframe[0].value["Run"])


@pytest.mark.usefixtures("everything")
def test_the_sweeps_name_the_odd_one() -> None:
    page = open_page("sensitivity", s_view="Sweeps")
    assert not page.exception
    for name in SWEEPS:
        assert f"The sweep odd-{name} was left out: " in words(page)
    assert "odd-future.json was written by a newer version of this program (its schema is 99" in words(page)


@pytest.mark.parametrize("case", CHOSEN)
@pytest.mark.parametrize(
    ("name", "key"), [("retrieval", "runs"), ("embeddings", "runs"), ("mechanism", "run")]
)
def test_an_odd_run_that_is_chosen_is_named(name: str, key: str, case: str, root: Path) -> None:
    sound = runs.list_runs(root)[1].id
    run = odd(root, CASES[case], ODD)
    page = open_page(name, **{key: run.id if key == "run" else [run.id, sound]})
    assert not page.exception
    assert f"{ODD}" in words(page)
    assert "copy" in words(page), "the way out"
    if key == "runs":  # the sound one is shown all the same
        part = {"retrieval": "rows", "embeddings": "panels"}[name]
        assert [data[part] for data in component_data(page) if data.get(part)]


@pytest.mark.parametrize("case", [case for case in CASES if case not in UNREADABLE])
def test_the_door_lets_nothing_odd_through(case: str, root: Path) -> None:
    """Whatever reads a run gets what it may expect, or one sentence."""
    run = odd(root, CASES[case], ODD)
    for read in (run.splits, run.classes, run.embeddings, run.scores, lambda: report.read(run)):
        said = ""
        try:
            read()
        except MaclError as error:
            said = str(error)
        assert not said or (str(run.path) in said and "recursion" not in said)
    assert runs.changes(run) == []
    assert run.progress() == {}


def test_the_tables_of_the_command_line_leave_out_the_odd_ones(
    everything: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.list_all(everything)
    told = capsys.readouterr()
    for case in UNREADABLE:
        assert f"{number(case)}/config.json" in told.err
    assert all(run.id in told.out for run in runs.list_runs(everything) if not run.id.startswith(ODD))
    table(run_root=everything, recorded=True)
    told = capsys.readouterr()
    assert "MACL" in told.out
    assert "MulSupCon" in told.out
    for case in (*UNREADABLE, "deep scores", "a split of numbers"):
        assert number(case) in told.err
    for name in SUMMARIES:
        assert f"odd-{name}/summary.json" in told.err
    assert ".recorded/odd.json" in told.err


@pytest.mark.parametrize("digits", [400, 4_000, 5_000])
def test_a_link_with_a_huge_number_is_a_sentence(digits: int, root: Path) -> None:
    names = [run.id for run in runs.list_runs(root)]
    page = open_page(
        "embeddings", runs=names, umap_seed="9" * digits, min_dist="9" * digits, projection="PCA"
    )
    assert "The link asks for what is not here" in words(page)
    assert len(page.warning[0].value) < 1000
    page = open_page("mechanism", m_b="9" * digits, m_draw="9" * digits)
    assert "The link asks for what is not here" in words(page)


def test_a_link_with_a_deep_baseline_is_a_sentence(root: Path) -> None:
    page = open_page("sensitivity", lab_base="[" * 20_000)
    assert "The link names no baseline that there is" in words(page)
    assert len(page.warning[0].value) < 1000


@pytest.mark.parametrize(
    ("case", "what"),
    [
        ("bf16", "embeddings"),
        ("NaN", "embeddings"),
        ("unequal lengths", "embeddings"),
        ("a vector", "embeddings"),
        ("a split of numbers", "splits"),
        ("classes that are no names", "classes"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(case: str, what: str, root: Path) -> None:
    run = odd(root, CASES[case], ODD)
    with pytest.raises(MaclError, match=rf"{ODD}/{what}\.\w+ is damaged \(.*\): copy"):
        getattr(run, what)()
