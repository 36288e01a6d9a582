"""The benchmark: nothing runs twice, a kill changes no number, the summary says what the runs say."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core import cli, metrics, report, runs
from core.cli.benchmark import chosen_lines, parse_fields, parse_methods, parse_roots
from core.errors import MaclError
from core.experiments import benchmark
from core.experiments.axes import parse_seeds
from core.experiments.benchmark import ALL_METHODS, Method, Plan, files, summary
from core.experiments.benchmark.join import read_joined
from core.experiments.benchmark.plan import GRID
from core.experiments.benchmark.train import Outcome, key, train
from core.files import PROJECT, lock, unlock
from core.losses import LOSSES, LossSpec, Parameter, own, source
from core.metrics import METRICS

FIELDS = {"epochs": 2, "image_size": 32, "batch_size": 16}
LOSSES_HERE = (Method("mulsupcon"), Method("macl", {"denominator": "own"}))


def plan(tiny: Path, **changes: object) -> Plan:
    settings = {"methods": LOSSES_HERE, "seeds": (0, 1), "fields": FIELDS} | changes
    return Plan("instant", {"folder": str(tiny)}, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def one_go(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A benchmark in one go: its folder and outcome."""
    folder = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", str(tmp_path_factory.getbasetemp() / "home" / "cache"))
        outcome = train(plan(tiny), folder, say=lambda _: None)
        assert summary.write(plan(tiny), outcome, folder, "macl benchmark", ["made of drawn scenes"]) == []
    return folder, outcome


def numbers(folder: Path) -> dict[str, dict[str, float]]:
    return {
        key(run.config): run.scores()["metrics"] for run in runs.list_runs(folder) if run.state == "finished"
    }


def test_every_loss_is_in_the_benchmark_and_searches_its_own_temperature() -> None:
    assert [method.key for method in ALL_METHODS] == [*LOSSES, "macl:denominator=own"]
    names = {method.key: method.temperature for method in ALL_METHODS}
    assert names["macl"] == names["wg_macl"] == names["macl:denominator=own"] == "tau_scale"
    assert names["oml"] == "temperature"
    others = set(names) - {"macl", "wg_macl", "macl:denominator=own", "oml"}
    assert {names[other] for other in others} == {"tau"}
    assert Method("macl", {"use_T": False}).temperature == "tau"
    assert len(GRID) >= 8
    assert Method("supcon_any").candidates() == Method("oml").candidates() == list(GRID)
    assert Method("macl").candidates() == [float(f"{tau / 0.3:.4g}") for tau in GRID]  # 1 stands for τ = 0.3
    for method in ALL_METHODS:  # the same τ for every loss, all of them allowed
        assert len(set(method.candidates())) == len(GRID)
        for value in method.candidates():
            LOSSES[method.loss].check(method.at(value).params)


def test_the_search_of_ones_own_loss_keeps_to_its_range() -> None:
    def added(name: str, *parameters: Parameter) -> Method:
        key = own.key_of(name, name)
        spec = LossSpec(key, name, "your own loss", "Pulls.", parameters, "Mine", sha256=source.digest(name))
        return Method(own.keep(spec, name, offer=True).key)

    sharp = added("sharp", Parameter("tau", "float", 0.1, "", low=0.05, high=1))
    plain = added("plain", Parameter("margin", "float", 0.1, ""))
    assert sharp.candidates() == [0.05, 0.1, 0.2, 0.3, 0.5, 1.0]
    assert (plain.temperature, plain.candidates()) == ("", [])
    tuned = Plan("instant", {"demo": None}, (sharp, plain), seeds=(0, 1), tune=True)
    assert tuned.runs == 2 * 2 + 6 * 2
    assert {config.loss for _, _, config in tuned.search("demo")} == {sharp.loss}


def test_the_search_shares_no_seed_with_the_report() -> None:
    tuned = Plan("instant", {"demo": None}, seeds=tuple(range(10)), tune=True)
    searched = list(tuned.search("demo"))
    assert not {config.seed for _, _, config in searched} & set(tuned.seeds)
    large = Plan("instant", {"demo": None}, seeds=(998, 1001), tune=True)
    assert {config.seed for _, _, config in large.search("demo")} == {1002, 1003}
    reported = list(tuned.report("demo", tuned.methods))
    assert len(searched) + len(reported) == tuned.runs == len(ALL_METHODS) * (2 * len(GRID) + 10)
    assert len({key(config) for config in reported} | {key(c) for _, _, c in searched}) == tuned.runs


def test_runs_of_a_seed_share_images_and_order(one_go: tuple[Path, Outcome]) -> None:
    by_seed: dict[int, list[runs.Run]] = {}
    for run in one_go[1].runs:
        by_seed.setdefault(run.config.seed, []).append(run)
    assert {seed: len(found) for seed, found in by_seed.items()} == {0: 2, 1: 2}
    for first, second in by_seed.values():
        assert first.splits() == second.splits()
    assert by_seed[0][0].splits() != by_seed[1][0].splits()


def test_a_second_start_runs_nothing(tiny: Path, one_go: tuple[Path, Outcome]) -> None:
    folder, outcome = one_go
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/scores.json")}
    said: list[str] = []
    again = train(plan(tiny), folder, say=said.append)
    assert said == []
    assert [run.id for run in again.runs] == [run.id for run in outcome.runs]
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/scores.json")} == before


def command(tiny: Path, root: Path) -> list[str]:
    main = "from core.cli import main; main()"
    fields = [f"--set={name}={value}" for name, value in FIELDS.items()]
    return [
        *(sys.executable, "-c", main, "benchmark", "--preset", "instant", "--datasets", "folder"),
        *("--data-root", f"folder={tiny}", "--losses", "mulsupcon,macl:denominator=own", "--seeds", "0-1"),
        *("--run-root", str(root), "--name", "here", *fields),
    ]


def killed_once(tiny: Path, root: Path) -> Path:
    """Start the command, kill it in the middle of its second run; the folder of the benchmark."""
    folder = root / "benchmarks" / "here"
    process = subprocess.Popen(command(tiny, root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not list(folder.glob("*/scores.json")) or len(list(folder.glob("*/config.json"))) < 2:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return folder


def test_kill_and_restart_give_the_numbers_of_one_go(
    tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]
) -> None:
    folder = killed_once(tiny, tmp_path)
    assert len(numbers(folder)) < 4
    together = [
        subprocess.Popen(command(tiny, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in together]
    assert [process.returncode for process in together] == [0, 0], outputs
    assert len(runs.list_runs(folder)) == 4  # two processes and a killed one: each configuration once
    assert numbers(folder) == numbers(one_go[0])
    path = Path(outputs[0][0].splitlines()[-1])
    found = benchmark.read(path)
    assert found.name == "here"
    assert found.about["command"] == (
        "macl benchmark --preset instant --datasets folder --losses mulsupcon,macl:denominator=own "
        "--seeds 0-1 --set epochs=2 --set image_size=32 --set batch_size=16"
    )
    assert str(tiny) not in path.read_text()  # numbers only: no place of a person's machine
    assert benchmark.own(tmp_path) == [path]


def test_ctrl_c_stops_resumably(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks" / "here"
    process = subprocess.Popen(
        command(tiny, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    while not list(folder.glob("*/started")):
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "the same command goes on with it" in said
    assert "Traceback" not in said
    assert not (folder / "summary.json").exists()


def test_the_summary_holds_what_the_runs_hold(tiny: Path, one_go: tuple[Path, Outcome]) -> None:
    folder, outcome = one_go
    found = benchmark.read(folder / "summary.json")
    assert len(found.results) == len(outcome.runs) == 4
    assert found.about["notes"] == ["made of drawn scenes"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found.about["made"])
    assert found.about["versions"]["torch"]
    for result, run in zip(found.results, outcome.runs, strict=True):
        assert not result.folder
        assert key(result.config.model_copy(update={"data_root": run.config.data_root})) == key(run.config)
        z, y = run.embeddings()
        again = metrics.evaluate(z, y)  # recomputed from the saved embeddings
        for name in METRICS:
            assert result.scores["metrics"][name] == pytest.approx(again[name], abs=1e-6, nan_ok=True)
        per_label = metrics.per_label(z, y)
        saved = [np.nan if v is None else v for v in result.scores["label_ap"].values()]
        np.testing.assert_allclose(saved, per_label, atol=1e-6)
        train_names = run.splits()["train"]
        assert result.scores["train_images"] == len(train_names)
    lines = (tiny / "labels.csv").read_text().splitlines()
    names, *table = [line.split(",") for line in lines]
    labels = {row[0]: np.array(row[1:], int) for row in table}
    for result, run in zip(found.results, outcome.runs, strict=True):
        counts = sum(labels[name] for name in run.splits()["train"])
        assert result.scores["label_counts"] == dict(zip(names[1:], np.asarray(counts).tolist(), strict=True))
    shown = report.summary(found.results)
    assert [row.loss for row in shown] == ["chance", "mulsupcon", "macl", "oracle"]


def test_a_score_that_its_embeddings_do_not_give_is_left_out(
    tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(one_go[0], folder)
    (folder / "summary.json").unlink()
    outcome = train(plan(tiny), folder, say=lambda _: None)
    victim = outcome.runs[2]
    scores = victim.scores()
    scores["metrics"]["map_easy"] += 0.01
    (victim.path / "scores.json").write_text(json.dumps(scores))
    wrong = summary.write(plan(tiny), outcome, folder, "macl benchmark", [])
    assert len(wrong) == 1
    assert victim.id in wrong[0]
    found = benchmark.read(folder / "summary.json")
    assert len(found.results) == 3
    assert found.about["failures"] == wrong


def test_a_damaged_summary_is_written_anew(tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(one_go[0], folder)
    whole = benchmark.read(folder / "summary.json")
    (folder / "summary.json").write_text("{")
    outcome = train(plan(tiny), folder, say=lambda _: None)
    assert summary.write(plan(tiny), outcome, folder, "macl benchmark", []) == []
    found = benchmark.read(folder / "summary.json").results
    assert [result.scores for result in found] == [result.scores for result in whole.results]


def test_the_part_of_another_machine_is_joined(
    tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]
) -> None:
    """Seeds 0 and 1 were run elsewhere, with the images at another place; 1 and 2 are asked for here."""
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tiny, elsewhere)
    here = replace(plan(tiny, seeds=(1, 2)), roots={"folder": str(elsewhere)})
    joined = read_joined([one_go[0] / "summary.json"], here)
    said: list[str] = []
    outcome = train(here, tmp_path / "here", say=said.append, joined=joined)
    assert len(said) == len(outcome.runs) == len(outcome.joined) == 2
    assert all("seed 2" in line for line in said)
    assert summary.write(here, outcome, tmp_path / "here", "macl benchmark here", ["mine"], joined) == []

    found = benchmark.read(tmp_path / "here" / "summary.json")
    assert sorted(result.config.seed for result in found.results) == [0, 0, 1, 1, 2, 2]
    (name,) = {report.dataset_name(result.config) for result in found.results}
    assert re.fullmatch(r"folder elsewhere [0-9a-f]{8}", name)  # the same images: one table
    theirs = {
        result.id.split("/")[-1]: result for result in benchmark.read(one_go[0] / "summary.json").results
    }
    for result in found.results:
        if result.config.seed != 2:
            wanted = theirs[result.id.split("/")[-1]].scores
            assert result.scores == wanted | {"place": result.config.data_root}
    (source,) = found.about["joined"]
    assert (source["command"], source["notes"]) == ("macl benchmark", ["made of drawn scenes"])
    assert found.about["notes"] == ["mine"]

    (again,) = {
        json.dumps(one.source)
        for one in read_joined([tmp_path / "here" / "summary.json"], here).values()
        if one.row["config"]["seed"] == 1
    }
    assert json.loads(again) == source  # joined once more, it is still known where it came from


def test_a_part_with_other_images_is_refused(
    tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny, other)
    lines = (other / "labels.csv").read_text().splitlines()
    (other / "labels.csv").write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    (other / f"{lines[1].split(',')[0]}").unlink()
    here = replace(plan(tiny), roots={"folder": str(other)})
    with pytest.raises(MaclError, match="other images of folder"):
        read_joined([one_go[0] / "summary.json"], here)
    with pytest.raises(MaclError, match="cannot read the summary"):
        read_joined([tmp_path / "none.json"], here)


def test_join_on_the_command_line_adds_a_part_with_other_seeds(
    tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    held = json.loads((one_go[0] / "summary.json").read_text())
    stranger = json.loads(json.dumps(held["runs"][0]).replace('"instant"', '"quick"'))
    stranger["config"] |= {"weights": "none", "trainable": "all"}
    held["runs"].append(stranger)
    part = tmp_path / "part.json"
    part.write_text(json.dumps(held))
    fields = [f"--set={name}={value}" for name, value in FIELDS.items()]
    given = ["benchmark", "--preset", "instant", "--datasets", "folder", "--data-root", f"folder={tiny}"]
    given += ["--losses", "mulsupcon", "--seeds", "2", "--name", "here", "--join", str(part), *fields]
    cli.app([*given, "--run-root", str(tmp_path)], standalone_mode=False)
    found = benchmark.read(tmp_path / "benchmarks" / "here" / "summary.json")
    assert sorted((r.config.loss, r.config.seed) for r in found.results) == [
        *(("macl", 0), ("macl", 1), ("mulsupcon", 0), ("mulsupcon", 1), ("mulsupcon", 2)),
    ]
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "left out" in line)
    assert "1 of 5 rows left out: they are of another data set or preset" in line

    for split in held["splits"].values():  # seeds 0 and 1, of which the call has none
        split["chance"]["map_easy"] += 0.01
    part.write_text(json.dumps(held))
    with pytest.raises(MaclError, match="other images of folder"):
        cli.app([*given, "--run-root", str(tmp_path)], standalone_mode=False)


def test_rows_of_another_study_are_not_joined(
    tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]
) -> None:
    said: list[str] = []
    assert not read_joined([one_go[0] / "summary.json"], plan(tiny, tune=True), said.append)
    assert len(said) == 1
    assert "4 of 4 rows left out" in said[0]


def test_what_another_search_chose_is_said_and_stays(
    tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]
) -> None:
    def found(chosen: float) -> dict[str, dict[str, dict[str, object]]]:
        about = {"parameter": "tau", "chosen": chosen, "validation": {"0.1": 0.4, "0.3": 0.5, "1": 0.3}}
        return {"folder": {"mulsupcon": about}}

    tuned = plan(tiny, tune=True)
    held = json.loads((one_go[0] / "summary.json").read_text())
    held["about"] |= {"study": tuned.study, "tuned": found(0.1)}
    for row in held["runs"]:
        row["config"]["params"] = {"tau": 0.1}
    (tmp_path / "part.json").write_text(json.dumps(held))
    joined = read_joined([tmp_path / "part.json"], tuned)
    assert summary.write(tuned, Outcome(tuned=found(0.3)), tmp_path, "macl benchmark", [], joined) == []
    shown = benchmark.read(tmp_path / "summary.json")
    assert len(shown.results) == 4
    lines = list(chosen_lines(shown.about["tuned"], shown.about["joined"]))
    assert lines[0] == "folder: mulsupcon with tau=0.3"
    assert lines[1].startswith("folder: mulsupcon with tau=0.1 in the joined part")
    (edge,) = chosen_lines(found(1.0), [])
    assert edge == "folder: mulsupcon with tau=1 (at the edge of the search)"


@pytest.mark.parametrize("damage", ["source", "split", "scores", "chance", "config"])
def test_a_damaged_part_is_one_line(
    damage: str, tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]
) -> None:
    held = json.loads((one_go[0] / "summary.json").read_text())
    row = held["runs"][0]
    if damage == "source":
        row["source"] = 3
    elif damage == "chance":
        held["splits"][row["split"]]["chance"] = {"map_easy": "much"}
    else:
        row[damage] = "gone"
    (tmp_path / "part.json").write_text(json.dumps(held))
    with pytest.raises(MaclError, match=r"part\.json (is no summary|was made with other)"):
        read_joined([tmp_path / "part.json"], plan(tiny))


def test_a_run_that_is_copied_here_later_is_no_longer_another_machine_s(
    tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]
) -> None:
    joined = read_joined([one_go[0] / "summary.json"], plan(tiny))
    summary.write(plan(tiny), Outcome(joined=list(joined)), tmp_path, "macl benchmark", [], joined)
    assert len(benchmark.read(tmp_path / "summary.json").about["joined"]) == 1
    for run in one_go[1].runs:
        shutil.copytree(run.path, tmp_path / run.id)
    outcome = train(plan(tiny), tmp_path, say=lambda _: None)
    assert summary.write(plan(tiny), outcome, tmp_path, "macl benchmark", []) == []
    held = files.content(tmp_path / "summary.json")
    assert held["about"]["joined"] == []
    assert len(held["runs"]) == 4
    assert not any("source" in row for row in held["runs"])


def test_a_smaller_call_keeps_the_rows_of_a_larger_one(
    tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(one_go[0], folder)
    whole = {result.id: result for result in benchmark.read(folder / "summary.json").results}
    smaller = plan(tiny, seeds=(1,))
    outcome = train(smaller, folder, say=lambda _: None)
    assert summary.write(smaller, outcome, folder, "macl benchmark --seeds 1", ["again"]) == []
    found = benchmark.read(folder / "summary.json")
    assert {result.id: result.scores for result in found.results} == {
        name: result.scores for name, result in whole.items()
    }
    assert found.about["earlier"] == ["macl benchmark"]
    assert found.about["notes"] == ["made of drawn scenes", "again"]
    shutil.rmtree(folder / one_go[1].runs[0].id)  # seed 0: what a person deletes is gone from the summary
    summary.write(smaller, outcome, folder, "macl benchmark --seeds 1", [])
    assert len(benchmark.read(folder / "summary.json").results) == 3

    with pytest.raises(MaclError, match="holds a benchmark of another kind"):
        summary.refuse_another_study(folder, plan(tiny, tune=True))


def test_two_writers_wait_for_each_other(tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(one_go[0], folder)
    (folder / "summary.json").unlink()
    parts = [Outcome(runs=[run for run in one_go[1].runs if run.config.seed == seed]) for seed in (0, 1)]
    assert lock(folder / ".summary.lock")
    with ThreadPoolExecutor() as pool:
        done = [
            pool.submit(summary.write, plan(tiny, seeds=(seed,)), parts[seed], folder, f"--seeds {seed}", [])
            for seed in (0, 1)
        ]
        time.sleep(0.3)
        assert not any(one.done() for one in done)
        unlock(folder / ".summary.lock")
        assert [one.result() for one in done] == [[], []]
    assert len(benchmark.read(folder / "summary.json").results) == 4


def test_own_folders_of_one_name_are_two_data_sets(
    tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]
) -> None:
    other = tmp_path / tiny.name
    shutil.copytree(tiny, other)
    lines = (other / "labels.csv").read_text().splitlines()
    (other / "labels.csv").write_text("\n".join([lines[0], *lines[21:]]) + "\n")
    for line in lines[1:21]:
        (other / line.split(",")[0]).unlink()
    folder = tmp_path / "copy"
    shutil.copytree(one_go[0], folder)
    here = replace(plan(tiny, seeds=(0,)), roots={"folder": str(other)})
    outcome = train(here, folder, say=lambda _: None)
    assert summary.write(here, outcome, folder, "macl benchmark", []) == []
    blocks = report.blocks(report.summary(benchmark.read(folder / "summary.json").results))
    assert len({block[0].dataset for block in blocks}) == len(blocks) == 2
    assert all(block[0].dataset.startswith(f"folder {tiny.name} ") for block in blocks)
    for block in blocks:
        for row in block[1:-1]:
            for result in row.results:
                run = runs.Run(folder / result.id.split("/")[-1])
                chance = run.scores()["chance"]["map_easy"]
                assert result.scores["chance"]["map_easy"] == pytest.approx(chance, abs=1e-6)


def test_broken_images_are_left_out_where_it_is_asked_for(tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "broken"
    shutil.copytree(tiny, other)
    (other / "scene003.png").write_bytes(b"no image")
    here = replace(plan(tiny, methods=LOSSES_HERE[:1], seeds=(0,)), roots={"folder": str(other)})
    with pytest.raises(MaclError, match="scene003"):
        train(here, tmp_path / "none", say=lambda _: None)
    here = replace(here, fields=FIELDS | {"skip_broken": "true"})
    outcome = train(here, tmp_path / "here", say=lambda _: None)
    assert summary.write(here, outcome, tmp_path / "here", "macl benchmark", []) == []
    assert len(read_joined([tmp_path / "here" / "summary.json"], here)) == 1


def test_a_run_that_cannot_be_read_is_a_line_of_the_failures(
    tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(one_go[0], folder)
    (folder / "summary.json").unlink()
    outcome = train(plan(tiny), folder, say=lambda _: None)
    (outcome.runs[0].path / "embeddings.safetensors").write_bytes(b"half")
    (outcome.runs[1].path / "classes.json").unlink()
    wrong = summary.write(plan(tiny), outcome, folder, "macl benchmark", [])
    assert [line.split()[0] for line in wrong] == [run.id for run in outcome.runs[:2]]
    assert all("cannot be read" in line for line in wrong)
    found = benchmark.read(folder / "summary.json")
    assert len(found.results) == 2
    assert found.about["failures"] == wrong


def test_a_failing_run_is_reported_and_holds_nothing_up(tiny: Path, tmp_path: Path) -> None:
    here = plan(tiny, seeds=(0,))
    damaged = runs.create(here.config("folder", LOSSES_HERE[0], 0), tmp_path)
    (damaged.path / "resume.safetensors").write_bytes(b"nothing")
    said: list[str] = []
    outcome = train(here, tmp_path, say=said.append)
    assert [run.config.loss for run in outcome.runs] == ["macl"]
    assert len(outcome.failures) == 1
    assert "mulsupcon seed 0" in outcome.failures[0]
    assert "damaged" in outcome.failures[0]


def test_an_unfinished_run_goes_on_as_the_new_call_says(tiny: Path, tmp_path: Path) -> None:
    given = {"methods": LOSSES_HERE[:1], "seeds": (0,)}
    outcome = train(plan(tiny, device="cuda:99", **given), tmp_path, say=lambda _: None)
    assert "cuda:99" in outcome.failures[0]
    (failed,) = runs.list_runs(tmp_path)
    outcome = train(plan(tiny, device="cpu", **given), tmp_path, say=lambda _: None)
    assert outcome.failures == []
    assert outcome.runs == [failed]
    assert failed.config == plan(tiny, device="cpu").config("folder", LOSSES_HERE[0], 0)


def test_images_that_have_been_moved_are_those_of_the_new_call(
    tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(one_go[0], folder)
    (folder / "summary.json").unlink()
    found = [runs.Run(folder / run.id) for run in one_go[1].runs]
    for run in found:
        moved = run.config.model_copy(update={"data_root": str(tmp_path / "old.zip")})
        run.mark("config.json", moved.model_dump_json())
    assert summary.write(plan(tiny), Outcome(runs=found), folder, "macl benchmark", []) == []
    assert len(benchmark.read(folder / "summary.json").results) == 4


def test_what_is_there_already_says_nothing_of_the_speed(
    tiny: Path, tmp_path: Path, one_go: tuple[Path, Outcome]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(one_go[0], folder)
    told: list[int] = []

    def tell(done: int, _: int, what: str) -> None:
        if what == "benchmark":
            told.append(done)

    more = (*LOSSES_HERE, Method("mulsupcon", {"tau": 0.2}))
    train(plan(tiny, methods=more, seeds=(0,)), folder, tell, lambda _: None)
    assert told == [2, 3]  # the bar begins where the first training does


def test_files_with_weights_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_fields(["weights=r18.pth"]) == {"weights": str(tmp_path / "r18.pth")}
    assert parse_fields(["weights=none", "epochs=5"]) == {"weights": "none", "epochs": 5}
    given = ["benchmark", "--preset", "paper", "--datasets", "dlrsd", "--data-root", "dlrsd=nowhere.zip"]
    with pytest.raises(MaclError, match=r"nowhere\.zip"):  # the name of the folder was no problem
        cli.app(
            [*given, "--set", "weights=/data/r18.pth", "--run-root", str(tmp_path)], standalone_mode=False
        )


def test_the_search_takes_the_best_of_the_validation_split(tiny: Path, tmp_path: Path) -> None:
    tuned = plan(tiny, methods=(Method("mulsupcon"),), seeds=(0,), tune=True, search_seeds=1)
    outcome = train(tuned, tmp_path, say=lambda _: None)
    about = outcome.tuned["folder"]["mulsupcon"]
    searched = {
        run.config.params["tau"]: run.history()[-1]["val_map_medium"]
        for run in runs.list_runs(tmp_path)
        if run.config.seed == 1000
    }
    assert len(searched) == len(GRID)
    best = max(searched, key=lambda tau: searched[tau])
    assert about["chosen"] == best
    assert [run.config.params["tau"] for run in outcome.runs] == [best]
    assert {float(tau): value for tau, value in about["validation"].items()} == pytest.approx(searched)  # type: ignore[attr-defined]
    summary.write(tuned, outcome, tmp_path, "macl benchmark", [])
    shown = report.summary(benchmark.read(tmp_path / "summary.json").results)
    assert all(row.protocol.endswith("τ tuned on validation") for row in shown)


def test_the_search_goes_by_the_weights_that_are_kept(tiny: Path, tmp_path: Path) -> None:
    fields = {**FIELDS, "keep": "best"}
    tuned = plan(tiny, methods=(Method("mulsupcon"),), seeds=(0,), tune=True, search_seeds=1, fields=fields)
    outcome = train(tuned, tmp_path, say=lambda _: None)
    about = outcome.tuned["folder"]["mulsupcon"]
    searched = {
        run.config.params["tau"]: max(line.get("val_map_medium", 0.0) for line in run.history())
        for run in runs.list_runs(tmp_path)
        if run.config.seed == 1000
    }
    assert {float(tau): value for tau, value in about["validation"].items()} == pytest.approx(searched)  # type: ignore[attr-defined]


def test_a_run_on_other_labels_than_the_data_set_holds_is_left_out(tiny: Path, tmp_path: Path) -> None:
    own, folder = tmp_path / "own", tmp_path / "runs"
    shutil.copytree(tiny, own)
    outcome = train(plan(own, seeds=(0,)), folder, say=lambda _: None)
    table = (own / "labels.csv").read_text()
    name = outcome.runs[0].splits()["test"][0]
    (line,) = [line for line in table.splitlines() if line.startswith(f"{name},")]
    first, separator, rest = line.partition(",")
    flipped = first + separator + ("0" if rest[0] == "1" else "1") + rest[1:]
    (own / "labels.csv").write_text(table.replace(line, flipped))
    wrong = summary.write(plan(own, seeds=(0,)), outcome, folder, "macl benchmark", [])
    assert [text.partition(":")[0] for text in wrong] == [run.id for run in outcome.runs]
    assert all("other images or labels" in text for text in wrong)
    (own / "labels.csv").write_text(table)
    assert summary.write(plan(own, seeds=(0,)), outcome, folder, "macl benchmark", []) == []


def test_a_missing_data_set_is_said_before_anything_runs(tmp_path: Path) -> None:
    nowhere = Plan("instant", {"dlrsd": str(tmp_path / "none.zip")}, methods=LOSSES_HERE)
    with pytest.raises(MaclError, match=r"none\.zip"):
        train(nowhere, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("call", "text", "message"),
    [
        (parse_methods, "macl,nothing", "--losses: need all or some of"),
        (parse_methods, "macl:alpha", "--param: need NAME=VALUE"),
        (parse_methods, "macl,macl", "each loss once"),
        (lambda text: parse_roots(text, []), "dlrsd,nowhere", "--datasets: need some of"),
        (lambda text: parse_roots("dlrsd", [text]), "whdld=x", "--data-root: need NAME=PATH"),
        (lambda text: parse_fields([text]), "loss=macl", "--set: need FIELD=VALUE"),
    ],
)
def test_mistakes_are_one_line(call: object, text: str, message: str) -> None:
    with pytest.raises(MaclError, match=re.escape(message)):
        call(text)  # type: ignore[operator]


def test_what_the_options_mean() -> None:
    assert parse_methods("all") == ALL_METHODS
    assert parse_methods("macl:denominator=own:alpha=2")[0].params == {"denominator": "own", "alpha": 2.0}
    assert parse_roots("dlrsd,demo", ["dlrsd=/a"]) == {"dlrsd": "/a", "demo": None}


def test_a_wrong_field_or_name_ends_in_one_line(tmp_path: Path) -> None:
    for given, message in (
        (["--set", "epochs=many"], "epochs"),
        (["--set", "epoch=3"], "epoch"),
        (["--name", "../elsewhere"], "--name: need the name of a folder"),
        (["--tune", "alpha"], "--tune: need tau"),
    ):
        code = "from core.cli import main; main()"
        arguments = [
            *(sys.executable, "-c", code, "benchmark", "--datasets", "demo", "--preset", "instant"),
            *given,
        ]
        done = subprocess.run(
            [*arguments, "--run-root", str(tmp_path)],
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        assert done.returncode == 1, done.stderr
        assert message in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    assert not any(path.name == "elsewhere" for path in tmp_path.rglob("*"))


def test_summaries_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("[]")
    with pytest.raises(MaclError, match=r"broken\.json is no summary"):
        benchmark.read(tmp_path / "broken.json")


RECORDED = sorted((PROJECT / "assets" / "benchmarks").glob("*.json"))
# chance on random test splits of the paper's sizes (Table 2), mean and spread: mAP(sim), Easy, Medium, Hard
CHANCE = {
    "dlrsd": [(65.0, 2.3), (30.3, 1.8), (13.7, 0.9), (5.8, 0.4)],
    "ml_aid": [(85.2, 1.5), (58.7, 1.9), (37.3, 1.7), (15.5, 0.9)],
    "whdld": [(97.6, 0.3), (80.7, 1.1), (64.6, 1.5), (40.6, 1.5)],
}


def test_benchmarks_came_with_the_product() -> None:
    assert [path.stem for path in RECORDED] == [benchmark.read(path).name for path in benchmark.recorded()]
    assert "instant" in [path.stem for path in RECORDED]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_benchmark_is_whole(path: Path) -> None:
    found = benchmark.read(path)
    commands = [found.about["command"], *found.about.get("earlier", ())]
    asked = [dict(re.findall(r"--(\w[\w-]*) (\S+)", command)) for command in commands]
    expected = {
        (dataset, method.loss, method.params.get("denominator") == "own", seed)
        for options in asked
        for dataset in options["datasets"].split(",")
        for method in parse_methods(options["losses"])
        for seed in parse_seeds(options["seeds"])
        if (path.stem, method.loss) != ("quick", "macl_nested")  # recorded before there was this loss
    }
    configs = [result.config for result in found.results]
    done = [(c.dataset, c.loss, c.params.get("denominator") == "own", c.seed) for c in configs]
    assert sorted(done) == sorted(expected)
    assert found.about["failures"] == []
    assert found.about["versions"].keys() >= {"macl-lab", "python", "torch", "numpy"}
    assert found.about["devices"]
    assert re.search(r"(?<![\w.])/\w", path.read_text()) is None  # no path of a machine
    for result in found.results:
        assert result.recorded
        assert {result.config.preset} == {options["preset"] for options in asked}
        for name, value in result.scores["metrics"].items():
            assert 0 < value <= 1, name
    for row in report.summary(found.results):
        if row.loss != "chance":
            continue
        levels = ("map_sim", "map_easy", "map_medium", "map_hard")
        for name, (mean, spread) in zip(levels, CHANCE[row.dataset], strict=True):
            assert abs(row.values[name][0] - mean) < 3 * spread / np.sqrt(len(row.seeds)) + 0.05


def test_the_readme_says_what_the_recorded_seeds_allow() -> None:
    """Of the whole network trained from scratch; MulSupCon is the baseline."""
    found = benchmark.read(PROJECT / "assets" / "benchmarks" / "quick.json")
    blocks = {block[0].dataset: block for block in report.blocks(report.summary(found.results))}
    verdicts: dict[str, dict[str, set[str]]] = {}
    for dataset, block in blocks.items():
        base = report.named(block, "mulsupcon")
        assert base is not None
        for row in report.pin(block, base):
            if "map_medium" in row.against:
                verdict = row.against["map_medium"].verdict
                verdicts.setdefault(dataset, {}).setdefault(verdict, set()).add(row.name)
    assert verdicts["dlrsd"]["better"] == {"LProto", "LMsc"}
    assert verdicts["dlrsd"]["worse"] == {"Sim-Dis", "MACL", "Wg-MACL"}
    for dataset in ("ml_aid", "whdld"):
        assert verdicts[dataset].keys() == {"same"}
        rows = [row for row in blocks[dataset] if not row.reference]
        last = sorted(rows, key=lambda row: row.values["map_medium"][0])[:2]
        assert {row.name for row in last} == {"MACL", "Wg-MACL"}


def test_a_row_of_the_recorded_benchmark_comes_out_again(archives: Path, tmp_path: Path) -> None:
    """One training of the table, on whatever processor runs this test."""
    found = benchmark.read(PROJECT / "assets" / "benchmarks" / "instant.json")
    wanted = next(
        r.scores
        for r in found.results
        if (r.config.dataset, r.config.loss, r.config.seed) == ("dlrsd", "mulsupcon", 0)
    )
    once = Plan("instant", {"dlrsd": str(archives / "DLRSD.zip")}, methods=(Method("mulsupcon"),))
    outcome = train(once, tmp_path, say=lambda _: None)
    scores = outcome.runs[0].scores()
    for name in METRICS:
        assert scores["chance"][name] == pytest.approx(wanted["chance"][name], abs=1e-5)
        assert scores["oracle"][name] == pytest.approx(wanted["oracle"][name], abs=1e-5)
        # other processors add in another order, and the training carries that on
        assert scores["metrics"][name] == pytest.approx(wanted["metrics"][name], abs=0.02), name


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_a_summary_to_join_that_is_no_file_is_a_message(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    given = Path("/dev/zero") if kind == "device" else path
    with pytest.raises(MaclError, match="it is no file"):
        files.content(given)
