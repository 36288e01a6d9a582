"""The command line as a person uses it: real processes, one line for a mistake, the run folder at the end."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.progress import Progress
from typer.testing import CliRunner

from core import cli, metrics, runs
from core.cli import console
from core.data import Reading
from core.errors import MaclError
from core.files import lock, unlock

MACL = [sys.executable, "-c", "from core.cli import main; main()"]


def macl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MACL, *arguments], capture_output=True, text=True, check=False, timeout=200)


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that `macl train` made; the printed last line is its folder."""
    root = tmp_path_factory.mktemp("cli-runs")
    done = macl(
        *("train", "--preset", "instant", "--dataset", "folder", "--data-root", str(tiny), "--loss", "macl"),
        *("--epochs", "2", "--image-size", "32", "--batch-size", "16", "--seed", "3", "--param", "alpha=2"),
        *("--param", "denominator=own", "--device", "cpu", "--run-root", str(root)),
    )
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    assert folder.parent == root
    (root / "said.txt").write_text(done.stderr)
    return folder


def test_train_makes_a_finished_run_with_what_was_asked_for(trained: Path) -> None:
    run = runs.Run(trained)
    assert run.state == "finished"
    config = run.config
    assert (config.loss, config.epochs, config.seed, config.image_size) == ("macl", 2, 3, 32)
    assert config.params["alpha"] == 2.0
    assert config.params["denominator"] == "own"
    assert config.preset == "instant"


def test_a_log_file_gets_a_line_for_each_epoch(trained: Path) -> None:
    lines = (trained.parent / "said.txt").read_text().splitlines()
    losses = [row["loss"] for row in runs.Run(trained).history() if row["step"] in (7, 14)]
    said = [line.partition(",")[0] for line in lines if line.startswith("epoch ")]
    assert said == [f"epoch {n} of 2: loss {loss:.4f}" for n, loss in zip((1, 2), losses, strict=True)]


def test_evaluate_gives_the_scores_of_the_run(trained: Path) -> None:
    done = macl("evaluate", str(trained), "--json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    saved = runs.Run(trained).scores()
    for part in ("metrics", "chance", "oracle"):
        assert again[part] == saved[part]


def test_another_protocol_has_its_own_chance_and_oracle(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, y = runs.Run(trained).embeddings()
    cli.app(["evaluate", str(trained), "--protocol", "imbriaco", "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    for part, expected in (
        ("chance", metrics.chance(y, "imbriaco")),
        ("oracle", metrics.oracle(y, "imbriaco")),
    ):
        assert found[part] == pytest.approx(expected)
    cli.app(["evaluate", str(trained), "--protocol", "imbriaco"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "oracle" in said
    assert "counts shared labels" in said


def test_table_csv_and_latex(trained: Path, tmp_path: Path) -> None:
    csv, latex = tmp_path / "table.csv", tmp_path / "table.tex"
    done = macl("table", "--run-root", str(trained.parent), "--csv", str(csv), "--latex", str(latex))
    assert done.returncode == 0, done.stderr
    assert "MACL (alpha=2, denominator=own)" in done.stdout
    wanted = f"{100 * runs.Run(trained).scores()['metrics']['map_easy']:.2f}"
    assert wanted in csv.read_text()
    assert wanted in latex.read_text()
    assert r"\toprule" in latex.read_text()


def test_export_writes_the_whole_encoder(trained: Path, tmp_path: Path) -> None:
    done = macl("export", str(trained), "--to", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *("encoder.safetensors", "encoder.json", "embeddings.csv"),
        *("config.json", "scores.json", "splits.json"),
    }


def test_an_export_overwrites_nothing_unasked(trained: Path, tmp_path: Path) -> None:
    out, run = tmp_path / "out", tmp_path / "run"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(MaclError, match=r"not empty.*--force"):
        cli.app(["export", str(trained), "--to", str(out)], standalone_mode=False)
    cli.app(["export", str(trained), "--to", str(out), "--force"], standalone_mode=False)
    cli.app(["export", str(trained), "--to", str(out), "--force"], standalone_mode=False)
    assert (out / "encoder.json").exists()
    shutil.copytree(trained, run)
    before = (run / "config.json").stat().st_mtime_ns
    with pytest.raises(MaclError, match="holds a run"):
        cli.app(["export", str(trained), "--to", str(run), "--force"], standalone_mode=False)
    assert (run / "config.json").stat().st_mtime_ns == before


def test_what_cannot_be_exported_or_read_is_said_with_its_reason(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "recorded"
    shutil.copytree(trained, run)
    (run / "model.safetensors").unlink()
    (run / "recorded").touch()
    with pytest.raises(MaclError, match="came with the product, without its weights"):
        cli.app(["export", str(run), "--to", str(tmp_path / "out")], standalone_mode=False)
    whole = (run / "embeddings.safetensors").read_bytes()
    (run / "embeddings.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MaclError, match=r"recorded/embeddings\.safetensors is damaged"):
        cli.app(["evaluate", str(run)], standalone_mode=False)


@pytest.mark.parametrize("content", ["", "{}", '{"metrics": {"map'])
def test_damaged_scores_are_left_out_of_the_table(
    content: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / trained.name)
    shutil.copytree(trained, tmp_path / "damaged")
    (tmp_path / "damaged" / "scores.json").write_text(content)
    cli.app(["table", "--run-root", str(tmp_path)], standalone_mode=False)
    said = capsys.readouterr()
    assert "MACL" in said.out
    assert "left out: " in said.err
    assert "damaged/scores.json" in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--loss", "nothing"], ["--loss", "mulsupcon"]),
        (["train", "--dataset", "nothing"], ["dataset", "dlrsd"]),
        (["train", "--param", "alhpa=1"], ["alhpa", "alpha"]),
        (["train", "--param", "alpha=much"], ["alpha", "number"]),
        (["train", "--param", "use_w=maybe"], ["use_w", "true or false"]),
        (["train", "--preset", "slow"], ["preset", "instant"]),
        (["train", "--preset", "instant", "--epochs", "0"], ["epochs"]),
        (["train", "--device", "cuda:7"], ["cuda:7", "cpu"]),
        (["train", "--preset", "instant", "--augment"], ["augment"]),
        (["train", "--preset", "instant", "--clip", "inf"], ["clip", "finite"]),
        (["train", "--preset", "instant", "--lr", "nan"], ["lr", "finite"]),
        (["train", "--preset", "quick", "--step-factor", "2", "--dim", "1"], ["step_factor", "dim"]),
        (["train", "--preset", "instant", "--run-root", "/dev/null"], ["/dev/null", "--run-root"]),
        (["resume", "nothing"], ["no run named"]),
        (["evaluate", "nothing"], ["no run named"]),
        (["data", "check", "nothing"], ["data set", "whdld"]),
        (["data", "fetch", "demo"], ["nothing to download", "come with the program"]),
        (["data", "fetch", "folder"], ["nothing to download", "--data-root"]),
        (["data", "prepare", "folder"], ["no images at", "--data-root"]),
    ],
)
def test_a_mistake_is_one_line_and_a_non_zero_exit(arguments: list[str], words: list[str]) -> None:
    with pytest.raises(MaclError) as caught:
        cli.app(arguments, standalone_mode=False)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_a_mistake_on_the_real_command_line() -> None:
    done = macl("train", "--loss", "nothing")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("error: --loss")


def test_missing_data_ends_with_the_folder_and_exit_code_1(tmp_path: Path) -> None:
    done = macl(
        *("train", "--dataset", "dlrsd", "--data-root", str(tmp_path / "none"), "--preset", "instant"),
        *("--run-root", str(tmp_path / "runs")),
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert Path(done.stdout.splitlines()[-1]).parent == tmp_path / "runs"


def test_data_commands(tiny: Path) -> None:
    runner = CliRunner()
    listed = runner.invoke(cli.app, ["data", "list"])
    assert listed.exit_code == 0
    assert "whdld" in listed.stdout
    checked = runner.invoke(cli.app, ["data", "check", "folder", "--root", str(tiny)])
    assert checked.exit_code == 0, checked.output
    assert "160" in checked.stdout
    prepared = runner.invoke(
        cli.app, ["data", "prepare", "folder", "--root", str(tiny), "--image-size", "32"]
    )
    assert prepared.exit_code == 0, prepared.output
    assert "train 112" in prepared.stdout


def test_data_commands_take_what_is_said_of_a_table(tiny: Path, tmp_path: Path) -> None:
    """By an option for every field, and check says what each column was taken as."""
    shutil.copytree(tiny, tmp_path / "mine")
    rows = [line.split(",") for line in (tiny / "labels.csv").read_text().splitlines()]
    kinds = ["kind", *("clear primary" if i % 2 else "haze water" for i in range(len(rows) - 1))]
    lines = [f"{i},{row[0]},{kind}" for i, (row, kind) in enumerate(zip(rows, kinds, strict=True))]
    (tmp_path / "mine" / "labels.csv").write_text("\n".join(lines).replace("0,", ",", 1) + "\n")
    asked = ["data", "check", "folder", "--root", str(tmp_path / "mine"), "--no-decode"]
    runner = CliRunner()
    unclear = runner.invoke(cli.app, asked)
    assert unclear.exit_code == 1
    assert "--separator space" in unclear.stdout
    checked = runner.invoke(cli.app, [*asked, "--separator", "space"])
    assert checked.exit_code == 0, checked.output
    for said in (
        "column 1: numbers the rows",
        "image: names the images",
        "kind: names of labels",
        "clear    80",
    ):
        assert said in checked.stdout
    wrong = runner.invoke(cli.app, [*asked, "--image-column", "file"])
    assert "has no column 'file'" in wrong.stdout
    prepared = runner.invoke(
        cli.app,
        [
            "data",
            "prepare",
            *asked[2:5],
            "--image-size",
            "32",
            "--separator",
            "none",
            "--image-column",
            "image",
        ],
    )
    assert prepared.exit_code == 0, prepared.output
    assert "train 112" in prepared.stdout
    for command in ("check", "prepare", "duplicates"):
        helped = " ".join(runner.invoke(cli.app, ["data", command, "--help"]).stdout.split())
        assert all(f"--{name.replace('_', '-')}" in helped for name in Reading.model_fields)
    with pytest.raises(MaclError, match="unknown: need refuse or no"):
        runner.invoke(cli.app, [*asked, "--unknown", "maybe"], catch_exceptions=False)


def test_preparing_says_how_many_broken_images_it_leaves_out(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "mine")
    for number in (3, 4):
        (tmp_path / "mine" / f"scene00{number}.png").write_bytes(b"no image")
    asked = ["data", "prepare", "folder", "--root", str(tmp_path / "mine"), "--image-size", "32"]
    done = CliRunner().invoke(cli.app, [*asked, "--skip-broken"])
    assert done.exit_code == 0, done.output
    assert "0 without a label, 2 broken left out" in " ".join(done.stdout.split())


def test_data_duplicates_lists_the_twins_of_a_folder(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "with twin"
    shutil.copytree(tiny, folder)
    shutil.copy(folder / "scene003.png", folder / "twin.png")
    table = (folder / "labels.csv").read_text()
    row = next(line for line in table.splitlines() if line.startswith("scene003.png"))
    (folder / "labels.csv").write_text(table + row.replace("scene003.png", "twin.png") + "\n")
    to = tmp_path / "pairs.csv"
    asked = ["data", "duplicates", "folder", "--root", str(folder), "--image-size", "32"]
    found = CliRunner().invoke(cli.app, [*asked, "--similarity", "0.99", "--csv", str(to)])
    assert found.exit_code == 0, found.output
    assert "test images have a twin in the training split" in found.stdout
    rows = list(csv.DictReader(to.read_text().splitlines()))
    assert {"scene003.png", "twin.png"} in [{row["image"], row["other"]} for row in rows]
    counted = sum(
        int(line.split(": ")[1].split()[0]) for line in found.stdout.splitlines() if " pairs" in line
    )
    assert counted == len(rows)


def test_runs_are_whole_lines_with_progress(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shutil.copytree(trained, tmp_path / trained.name)
    going = runs.create(runs.Run(trained).config, tmp_path)
    shutil.copy(trained / "metrics.jsonl", going.path)
    about = {"what": "training", "done": 14, "total": 14, "eta_s": 40}
    (going.path / "progress.json").write_text(json.dumps(about))
    assert lock(going.path / "lock")
    try:
        cli.app(["runs", "--run-root", str(tmp_path)], standalone_mode=False)
    finally:
        unlock(going.path / "lock")
    _, *lines = capsys.readouterr().out.splitlines()
    assert sorted(re.split("  +", line) for line in lines) == sorted(
        [
            [going.id, "running", "epoch 2 of 2, 40 s left", "folder", "macl", "instant", "3"],
            [trained.name, "finished", "folder", "macl", "instant", "3"],
        ]
    )


def test_resume_takes_another_device_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = runs.RunConfig.build("quick", dataset="dlrsd", data_root="/old", device="cuda:7", epochs=3)
    run = runs.create(config, tmp_path)
    monkeypatch.setattr(cli.train, "run_here", lambda _: None)
    monkeypatch.chdir(tmp_path)
    given = ["resume", str(run.path), "--device", "cpu", "--data-root", "new"]
    cli.app(given, standalone_mode=False)
    changed = {"device": "cpu", "data_root": str(tmp_path / "new")}
    assert run.config == config.model_copy(update=changed)
    with pytest.raises(MaclError, match="device: need auto"):
        cli.app([*given, "--device", "gpu"], standalone_mode=False)


def test_places_in_the_environment_mean_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, place in (("MACL_RUN_ROOT", "my runs"), ("MACL_DATA_ROOT", "~/data"), ("MACL_CACHE", "")):
        monkeypatch.setenv(name, place)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["macl", "pause"])
    with pytest.raises(SystemExit):
        cli.main()
    assert (tmp_path / "my runs" / ".paused").exists()
    assert os.environ["MACL_RUN_ROOT"] == str(tmp_path / "my runs")
    assert os.environ["MACL_DATA_ROOT"] == str(tmp_path / "home" / "data")
    assert os.environ["MACL_CACHE"] == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["data", "prepare", "demo", "--image-size", "0"],
        ["data", "duplicates", "demo", "--image-size", "5000"],
        ["data", "duplicates", "demo", "--seed", "-1"],
    ],
)
def test_a_number_out_of_range_is_a_usage_error(arguments: list[str]) -> None:
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 2, done.exception
    assert "than or equal to" in done.output


def test_fetch_says_what_the_archive_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.data, "fetch", lambda *_, **__: Path("/data/[b]ucm.zip"))
    cli.app(["data", "fetch", "ucm"], standalone_mode=False)
    said = capsys.readouterr()
    assert said.out == "/data/[b]ucm.zip\n"
    assert "images only" in said.err


def test_the_time_left_is_known_when_a_step_takes_longer_than_rich_looks_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, made = [0.0], []

    def at_that_time(*columns: object, **options: object) -> Progress:
        made.append(Progress(*columns, **options, get_time=lambda: now[0]))  # type: ignore[arg-type]
        return made[0]

    monkeypatch.setattr(console, "Progress", at_that_time)
    with console.progress_bars() as tell:
        for done in range(4):
            tell(done, 10, "benchmark")
            now[0] += 60
        assert made[0].tasks[0].time_remaining == pytest.approx(7 * 60)


def test_sigterm_to_macl_train_stops_resumably_and_resume_goes_on(tiny: Path, tmp_path: Path) -> None:
    root = tmp_path / "my runs"
    process = subprocess.Popen(
        [
            *(*MACL, "train", "--preset", "instant", "--dataset", "folder", "--data-root", str(tiny)),
            *("--loss", "lproto", "--epochs", "1000", "--image-size", "32", "--device", "cpu"),
            *("--run-root", str(root)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not any(run.history() for run in runs.list_runs(root)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, complaint = process.communicate(timeout=30)
    assert process.returncode == 1, complaint
    run = runs.Run(Path(said.splitlines()[-1]))
    assert run.state == "stopped"
    assert f"macl resume {run.id}" in complaint
    elsewhere = tmp_path / "copied"
    shutil.copytree(run.path, elsewhere / run.id)
    done = macl("resume", str(elsewhere / run.id))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(elsewhere / run.id)
    assert run.state == "stopped"


def test_a_folder_of_another_version_holds_up_no_list(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    shutil.copytree(trained, root / trained.name)
    (root / "strange").mkdir()
    (root / "strange" / "config.json").write_text('{"loss": "of the future"}')
    (root / "strange" / "scores.json").write_text("{}")
    for command in ("runs", "table"):
        done = macl(command, "--run-root", str(root))
        assert done.returncode == 0, done.stderr
        assert "MACL" in done.stdout or trained.name in done.stdout
        assert "left out" in done.stderr
        assert "strange" in done.stderr


def test_a_finished_run_has_nothing_to_stop_and_a_place_that_cannot_be_written_is_named(
    trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(MaclError, match="finished: nothing to stop"):
        cli.app(["stop", str(trained)], standalone_mode=False)
    done = macl("table", "--run-root", str(trained.parent), "--csv", str(tmp_path / "none" / "table.csv"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "table.csv" in done.stderr


def test_scores_that_are_undefined_are_null_in_json(trained: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / trained.name
    shutil.copytree(trained, folder)
    tensors = load_file(folder / "embeddings.safetensors")
    tensors["y"][:] = 0
    save_file(tensors, folder / "embeddings.safetensors")
    done = macl("evaluate", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout, parse_constant=pytest.fail)["metrics"]["map_sim"] is None


def test_the_command_line_starts_without_torch_or_streamlit() -> None:
    code = "import sys, core.cli; print(sorted({'torch', 'streamlit', 'pandas', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
