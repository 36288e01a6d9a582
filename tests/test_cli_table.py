"""`macl table` with a baseline, recorded results and published values."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from core import cli
from core.errors import MaclError
from core.losses import LOSSES
from core.metrics import METRICS


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No run, and a benchmark of two losses on DLRSD, four seeds, that came with the program."""
    lines, splits = [], {}
    for seed in range(4):
        chance, oracle = dict.fromkeys(METRICS, 0.1 + seed / 100), dict.fromkeys(METRICS, 1.0)
        split = f"dlrsd {seed}"
        splits[split] = {"images": 411, "train_images": 1475, "chance": chance, "oracle": oracle}
        for loss, mean in (("macl", 0.5), ("oml", 0.8), ("lbase", 0.5)):
            value = mean + (seed if loss == "macl" else -seed) / 1000
            scores = {"metrics": dict.fromkeys(METRICS, value)}
            config = {"dataset": "dlrsd", "loss": loss, "params": {}, "seed": seed}
            run = {"run": f"{loss}-{seed}", "split": split, "preset": "instant", "config": config}
            lines.append(run | {"scores": scores})
    folder = tmp_path / "recorded"
    folder.mkdir()
    (folder / "b.json").write_text(json.dumps({"about": {"study": ""}, "splits": splits, "runs": lines}))
    monkeypatch.setenv("MACL_BENCHMARK_ROOT", str(folder))
    return tmp_path


def table(root: Path, *arguments: str) -> None:
    cli.app(["table", "--run-root", str(root), *arguments], standalone_mode=False)


def test_a_baseline_by_key_or_name(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("macl", LOSSES["macl"].title):
        table(root, "--recorded", "--baseline", name, "--metric", "wap")
        said = capsys.readouterr().out
        verdict = "OML is better than MACL; LBase cannot be told from MACL."
        assert f"dlrsd, instant: wAP@100, on these 4 seeds: {verdict}" in said


def test_files_hold_baseline_and_published_values(root: Path) -> None:
    csv, markdown = root / "t.csv", root / "t.md"
    given = (
        "--recorded",
        "--baseline",
        "lbase",
        "--published",
        "--csv",
        str(csv),
        "--markdown",
        str(markdown),
    )
    table(root, *given)
    frame = pd.read_csv(io.StringIO(csv.read_text())).set_index("method")
    assert frame.loc["OML", "map_easy_difference"] == 30.0
    assert frame.loc["OML", "map_easy_published"] == 29.28
    assert "− worse than LBase" in markdown.read_text()


def test_what_is_not_there_is_named(root: Path) -> None:
    with pytest.raises(MaclError, match="need one of LBase, OML, MACL or a key"):
        table(root, "--recorded", "--baseline", "LMsc")
    with pytest.raises(MaclError, match="--metric: need one of map_sim"):
        table(root, "--metric", "accuracy")
    with pytest.raises(MaclError, match="no finished run"):
        table(root)
