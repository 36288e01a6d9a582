"""Tables of finished runs: means, spreads, marks, and files that say the same numbers."""

import csv
import io
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core import report
from core.losses import LOSSES
from core.metrics import METRICS
from core.metrics.significance import conclusion, corrected_t, holm, sentence
from core.report import Result, Row
from core.report.labels import label_table
from core.runs import RunConfig

RNG = np.random.default_rng(0)


def result(
    loss: str = "macl", seed: int = 0, metrics: dict[str, float | None] | None = None, **fields: Any
) -> Result:
    """A finished run with random scores but for those given."""
    given = {"dataset": "dlrsd", "preset": "instant", "id": f"run-{loss}-{seed}"} | fields
    name, preset = given.pop("id"), given.pop("preset")
    more = {key: given.pop(key) for key in ("recorded", "study", "folder") if key in given}
    scores: dict[str, Any] = {
        part: dict(zip(METRICS, RNG.random(len(METRICS)).tolist(), strict=True))
        for part in ("metrics", "chance", "oracle")
    }
    scores["metrics"] |= metrics or {}
    return Result(name, RunConfig.build(preset, loss=loss, seed=seed, **given), scores, **more)


def row(method: str = "MACL", value: float = 50.0, spread: float | None = None, **fields: Any) -> Row:
    given = {"dataset": "dlrsd", "protocol": "instant", "loss": "macl", "seeds": (0,), "results": ()}
    return Row(method=method, values=dict.fromkeys(METRICS, (value, spread)), **given | fields)


def by_method(rows: list[Row]) -> dict[str, Row]:
    return {row.method: row for row in rows}


def test_mean_and_sample_deviation_over_seeds() -> None:
    runs = [result("macl", seed) for seed in range(4)]
    (found,) = (row for row in report.summary(runs) if not row.reference)
    for key in METRICS:
        numbers = [100 * run.scores["metrics"][key] for run in runs]
        np.testing.assert_allclose(found.values[key], (np.mean(numbers), np.std(numbers, ddof=1)), rtol=1e-12)
    assert found.seeds == (0, 1, 2, 3)
    assert [run.id for run in found.results] == [run.id for run in runs]


def test_one_seed_has_no_spread() -> None:
    rows = report.summary([result("macl", 7)])
    assert all(spread is None for row in rows for _, spread in row.values.values())
    assert "±" not in report.to_text(rows)


def test_rows_stand_between_chance_and_oracle_in_the_order_of_the_losses() -> None:
    rows = report.summary([result(key) for key in reversed(LOSSES)])
    assert [row.loss for row in rows] == ["chance", *LOSSES, "oracle"]
    assert [row.reference for row in rows] == [True, *[False] * len(LOSSES), True]


def test_recorded_results_and_those_of_another_study_keep_to_themselves() -> None:
    runs = [result("macl", seed, id=f"own-{seed}") for seed in range(2)]
    runs += [result("macl", seed, id=f"benchmark/{seed}", recorded=True, folder=False) for seed in range(3)]
    runs.append(result("macl", 0, id="benchmark/tuned", recorded=True, study="τ tuned on validation"))
    blocks = report.blocks(report.summary(runs))
    assert [block[0].protocol for block in blocks] == ["instant", "instant, τ tuned on validation"]
    found = [[(row.method, row.recorded, row.seeds) for row in block] for block in blocks]
    assert found[0][1:-1] == [("MACL", False, (0, 1)), ("MACL", True, (0, 1, 2))]
    assert found[1][1:-1] == [("MACL", True, (0,))]
    assert not any(row.recorded for block in blocks for row in (block[0], block[-1]))


def test_a_run_beats_a_row_of_a_benchmark_and_a_newer_row_an_older_one() -> None:
    rows = [
        result("macl", 0, id="20260301-macl"),
        result("macl", 0, id="benchmark/own/z/20260101-macl", folder=False),
        result("macl", 1, id="benchmark/own/z/20260101-macl", folder=False),
        result("macl", 1, id="benchmark/own/a/20260201-macl", folder=False),
    ]
    (found,) = (row for row in report.summary(rows) if not row.reference)
    assert [r.id for r in found.results] == ["20260301-macl", "benchmark/own/a/20260201-macl"]


def test_chance_is_taken_once_per_seed() -> None:
    """Two losses of seed 0 and one of seed 1: every seed has one test split and counts once."""
    runs = [result("macl", 0), result("mulsupcon", 0), result("macl", 1)]
    runs[1].scores["chance"] = runs[0].scores["chance"]
    found = by_method(report.summary(runs))["chance"]
    values = [100 * runs[i].scores["chance"]["map_easy"] for i in (0, 2)]
    assert found.seeds == (0, 1)
    np.testing.assert_allclose(found.values["map_easy"][0], np.mean(values))


def test_parameters_protocol_data_and_folder_tell_rows_apart() -> None:
    runs = [
        result("macl", id="a"),
        result("macl", id="b", params={"alpha": 2.0, "denominator": "own"}),
        result("macl", id="c", epochs=3),
        result("macl", id="d", dataset="whdld"),
        result("macl", id="e", dataset="folder", data_root="/one/tiles"),
        result("macl", id="f", dataset="folder", data_root="/two/tiles"),
        result("macl", id="g", preset="quick"),
    ]
    rows = [row for row in report.summary(runs) if not row.reference]
    assert {row.results[0].id: (row.dataset, row.protocol, row.method) for row in rows} == {
        "a": ("dlrsd", "instant", "MACL"),
        "b": ("dlrsd", "instant", "MACL (alpha=2, denominator=own)"),
        "c": ("dlrsd", "instant epochs=3", "MACL"),
        "d": ("whdld", "instant", "MACL"),
        "e": ("folder /one/tiles", "instant", "MACL"),
        "f": ("folder /two/tiles", "instant", "MACL"),
        "g": ("dlrsd", "quick", "MACL"),
    }


def test_device_and_place_of_the_data_do_not_split_a_row_and_the_newest_run_of_a_seed_counts() -> None:
    runs = [
        result("macl", 0, id="2026-02", device="cpu", data_root="/here"),
        result("macl", 0, id="2026-01", data_root="/there"),
        result("macl", 1, id="2026-00"),
    ]
    (found,) = (row for row in report.summary(runs) if not row.reference)
    assert [run.id for run in found.results] == ["2026-02", "2026-00"]


def test_filters() -> None:
    runs = [result("macl"), result("macl", preset="quick"), result("macl", dataset="whdld")]
    assert {row.dataset for row in report.summary(runs, dataset="whdld")} == {"whdld"}
    assert {row.protocol for row in report.summary(runs, preset="quick")} == {"quick"}
    assert report.summary(runs, dataset="ucm") == []
    assert report.summary([]) == []


def test_blocks_are_the_tables() -> None:
    rows = report.summary([result("macl"), result("oml"), result("macl", dataset="whdld")])
    assert [[row.method for row in block] for block in report.blocks(rows)] == [
        ["chance", "OML", "MACL", "oracle"],
        ["chance", "MACL", "oracle"],
    ]


def test_best_and_second_by_what_is_shown() -> None:
    """90.004 and 90.001 both read 90.00: both are best; 80 is second; chance and oracle never count."""
    easy = {"supcon_all": 0.90004, "supcon_any": 0.90001, "lbase": 0.8, "lproto": 0.7}
    runs = [result(loss, metrics={"map_easy": value}) for loss, value in easy.items()]
    runs[0].scores["oracle"]["map_easy"] = 1.0
    rank = {row.loss: row.rank.get("map_easy") for row in report.summary(runs)}
    assert rank == {
        "chance": None,
        "supcon_all": 1,
        "supcon_any": 1,
        "lbase": 2,
        "lproto": None,
        "oracle": None,
    }


def test_a_single_method_is_not_the_best_of_anything() -> None:
    assert all(not row.rank for row in report.summary([result("macl")]))


def test_a_metric_without_queries_is_a_gap() -> None:
    rows = report.summary(
        [result("macl", metrics={"map_hard": None}), result("oml", metrics={"map_hard": 0.5})]
    )
    found = by_method(rows)
    assert "map_hard" not in found["MACL"].values
    assert report.cell(found["MACL"], "map_hard").text == "–"
    frame = pd.read_csv(io.StringIO(report.to_csv(rows)))
    assert np.isnan(frame.set_index("method").loc["MACL", "map_hard"])


def test_csv_read_back_is_the_table() -> None:
    rows = report.summary([result(loss, seed) for loss in LOSSES for seed in range(3)])
    frame = pd.read_csv(io.StringIO(report.to_csv(rows)))
    assert list(frame.method) == [row.method for row in rows]
    assert list(frame.seeds) == ["0 1 2"] * len(rows)
    for key in METRICS:
        shown = [report.cell(row, key).text.split(" ± ") for row in rows]
        assert frame[key].tolist() == [float(mean) for mean, _ in shown]
        assert frame[f"{key}_std"].tolist() == [float(spread) for _, spread in shown]


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r\n=1", '=H("x")'])
def test_no_cell_is_a_formula(text: str) -> None:
    rows = [row(method=text, dataset=text, protocol=text)]
    _, cells = csv.reader(io.StringIO(report.to_csv(rows)))
    assert cells[:3] == [f"'{text.strip()}"] * 3


def test_negative_numbers_stay_numbers() -> None:
    frame = pd.read_csv(io.StringIO(report.to_csv([row(value=-1.5)])))
    assert frame.map_sim.tolist() == [-1.5]


def test_latex_has_a_table_per_block_and_marks() -> None:
    runs = [result("macl", seed, metrics={"wap": 0.9}) for seed in (0, 1)]
    runs += [result("lbase", seed, metrics={"wap": 0.8}) for seed in (0, 1)]
    text = report.to_latex(report.summary([*runs, result("macl", dataset="whdld")]))
    assert text.count(r"\begin{tabular}{lrrrrrrr}") == text.count(r"\end{tabular}") == 2
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 2
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 5 + 4
    assert all(len(re.findall(r"(?<!\\)&", line)) == len(METRICS) for line in lines)
    macl = next(line for line in lines if line.startswith("MACL"))
    assert macl.split(" & ")[-1] == r"\textbf{90.00}{\scriptsize$\,\pm\,$0.00} \\"
    lbase = next(line for line in lines if line.startswith("LBase"))
    assert lbase.split(" & ")[-1] == r"\underline{80.00}{\scriptsize$\,\pm\,$0.00} \\"


def test_latex_of_hostile_names() -> None:
    rows = [row(method="a_b & 50% #1 {x} ~^ \\input{y} $z$ <|>", dataset="folder /a\n\\input{b}")]
    text = report.to_latex(rows)
    line = next(line for line in text.splitlines() if line.startswith("a"))
    assert line.startswith(
        r"a\_b \& 50\% \#1 \{x\} \textasciitilde{}\textasciicircum{} \textbackslash{}input\{y\} \$z\$ "
        r"\textless{}\textbar{}\textgreater{} & "
    )
    assert [line for line in text.splitlines() if "input{b}" in line] == [text.splitlines()[0]]
    assert text.startswith("% ")


def test_text_aligns_and_marks() -> None:
    rows = report.summary([result("macl", metrics={"wap": 0.9}), result("oml", metrics={"wap": 0.8})])
    lines = report.to_text(rows).splitlines()
    assert len(lines) == 5
    assert next(line for line in lines if " MACL " in line).endswith("90.00*")
    assert next(line for line in lines if " OML " in line).endswith("80.00'")
    column = {line.index("instant") for line in lines[1:]}
    assert len(column) == 1


def test_markdown_has_a_table_per_block_and_marks() -> None:
    runs = [result("macl", metrics={"wap": 0.9}), result("lbase", metrics={"wap": 0.8})]
    text = report.to_markdown(report.summary([*runs, result("macl", dataset="whdld")]))
    assert text.count("|---|") == 2
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.count("|") == len(METRICS) + 2 for line in lines)
    assert next(line for line in lines if "| MACL |" in line).endswith("| **90.00** |")
    assert next(line for line in lines if "LBase" in line).endswith("| *80.00* |")
    assert r"| a\|b |" in report.to_markdown([row(method="a|b")])


def paired(loss: str, seed: int, easy: float, **fields: Any) -> Result:
    """A result whose split is that of its seed: chance and sizes are the same for every loss."""
    found = result(loss, seed, metrics={"map_easy": easy}, **fields)
    found.scores.update(images=411, train_images=1475, chance=dict.fromkeys(METRICS, 0.1 + seed / 100))
    return found


def pinned(runs: list[Result], baseline: str) -> list[Row]:
    (block,) = report.blocks(report.summary(runs))
    return report.pin(block, next(row for row in block if row.name == baseline))


def test_a_pinned_baseline_is_compared_seed_by_seed() -> None:
    rng = np.random.default_rng(1)
    easy = {
        loss: rng.normal(0.5, 0.01, 6) + (0.3 if loss == "oml" else 0) for loss in ("macl", "oml", "lmsc")
    }
    runs = [paired(loss, seed, easy[loss][seed]) for loss in easy for seed in range(6)]
    runs += [paired("lbase", seed, 0.4) for seed in (5, 9)]
    rows = by_method(pinned(runs, "MACL"))
    assert rows["MACL"].baseline
    assert not rows["MACL"].against
    assert not rows["chance"].against
    wanted = [corrected_t(100 * (easy[loss] - easy["macl"]), 411 / 1475) for loss in ("oml", "lmsc")]
    adjusted = holm([test.p for test in wanted])
    for name, test, p in zip(("OML", "LMsc"), wanted, adjusted, strict=True):
        found = rows[name].against["map_easy"]
        np.testing.assert_allclose(found.test.mean, test.mean)
        np.testing.assert_allclose((found.test.p, found.holm), (test.p, p))
    assert rows["OML"].against["map_easy"].verdict == "better"
    assert rows["LBase"].against["map_easy"].seeds == (5,)
    assert rows["LBase"].against["map_easy"].verdict == "unknown"


def test_results_on_other_test_images_are_no_pair() -> None:
    runs = [paired(loss, seed, 0.5) for loss in ("macl", "oml") for seed in range(4)]
    runs[0].scores["chance"] = dict.fromkeys(METRICS, 0.3)
    runs[1].scores["images"] = 400
    assert by_method(pinned(runs, "OML"))["MACL"].against["map_easy"].seeds == (2, 3)


def test_only_a_method_of_the_block_can_be_the_baseline() -> None:
    (block,) = report.blocks(report.summary([result("macl")]))
    for wrong in (block[0], row("MACL")):
        with pytest.raises(ValueError, match="need a method of the block"):
            report.pin(block, wrong)


def test_files_with_a_baseline() -> None:
    easy = {"macl": (0.1, 0.11, 0.12, 0.1), "oml": (0.8, 0.83, 0.81, 0.8), "lmsc": (0.1, 0.12, 0.11, 0.1)}
    rows = pinned([paired(loss, s, easy[loss][s]) for loss in easy for s in range(4)], "MACL")
    frame = pd.read_csv(io.StringIO(report.to_csv(rows))).set_index("method")
    assert set(frame.baseline) == {"MACL"}
    for found in (row for row in rows if row.against):
        comparison = found.against["map_easy"]
        line = frame.loc[found.method]
        ends = [line[f"map_easy_{part}"] for part in ("difference", "low", "high")]
        test = comparison.test
        assert ends == [round(value, 2) for value in (test.mean, test.low, test.high)]
        assert line.map_easy_p_holm == pytest.approx(comparison.holm, rel=0.05)
    assert np.isnan(frame.loc["MACL", "map_easy_difference"])
    latex = report.to_latex(rows)
    (oml,) = (line for line in latex.splitlines() if line.startswith("OML"))
    assert oml.split(" & ")[3].startswith(r"\textbf{81.00}$^{+}${\scriptsize")
    assert r"worse than MACL (corrected resampled t-test over seeds, Holm, 5 \%)" in latex
    markdown = report.to_markdown(rows)
    assert "<sup>+</sup>" in next(line for line in markdown.splitlines() if line.startswith("| OML"))
    assert "− worse than MACL" in markdown
    assert "+" in next(line for line in report.to_text(rows).splitlines() if " OML " in line)


def test_the_published_tables() -> None:
    """Spot values of tables 4, 5 and 6, one of each column, and the paper's 13 losses on three data sets."""
    rows = report.summary(
        [result(loss, dataset=name) for name in ("dlrsd", "ml_aid", "whdld") for loss in LOSSES]
    )
    values = {(row.dataset, row.loss): report.published(row) for row in rows if not row.reference}
    ours = {(dataset, "macl_nested") for dataset in ("dlrsd", "ml_aid", "whdld")}  # not in the paper
    assert not any(values.pop(key) for key in ours)
    assert len(values) == 39
    assert all(list(found) == list(METRICS) for found in values.values())
    for place, key, value in (
        (("dlrsd", "wg_macl"), "map_sim", 77.71),
        (("dlrsd", "supcon_all"), "wap", 14.30),
        (("dlrsd", "lreg"), "map_hard", 5.96),
        (("ml_aid", "simdis"), "ndcg", 58.04),
        (("ml_aid", "macl"), "map_easy", 59.89),
        (("ml_aid", "lworeg"), "ndcg_sim", 92.76),
        (("whdld", "oml"), "map_medium", 64.78),
        (("whdld", "macl"), "wap", 63.24),
    ):
        assert values[place][key] == value
    variant = report.summary([result("macl", params={"denominator": "own"}), result("macl", dataset="ucm")])
    assert [report.published(row) for row in variant] == [{}] * 6


def test_what_is_said_beside_published_values() -> None:
    block = report.summary([result("macl")])
    chance = {"map_sim": 65.0, "ndcg_sim": 34.4, "map_easy": 30.18, "map_medium": 13.6, "map_hard": 5.7}
    chance |= {"ndcg": 37.4, "wap": 26.18}
    block[0].values |= {key: (value, 0.5) for key, value in chance.items()}
    assert report.warning(block) == (
        "Published: Table 4 of the MACL paper, there with ResNet-18. Its mAP Easy, Medium and Hard equal "
        "those of a random order, and all its values of wAP@100 lie below chance: a reference, no target."
    )
    assert report.warning(report.summary([result("macl", dataset="ucm")])) == ""


def test_files_with_published_values() -> None:
    rows = report.summary([result("macl"), result("macl", id="b", params={"alpha": 2.0})])
    frame = pd.read_csv(io.StringIO(report.to_csv(rows, paper=True))).set_index("method")
    assert frame.loc["MACL", "map_easy_published"] == 28.95
    assert np.isnan(frame.loc["MACL (alpha=2)", "map_easy_published"])
    assert report.to_latex(rows, paper=True).count(r"\quad published & 72.14 & 75.17 & 28.95") == 1
    assert report.to_markdown(rows, paper=True).count("| – published | 72.14 | 75.17 | 28.95") == 1


def test_the_latex_compiles_and_fits_on_a_page(tmp_path: Path) -> None:
    rows = pinned([paired(loss, s, 0.5 + s / 9) for loss in LOSSES for s in range(4)], "MulSupCon")
    tuned = {"params": {"tau_scale": 0.5, "denominator": "own"}, "study": "τ tuned on validation"}
    rows += report.summary([result("macl", seed, **tuned) for seed in range(3)])
    assert "Overfull" not in compiled(report.to_latex(rows, paper=True), tmp_path)


def test_the_latex_compiles_whatever_a_folder_is_called(tmp_path: Path) -> None:
    name = "a_b & 50% #1 {x} ~^ \\input{y} $z$ <|> α τ ± é 雲 \u200b"
    compiled(report.to_latex([row(name, dataset=f"folder /{name}\nfoo", spread=1.0)]), tmp_path)


def compiled(tables: str, folder: Path) -> str:
    """What pdflatex says about the tables in an article; skips where it is missing, but not in CI."""
    if shutil.which("pdflatex") is None and not os.environ.get("CI"):
        pytest.skip("no pdflatex: install texlive-latex-recommended to compile the table")
    head = "\\documentclass[a4paper,twocolumn]{article}\n\\usepackage[margin=2cm]{geometry}\n"
    text = f"{head}\\usepackage{{booktabs}}\n\\begin{{document}}\n{tables}\\end{{document}}\n"
    (folder / "table.tex").write_text(text)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "table.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log
    assert (folder / "table.pdf").stat().st_size > 1000
    assert "Missing character" not in (folder / "table.log").read_text(errors="replace")
    return log


def test_scores_are_whole_or_it_is_said_what_is_wrong() -> None:
    whole = result("macl", metrics={"map_hard": None}).scores | {"images": 9, "training_s": None}
    assert report.flaw(whole) == ""
    part = whole["metrics"]
    for changed, said in (
        ({"chance": None}, "no chance"),
        ({"metrics": {key: part[key] for key in part if key != "wap"}}, ""),  # an earlier version
        ({"metrics": {}}, "no metric in metrics"),
        ({"metrics": part | {"wap": "0.5"}}, "wap in metrics is '0.5', no number"),
        ({"oracle": whole["oracle"] | {"ndcg": float("nan")}}, "ndcg in oracle is nan, no number"),
        ({"images": "many"}, "images is 'many', no number"),
    ):
        assert report.flaw(whole | changed) == said


def of_seeds(loss: str, seeds: range, **fields: Any) -> list[Result]:
    """Results whose scores are those of their seed alone, whatever other tests have drawn."""
    return [paired(loss, seed, 0.5, **fields) for seed in seeds]


def test_files_say_of_how_many_seeds_a_row_is_where_rows_differ() -> None:
    rows = report.summary(of_seeds("macl", range(2)) + of_seeds("oml", range(10)))
    latex, markdown = report.to_latex(rows), report.to_markdown(rows)
    for text in (latex, markdown):
        assert "over the seeds given" in text
        assert "Rows differ in their seeds and so in their test images." in text
        assert all(text.count(name) == 1 for name in ("MACL (n = 2)", "OML (n = 10)", "chance (n = 10)"))
    alike = report.summary(of_seeds("macl", range(2)) + of_seeds("oml", range(2)))
    assert "mean and standard deviation over seeds 0, 1." in report.to_latex(alike)
    assert "n =" not in report.to_latex(alike) + report.to_markdown(alike)


def test_recorded_rows_are_marked_in_every_file_that_holds_own_rows_beside_them() -> None:
    came = of_seeds("oml", range(2), recorded=True, folder=False)
    rows = report.summary(of_seeds("macl", range(2)) + came)
    for text in (report.to_csv(rows), report.to_latex(rows), report.to_markdown(rows), report.to_text(rows)):
        assert "OML, recorded" in text
        assert "MACL, recorded" not in text
    assert "recorded" not in report.to_markdown(report.summary(came))


def test_files_with_published_values_say_what_to_keep_in_mind() -> None:
    rows = report.summary(of_seeds("macl", range(2)) + of_seeds("macl", range(2), dataset="ucm"))
    for text in (report.to_latex(rows, paper=True), report.to_markdown(rows, paper=True)):
        assert text.count("Table 4 of the MACL paper, there with ResNet-18") == 1
        assert "a reference, no target." in text
    assert "no target" not in report.to_latex(rows) + report.to_markdown(rows)
    variant = report.summary(of_seeds("macl", range(2), params={"alpha": 2.0}))
    assert "no target" not in report.to_markdown(variant, paper=True)


def test_the_same_seeds_on_other_test_images_are_told_from_no_common_seed() -> None:
    """Labels or archive have changed between two losses: the way out is no other seed."""
    runs = of_seeds("macl", range(4)) + of_seeds("oml", range(4)) + of_seeds("lmsc", range(4, 8))
    for found in runs[4:8]:
        found.scores["images"] = 400
    rows = by_method(pinned(runs, "MACL"))
    oml, lmsc = (rows[name].against["wap"] for name in ("OML", "LMsc"))
    assert (oml.seeds, oml.moved) == ((), (0, 1, 2, 3))
    assert sentence("OML", "MACL", oml) == (
        "OML and MACL have the same seeds, but other test images: nothing may be concluded. "
        "At seeds 0, 1, 2 and 3 the data changed between them: train again."
    )
    assert (lmsc.seeds, lmsc.moved) == ((), ())
    assert "no seed in common: nothing may be concluded. Train both" in sentence("LMsc", "MACL", lmsc)
    assert conclusion("MACL", "wAP@100", [("OML", oml)]) == (
        "wAP@100: nothing may be concluded about MACL and the others, which have the same seeds, but other "
        "test images. At seeds 0, 1, 2 and 3 the data changed between them: train again."
    )
    assert report.moved(list(rows.values())) == [0, 1, 2, 3]


def test_a_metric_without_queries_is_told_from_no_common_seed() -> None:
    runs = of_seeds("macl", range(3)) + of_seeds("oml", range(3))
    for found in runs:
        found.scores["metrics"]["map_hard"] = None
    found = by_method(pinned(runs, "MACL"))["OML"].against["map_hard"]
    assert found.empty == (0, 1, 2)
    said = sentence("OML", "MACL", found)
    assert "no value on the common seeds" in said
    assert "none counts as a query" in said
    assert "Train both" not in said


def test_labels_are_compared_on_the_same_test_images_only() -> None:
    runs = of_seeds("macl", range(2)) + of_seeds("oml", range(2))
    runs[2].scores["images"] = 400
    quality = {run.id: {"tree": 0.9 - run.config.seed / 2} for run in runs[:2]}
    quality |= {run.id: {"tree": 0.8} for run in runs[2:]}
    table = label_table(pinned(runs, "MACL"), quality, {"tree": 10})
    np.testing.assert_allclose(table.values, [[40]])  # of seed 1 alone


def test_only_another_temperature_stands_for_a_baseline_that_is_not_there() -> None:
    def found(name: str, *losses: str, **params: Any) -> str:
        runs = [run for loss in losses for run in of_seeds(loss, range(2), params=params)]
        row = report.named(report.summary(runs), name)
        return row.name if row else ""

    assert found("OML (temperature=0.5)", "oml") == "OML"
    assert found("oml", "oml", temperature=0.5) == found("OML", "oml", temperature=0.5) != ""
    assert found("MACL (tau_scale=0.5)", "macl", tau_scale=2.0) == "MACL (tau_scale=2)"
    assert found("MACL (τ=0.5, α=2)", "macl", tau_scale=2.0) == ""
    for name in ("MACL (typo", "MACL (typo)", "MACL (alpha=9)", "MACL (denominator=own)", "LMsc", ""):
        assert found(name, "macl") == "", name
    assert found("macl", "macl", denominator="own") == ""
    assert found("MACL (α=2)", "macl", alpha=2.0) == "MACL (alpha=2)"


def test_a_recorded_baseline_is_a_recorded_one() -> None:
    own, came = of_seeds("oml", range(2)), of_seeds("oml", range(2), recorded=True)
    for runs, name, wanted in (
        (own + came, "OML", "OML"),
        (own + came, "OML, recorded", "OML, recorded"),
        (came, "OML, recorded", "OML"),
        (came + of_seeds("macl", range(2)), "OML", "OML, recorded"),
    ):
        row = report.named(report.summary(runs), name)
        assert row is not None
        assert row.name == wanted
    assert report.named(report.summary(own), "OML, recorded") is None


def test_close_values_of_a_parameter_are_two_rows() -> None:
    values = (0.12345671, 0.12345674, 2.0)
    runs = [run for value in values for run in of_seeds("macl", range(1), params={"alpha": value})]
    rows = [row for row in report.summary(runs) if not row.reference]
    assert [row.method for row in rows] == [
        "MACL (alpha=0.12345671)", "MACL (alpha=0.12345674)", "MACL (alpha=2)"
    ]  # fmt: skip


def test_variants_stand_in_the_order_of_their_values() -> None:
    runs = [run for a in (2.0, 10.0, 1.0, 1.5) for run in of_seeds("macl", range(1), params={"alpha": a})]
    rows = [row for row in report.summary(runs) if not row.reference]
    assert [row.method for row in rows] == ["MACL", *(f"MACL (alpha={a})" for a in (1, 2, 10))]


def test_it_is_said_over_how_many_comparisons_holm_corrects() -> None:
    """A filter takes rows away, and with them comparisons: the p-values change."""
    easy = {"macl": 0.1, "oml": 0.8, "lmsc": 0.3}
    runs = [paired(loss, s, easy[loss] + s * s / 900) for loss in easy for s in range(4)]
    for kept, n, word in ((("macl", "oml", "lmsc"), 2, "comparisons"), (("macl", "oml"), 1, "comparison")):
        rows = pinned([run for run in runs if run.config.loss in kept], "MACL")
        found = by_method(rows)["OML"].against["map_easy"]
        assert found.family == n
        assert f"after Holm over {n} {word}" in sentence("OML", "MACL", found)
        for text in (report.to_latex(rows), report.to_markdown(rows)):
            assert f"Holm over {n} {word} a metric." in text


def test_a_metric_of_fewer_seeds_than_its_row_says_of_how_many() -> None:
    runs = of_seeds("macl", range(3))
    runs[0].scores["metrics"]["map_hard"] = None
    macl = by_method(report.summary(runs))["MACL"]
    assert report.cell(macl, "map_hard").text.endswith(" (n = 2)")
    assert "n =" not in report.cell(macl, "map_easy").text
    for text in (report.to_latex([macl]), report.to_markdown([macl]), report.to_text([macl])):
        assert text.count("(n = 2)") == 1


def test_a_metric_that_was_not_computed_is_no_gap_in_any_form() -> None:
    """No error, and not the dash of a metric for which no image can query; in CSV a column stays numbers."""
    runs = [*of_seeds("macl", range(2)), *of_seeds("oml", range(2))]
    for run in runs[:2]:
        for part in ("metrics", "chance", "oracle"):
            del run.scores[part]["wap"]
        run.scores["metrics"]["map_hard"] = None
    rows = report.summary(runs)
    macl = by_method(rows)["MACL"]
    assert (report.cell(macl, "wap").text, report.cell(macl, "map_hard").text) == ("not computed", "–")
    frame = pd.read_csv(io.StringIO(report.to_csv(rows))).set_index("method")
    assert np.isnan(frame.loc["MACL", ["wap", "wap_std", "map_hard"]].astype(float)).all()
    for text in (report.to_text(rows), report.to_latex(rows), report.to_markdown(rows)):
        (line,) = (line for line in text.splitlines() if re.search(r"(^|[| ] )MACL ", line))
        assert line.count("not computed") == 1
        assert len(re.findall("–|--", line)) == 1
    assert report.pin(rows, by_method(rows)["OML"])[2].against["wap"].missing == (0, 1)


def test_the_latex_of_what_was_not_computed_fits_on_a_page(tmp_path: Path) -> None:
    runs = of_seeds("macl", range(3))
    for run in runs:
        del run.scores["metrics"]["wap"], run.scores["metrics"]["ndcg"]
    assert "Overfull" not in compiled(report.to_latex(report.summary(runs)), tmp_path)
