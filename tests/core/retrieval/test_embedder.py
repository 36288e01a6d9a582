"""Questions and answers: the embedder gives what training gave, keeps order, and survives being killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core import runs
from core.archive import Encoder
from core.background import cache
from core.background.process import Running
from core.data import load
from core.encoder import trained
from core.errors import MaclError
from core.files import PROJECT, unlock
from core.retrieval import ask, upload
from core.retrieval.embedder import Embedder, refuse
from core.retrieval.embedder import main as embedder_main
from core.runs import Run, RunConfig
from core.training import loop

PATIENCE = 60.0
ENSURE = ask.ensure  # the tests start no process, but for two


@pytest.fixture
def two(trained_runs: Path, tmp_path: Path) -> list[Run]:
    shutil.copytree(trained_runs, tmp_path / "runs")
    return runs.list_runs(tmp_path / "runs")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepared images and features are shared, questions are not; no process is left behind."""
    monkeypatch.setattr(ask, "home", lambda: tmp_path / "embedder")
    monkeypatch.setattr(ask, "ensure", lambda: None)
    for name in ("questions", "answers"):
        (tmp_path / "embedder" / name).mkdir(parents=True)


def answered(question: ask.Question) -> ask.Reply:
    """Put the question and let an embedder in this process answer it."""
    ask.ask(question)
    embedder = Embedder(0.0)
    while embedder.next_one():
        pass
    return ask.look(question)


def picture(run: Run, tiny: Path, name: str) -> str:
    data = (tiny / name).read_bytes()
    key = upload.key_of(data)
    size = 40  # what 32 pixels are prepared at
    ask.keep_picture(key, {size: upload.read(data, [size])[0]})
    return key


def test_an_uploaded_test_image_gets_the_embedding_that_training_gave_it(two: list[Run], tiny: Path) -> None:
    for run in two:
        z, _ = run.embeddings()
        for row, name in list(enumerate(run.splits()["test"]))[:3]:
            reply = answered(ask.Question("embed", str(run.path), ask.PICTURE + picture(run, tiny, name)))
            assert reply.state == "ready", reply.error
            np.testing.assert_allclose(reply.arrays["z"][0], z[row], atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_warm_embedder_answers_in_either_precision(two: list[Run], tiny: Path, precision: str) -> None:
    """Autocast to bf16 makes copies of the weights; float32 takes them as they are."""
    run = two[0]
    about = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps(about | {"precision": precision}))
    warm = Embedder(0.0)
    warm._warm_up()
    name = run.splits()["test"][0]
    question = ask.Question("embed", str(run.path), ask.PICTURE + picture(run, tiny, name))
    ask.ask(question)
    assert warm.next_one()
    reply = ask.look(question)
    assert reply.state == "ready", reply.error
    assert float(reply.arrays["z"][0] @ run.embeddings()[0][0]) == pytest.approx(1, abs=0.01)


def test_a_network_that_is_read_while_another_computes_has_ordinary_weights(two: list[Run]) -> None:
    """A more urgent question is answered in the middle of features that are computed in inference mode."""
    with torch.inference_mode():
        network = trained.read(two[0])
    assert not any(p.is_inference() for p in [*network.backbone.parameters(), *network.head.parameters()])


def test_the_other_splits_are_embedded_by_the_saved_weights(two: list[Run], tiny: Path) -> None:
    run = two[0]
    reply = answered(ask.Question("splits", str(run.path)))
    data, names = load("folder", str(tiny), image_size=32), run.splits()
    rows = {name: i for i, name in enumerate(data.names)}
    for part in ("train", "val"):
        z, y = reply.arrays[f"z_{part}"], reply.arrays[f"y_{part}"]
        assert len(z) == len(names[part])
        np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(y, data.labels[[rows[name] for name in names[part]]])
    one = answered(ask.Question("embed", str(run.path), ask.PICTURE + picture(run, tiny, names["train"][4])))
    np.testing.assert_allclose(one.arrays["z"][0], reply.arrays["z_train"][4], atol=1e-5)


def test_a_network_trained_whole_embeds_as_it_did(tmp_path: Path, tiny: Path) -> None:
    config = RunConfig.build(
        "quick",
        dataset="folder",
        data_root=str(tiny),
        loss="mulsupcon",
        image_size=32,
        batch_size=16,
        epochs=1,
    )
    run = runs.create(config, tmp_path / "whole")
    assert loop.run(run.path) == "finished"
    z, _ = run.embeddings()
    name = run.splits()["test"][0]
    one = answered(ask.Question("embed", str(run.path), ask.PICTURE + picture(run, tiny, name)))
    others = answered(ask.Question("splits", str(run.path)))
    assert (one.arrays["z"] @ z[0]).item() == pytest.approx(1, abs=2e-3)  # bf16 in a batch of another size
    assert len(others.arrays["z_train"]) == len(run.splits()["train"])
    why = answered(ask.Question("explain", str(run.path), name, run.splits()["test"][1]))
    assert why.arrays["first"].sum() + why.arrays["first_constant"] == pytest.approx(
        float(why.arrays["cosine"])
    )


def test_an_explanation_is_complete_and_of_the_run_asked(two: list[Run], tiny: Path) -> None:
    for run in two:
        z, _ = run.embeddings()
        names = run.splits()["test"]
        reply = answered(ask.Question("explain", str(run.path), names[0], names[1]))
        cosine = float(reply.arrays["cosine"])
        assert cosine == pytest.approx(float(z[0] @ z[1]), abs=0.02)
        assert reply.arrays["first"].sum() + reply.arrays["first_constant"] == pytest.approx(cosine)
        assert reply.arrays["second"].sum() + reply.arrays["second_constant"] == pytest.approx(cosine)


def test_which_encoder_a_run_has_is_what_an_archive_knows_it_by(two: list[Run]) -> None:
    found = []
    for run in two:
        reply = answered(ask.Question("encoder", str(run.path)))
        found.append(reply.arrays["id"].tobytes().decode())
        assert found[-1] == Encoder.of(run, trained.read(run)).id
    assert found[0] != found[1]


def test_what_cannot_be_answered_says_why_and_can_be_asked_again(two: list[Run], tiny: Path) -> None:
    run = two[0]
    gone = ask.Question("explain", str(run.path), "nowhere.png", run.splits()["test"][0])
    assert "has no image nowhere.png" in answered(gone).error
    late = ask.Question("embed", str(run.path), ask.PICTURE + "0" * 32)
    assert "upload it again" in answered(late).error
    ask.again(late)
    assert ask.look(late).state == "waiting"
    (run.path / ask.WEIGHTS).unlink()
    assert not ask.can_answer(run)
    assert "has no weights" in answered(ask.Question("splits", str(run.path))).error
    assert "has no weights" not in answered(ask.Question("splits", str(two[1].path))).error


def test_damaged_or_foreign_weights_are_a_message(two: list[Run]) -> None:
    path = two[0].path / ask.WEIGHTS
    path.write_bytes(path.read_bytes()[:1000])
    assert "train the run again" in answered(ask.Question("splits", str(two[0].path))).error
    config = two[1].path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden": 99}))
    assert "not those of its configuration" in answered(ask.Question("splits", str(two[1].path))).error


def test_new_weights_are_a_new_question(two: list[Run]) -> None:
    question = ask.Question("splits", str(two[0].path))
    before = question.key
    os.utime(two[0].path / ask.WEIGHTS, ns=(1, 1))
    assert question.key != before


def test_the_urgent_goes_first_even_while_the_other_is_at_work(two: list[Run], tiny: Path) -> None:
    slow = ask.Question("splits", str(two[0].path))
    quick = ask.Question("embed", str(two[1].path), ask.PICTURE + picture(two[1], tiny, "scene000.png"))
    ask.ask(slow)
    embedder, order = Embedder(0.0), []
    answer = embedder.answer

    def noted(question: ask.Question) -> dict[str, np.ndarray]:
        if question == slow:
            ask.ask(quick)
            embedder._step(1, 2, "half of it")
            assert ask.look(quick).state == "ready"
        found = answer(question)
        order.append(question.kind)
        return found

    embedder.answer = noted  # type: ignore[method-assign]
    while embedder.next_one():
        pass
    assert order == ["embed", "splits"]


def test_rubbish_in_the_queue_is_thrown_out(two: list[Run], tmp_path: Path) -> None:
    for text in ("", "[]", '{"kind": "embed"}', '{"odd": 1}'):
        (tmp_path / "embedder" / "questions" / "0-x.json").write_text(text)
        while Embedder(0.0).next_one():
            pass
        assert not list((tmp_path / "embedder" / "questions").glob("*.json"))


def test_pictures_of_yesterday_are_deleted(tmp_path: Path) -> None:
    for name in ("old", "new"):
        ask.keep_picture(name, {8: np.zeros((8, 8, 3), np.uint8)})
    os.utime(ask.picture_path("old"), (1, 1))
    Embedder(0.0).tidy()
    assert ask.picture("old") == {}
    np.testing.assert_array_equal(ask.picture("new")[8], 0)


@pytest.mark.parametrize("minutes", [9, 11])
def test_pictures_that_a_killed_process_has_left_are_deleted_at_the_next_start(minutes: int) -> None:
    ask.keep_picture("left", {8: np.zeros((8, 8, 3), np.uint8)})
    then = time.time() - 60 * minutes
    os.utime(ask.picture_path("left"), (then, then))
    Embedder(0.0).tidy()
    assert bool(ask.picture("left")) == (minutes < 10)


def test_a_terminated_process_deletes_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    ask.keep_picture("mine", {8: np.zeros((8, 8, 3), np.uint8)})
    running = Running(ask.process().path)
    assert running.begin()
    embedder, before = Embedder(PATIENCE, running), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(embedder, "_warm_up", lambda: os.kill(os.getpid(), signal.SIGTERM))
    running.run(lambda _: embedder.serve(), None)
    assert signal.getsignal(signal.SIGTERM) == before
    assert ask.picture("mine") == {}


@pytest.mark.parametrize("ahead", [3600, -3600])
def test_a_clock_that_was_set_back_keeps_no_picture(ahead: float) -> None:
    ask.keep_picture("mine", {8: np.zeros((8, 8, 3), np.uint8)})
    os.utime(ask.picture_path("mine"), (time.time() + ahead,) * 2)
    Embedder(0.0).tidy(0.0)
    assert ask.picture("mine") == {}


def die(question: ask.Question | None) -> None:
    """What a process leaves that was killed over a question, or before it has taken one."""
    running = Running(ask.process().path)
    assert running.begin()
    embedder = Embedder(0.0, running)
    embedder.take_up()
    if question is not None:
        running.say(run=f"{ask.URGENCY[question.kind]}-{question.key}.json")
    unlock(running.process.file("lock"))


def test_a_question_that_kills_its_process_again_and_again_is_given_up(two: list[Run]) -> None:
    question, other = (ask.Question("splits", str(run.path)) for run in two)
    ask.ask(question)
    ask.ask(other)
    for _ in range(3):
        die(question)
        assert ask.look(question).state == "waiting"
    die(None)
    assert "died 3 times" in ask.look(question).error
    assert ask.look(other).state == "waiting"  # it is not to blame
    ask.again(question)
    ask.ask(question)
    for _ in range(2):  # from the beginning
        die(question)
    embedder = Embedder(0.0)
    while embedder.next_one():
        pass
    assert ask.look(question).state == ask.look(other).state == "ready"
    assert not list((ask.home() / "questions").iterdir())


def test_who_waits_for_a_process_that_dies_before_it_begins_is_told(two: list[Run]) -> None:
    question, log = ask.Question("splits", str(two[0].path)), ask.process().file("log")
    ask.ask(question)
    for death in range(3):
        die(None)
        assert ask.look(question).state == "waiting"
        with log.open("a") as file:
            file.write(f"Traceback\nMemoryError: {death}\n")
    running = Running(ask.process().path)
    assert running.begin()
    running.run(embedder_main, refuse)
    reply = ask.look(question)
    assert reply.state == "failed"
    assert "died 3 times" in reply.error
    assert reply.error.endswith("then try again. It said last: MemoryError: 2")
    ask.again(question)
    ask.ask(question)
    for _ in range(3):
        die(None)
    assert ask.look(question).state == "waiting"
    running = Running(ask.process().path)
    assert running.begin()
    running.run(embedder_main, refuse)
    assert ask.look(question).error.endswith("then try again.")  # nothing new was said


def test_a_torch_that_cannot_be_imported_is_a_message(
    two: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libcudart.so.12: no such file')")
    monkeypatch.undo()
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    question, deadline = ask.Question("splits", str(two[0].path)), time.monotonic() + PATIENCE
    while (reply := ask.ask(question)).state == "waiting":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert reply.error == "ImportError: libcudart.so.12: no such file"


def test_a_cache_that_cannot_be_written_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file in the place of the folder")
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ask, "home", lambda: tmp_path / "cache" / "embedder")
    with pytest.raises(MaclError, match="make room or point MACL_CACHE to another folder"):
        ENSURE()


def test_the_process_answers_ends_when_idle_and_a_killed_one_is_replaced(
    two: list[Run], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = os.environ["MACL_CACHE"]
    monkeypatch.undo()
    monkeypatch.setenv("MACL_CACHE", own)
    name = two[0].splits()["test"][0]
    key = picture(two[0], tiny, name)
    question = ask.Question("embed", str(two[0].path), ask.PICTURE + key)

    def until(done: object) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():  # type: ignore[operator]
            assert time.monotonic() < deadline, ask.process().file("log").read_text()
            time.sleep(0.05)

    assert ask.ask(question).state == "waiting"
    first = ask.process().pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: ask.process().pid is None)
    until(lambda: ask.ask(question).state == "ready")  # a new one is started, and the question still waits
    second = ask.process().pid
    assert second not in (None, first)
    ask.ensure()
    assert ask.process().pid == second  # one is enough
    os.kill(second, signal.SIGTERM)
    until(lambda: ask.process().pid is None)
    assert ask.picture(key) == {}  # it has ended because nobody asks any more
    assert not ask.process().file("lock").exists()


def test_asking_imports_no_torch() -> None:
    code = "import sys, core.retrieval.ask, core.retrieval.upload; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


def test_the_pictures_of_a_data_set_are_those_of_the_upload(tiny: Path) -> None:
    data = load("folder", str(tiny), image_size=32)
    for row in (0, 7):
        file = tiny / data.names[row]
        np.testing.assert_array_equal(upload.read(file.read_bytes(), [40])[0], data.images[row])
        with Image.open(file) as image:
            assert image.size == (48, 48)


def test_a_page_waits_shortly_and_only_for_a_warm_embedder(
    two: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = ask.Question("embed", str(two[0].path), ask.PICTURE + "0" * 32)
    slow = ask.Question("splits", str(two[0].path))
    started = time.monotonic()
    assert not ask.answered_within([question], 60)  # nobody is there
    monkeypatch.setattr(ask, "doing", lambda: {"ready": True, "total": 0})
    assert not ask.answered_within([slow], 60)
    assert not ask.answered_within([question], 0.05)
    assert time.monotonic() - started < 30
    answered(question)
    assert ask.answered_within([question], 60)


def test_an_embedder_that_has_just_begun_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that waits for one looks at this very moment, too."""
    monkeypatch.setenv("MACL_CACHE", str(tmp_path))
    assert ask.doing() == {}
    ask.home().mkdir(exist_ok=True)
    running = Running(ask.process().path)
    assert running.begin()
    try:
        about = ask.doing()
        assert (about["ready"], about["what"], about["done"], about["total"]) == (False, "", 0, 0)
    finally:
        running.release()
    assert ask.doing() == {}


def test_many_tabs_may_write_the_same_file(tmp_path: Path) -> None:
    wrong = []

    def write(together: threading.Barrier) -> None:
        together.wait()
        try:
            cache.write(tmp_path / "same.json", b"{}" * 100)
        except MaclError as error:
            wrong.append(error)

    for _ in range(60):
        together = threading.Barrier(4)
        tabs = [threading.Thread(target=write, args=(together,)) for _ in range(4)]
        for tab in tabs:
            tab.start()
        for tab in tabs:
            tab.join()
    assert wrong == []
    assert [path.name for path in tmp_path.glob("*.json*")] == ["same.json"]


def test_images_that_were_added_while_it_is_warm_are_seen(two: list[Run], tiny: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(tiny, own)
    path = two[0].path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data_root": str(own)}))
    warm = Embedder(0.0)
    assert len(warm._dataset(two[0]).names) == 160
    shutil.copy(own / "scene000.png", own / "new.png")
    table = (own / "labels.csv").read_text()
    (own / "labels.csv").write_text(table + table.splitlines()[1].replace("scene000", "new") + "\n")
    assert "new.png" in warm._dataset(two[0]).names
    assert len(warm.data) == 2
