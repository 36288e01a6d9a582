"""Losses without a numpy form: what the process answers, its limits, and what it survives."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core import mechanism
from core.background.process import MOST_DEATHS, Process, Running
from core.errors import MaclError
from core.files import PROJECT
from core.labels import jaccard
from core.losses import LOSSES, check_params, make_loss, own
from core.losses.file import describe, load
from core.mechanism import Batch, ask, autograd, worker
from tests.loss_batches import random_batch
from tests.small_runs import wait

LABELS = (np.random.default_rng(0).random((200, 6)) < 0.3).astype(np.uint8)
SQUARE = [key for key in LOSSES if key != "lproto"]  # those with pairs of images


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    yield
    if (pid := ask.process().pid) is not None:
        os.kill(pid, signal.SIGKILL)
        wait(lambda: ask.process().pid is None, 20)


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers but the test itself."""
    monkeypatch.setattr(Process, "start", lambda *_: None)


def batch_of(images: int = 14, dim: int = 8, seed: int = 0) -> Batch:
    z, y = random_batch(seed, images, dim)
    labels = y.numpy().astype(np.uint8)
    return Batch(labels, LABELS, z.numpy(), mechanism.centroids(z.float().numpy(), labels))


def arrays(batch: Batch) -> dict[str, np.ndarray]:
    given = {"y": batch.y, "labels": batch.labels, "z": batch.z, "prototypes": batch.prototypes}
    return {name: array for name, array in given.items() if array is not None}


def off(values: np.ndarray) -> np.ndarray:
    return values[~np.eye(*values.shape, dtype=bool)]


def settle() -> bool:
    """Answer the newest question here."""
    asked = ask.newest()
    if asked is None:
        return False
    worker.settle(asked[0].stem, asked[1], autograd.answer)
    asked[0].unlink()
    return True


class Own:
    """A loss as `core.losses.file.OwnLoss` wraps a person's class."""

    def __init__(self, loss: nn.Module, similarities: bool) -> None:
        self.loss, self.has_similarities = loss, similarities

    def to(self, dtype: torch.dtype) -> "Own":
        self.loss.to(dtype)
        return self

    def __call__(self, z: Tensor, y: Tensor) -> Any:
        return self.loss(z, y)

    def from_similarities(self, s: Tensor, y: Tensor) -> Any:
        assert self.has_similarities
        return self.loss.from_similarities(s, y)

    def pair_terms(self, y: Tensor) -> dict[str, Tensor]:
        return {}


def test_every_built_in_loss_is_written_and_no_other() -> None:
    assert all(mechanism.written(key) for key in LOSSES)
    assert not mechanism.written("margin@1a2b3c4d")


@pytest.mark.parametrize("key", SQUARE)
def test_the_answer_has_the_forces_of_the_numpy_form(key: str) -> None:
    batch, params = batch_of(), check_params(key, {})
    found, expected = autograd.answer(key, params, arrays(batch)), mechanism.maps(key, batch, params).values
    assert found.how == "autograd"
    np.testing.assert_allclose(off(found.arrays["force"]), off(expected["force"][:, :14]), rtol=0, atol=1e-6)
    assert np.abs(found.arrays["force"]).max() > 1e-6
    assert not found.arrays["force"].diagonal().any()
    if key in mechanism.MACL:
        for name in ("w", "T"):
            np.testing.assert_allclose(off(found.arrays[name]), off(expected[name]), rtol=1e-12)
    else:
        assert set(found.arrays) == {"force"}


def test_a_loss_of_images_and_prototypes_alone_has_no_force_on_pairs() -> None:
    assert not autograd.answer("lproto", check_params("lproto", {}), arrays(batch_of())).arrays


@pytest.mark.parametrize("key", ["mulsupcon", "supcon_any", "macl", "lbase", "oml", "macl_nested"])
def test_the_pull_back_shares_the_force_of_a_pair_between_its_anchors(key: str) -> None:
    z, y = random_batch(3, images=14, dim=32)
    loss, params = make_loss(key, LABELS, 32).double(), check_params(key, {})
    found, how = autograd.force(Own(loss, False), z, y.double())
    batch = Batch(y.numpy().astype(np.uint8), LABELS, z.numpy())
    true = mechanism.maps(key, batch, params).values["force"].copy()
    np.fill_diagonal(true, 0)
    assert how == "pull-back"
    assert found is not None
    np.testing.assert_allclose(found, (true + true.T) / 2, rtol=0, atol=1e-10)
    assert np.abs(true).max() > 1e-3


def test_the_pull_back_explains_the_gradient_where_images_repeat() -> None:
    """Two equal images, more images than dimensions: the least coefficients still give the gradient."""
    z, y = random_batch(3, images=14, dim=5)
    z[7], y[7] = z[6], y[6]
    found, _ = autograd.force(Own(make_loss("mulsupcon", LABELS, 5).double(), False), z, y.double())
    assert found is not None
    assert found.isfinite().all()
    np.testing.assert_allclose(off(found.numpy()), off(found.T.numpy()))
    rest = [n for n in range(14) if n not in (6, 7)]
    np.testing.assert_allclose(found[6, rest], found[7, rest], atol=1e-10)


def test_own_similarities_are_leaves_where_the_class_takes_them() -> None:
    z, y = random_batch(3)
    found, how = autograd.force(Own(make_loss("mulsupcon", LABELS, 8).double(), True), z, y.double())
    expected = mechanism.maps(
        "mulsupcon", Batch(y.numpy().astype(np.uint8), LABELS, z.numpy()), check_params("mulsupcon", {})
    ).values["force"]
    assert how == "autograd"
    assert found is not None
    np.testing.assert_allclose(off(found.numpy()), off(expected), atol=1e-12)


class Single(nn.Module):
    """A loss that knows float32 only, and offers a weight."""

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return (z @ z.T @ torch.ones(len(z), dtype=torch.float32)).square().mean()

    def pair_terms(self, y: Tensor) -> dict[str, Tensor]:
        return {"w": (y @ y.T > 0).float()}


def test_a_loss_of_float32_is_computed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autograd, "make_loss", lambda *_, **__: Single())
    batch = batch_of()
    found = autograd.answer("mulsupcon", {}, arrays(batch))
    assert set(found.arrays) == {"w", "force"}
    assert found.how == "pull-back"
    without = autograd.answer("mulsupcon", {}, {"y": batch.y, "labels": batch.labels})
    assert set(without.arrays) == {"w"}
    assert without.how == ""


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"w": torch.ones(3, 3)}, "need w as a tensor of shape"),
        ({"w": [1.0]}, "got list"),
        ({"T": torch.zeros(14, 14)}, "need T finite and above 0"),
        ({"w": torch.full((14, 14), torch.nan)}, "need w finite"),
    ],
)
def test_wrong_pair_terms_are_said(given: dict, what: str) -> None:
    class Wrong(Single):
        def pair_terms(self, y: Tensor) -> dict[str, Tensor]:
            return given

    with pytest.raises(MaclError, match=what):
        autograd.terms(Wrong(), torch.ones(14, 6))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (lambda z: torch.ones(()), "does not depend on the embeddings"),
        (lambda z: z.sum(1), "need a scalar"),
        (lambda z: z.sum() * torch.inf, "not finite"),
        (lambda z: torch.ones((), requires_grad=True) * 2, "does not depend on the embeddings"),
    ],
)
def test_a_value_without_a_gradient_is_said(value: Any, what: str) -> None:
    class Wrong(nn.Module):
        def forward(self, z: Tensor, y: Tensor) -> Any:
            return value(z)

    z, y = random_batch()
    with pytest.raises(MaclError, match=what):
        autograd.force(Wrong(), z, y.double())


HINGE = """
import torch


class Hinge(torch.nn.Module):
    def __init__(self, margin: float = 0.1):
        super().__init__()
        self.margin = margin

    def forward(self, z, y):
        return self.{how}(z @ z.T, y)

    def {how}(self, s, y):
        shared = (y @ y.T > 0).to(s.dtype)
        others = 1 - torch.eye(len(y), dtype=s.dtype)
        w = torch.arange(1.0, len(y) + 1, dtype=s.dtype)[:, None]  # of the anchor
        return (w * others * ((1 - shared) * (s - self.margin).clamp(min=0) - shared * s)).sum()
"""
TERMS = """
    def pair_terms(self, y):
        return {{"w": y @ y.T, "T": torch.full((len(y), len(y)), 0.5)}}
"""


@pytest.mark.parametrize("similarities", [True, False])
@pytest.mark.parametrize("pair_terms", [True, False])
def test_one_s_own_loss_with_and_without_what_it_may_offer(similarities: bool, pair_terms: bool) -> None:
    text = (HINGE + TERMS * pair_terms).format(how="from_similarities" if similarities else "of")
    key = own.keep(describe(load(text, "hinge"), "hinge", text), text, offer=True).key
    batch = batch_of(dim=32)
    assert batch.z is not None
    found = autograd.answer(key, {"margin": 0.0}, arrays(batch))
    s, shared = batch.z @ batch.z.T, batch.y @ batch.y.T > 0
    weight = np.arange(1.0, 15)[:, None]
    force = np.where(shared, weight, -weight * (s > 0))
    np.fill_diagonal(force, 0)
    if not similarities:
        force = (force + force.T) / 2
    np.testing.assert_allclose(found.arrays["force"], force, atol=1e-10)
    assert found.how == ("autograd" if similarities else "pull-back")
    assert set(found.arrays) == {"force", *(("w", "T") if pair_terms else ())}
    if pair_terms:
        np.testing.assert_array_equal(found.arrays["w"], batch.y.astype(float) @ batch.y.T)
    without = autograd.answer(key, {"margin": 0.0}, {"y": batch.y, "labels": batch.labels})
    assert set(without.arrays) == set(found.arrays) - {"force"}


def test_one_s_own_loss_that_fails_or_is_not_here_says_so() -> None:
    text = HINGE.format(how="of").replace("shared =", "shared = y[99] +")
    key = own.keep(describe(load(text, "hinge"), "hinge", text), text, offer=True).key
    with pytest.raises(MaclError, match=r"Hinge.forward, line 1\d: IndexError"):
        autograd.answer(key, {"margin": 0.0}, arrays(batch_of()))
    with pytest.raises(MaclError, match="macl loss add"):
        autograd.answer("hinge@00000000", {}, arrays(batch_of()))


def test_maps_of_an_answer(no_process: None) -> None:
    batch, dice = batch_of(), np.random.default_rng(0)
    w, T, force = dice.random((14, 14)), 1 + dice.random((14, 14)), dice.normal(size=(14, 14))
    found = mechanism.maps(
        "margin@1", batch, {}, mechanism.Answer({"w": w, "T": T, "force": force}, "autograd")
    )
    assert list(found.values) == ["w", "T", "gamma", "J", "s", "force"]
    np.testing.assert_allclose(off(found.values["gamma"]), off(w / T))
    np.testing.assert_allclose(found.values["s"], batch.z @ batch.z.T)
    np.testing.assert_array_equal(found.values["J"], jaccard(batch.y, batch.y))
    assert found.how == "autograd"
    assert set(mechanism.maps("margin@1", batch, {}).values) == {"J", "s"}
    text = mechanism.pairs_csv(found, batch.y, [f"{n}" for n in range(14)], list("abcdef"))
    assert text.splitlines()[0] == "anchor,other,anchor_labels,other_labels,shared,w,T,gamma,J,s,force"
    assert len(text.splitlines()) == 1 + 14 * 13


@pytest.mark.parametrize("known", [{"w", "T", "force"}, {"w", "force"}, {"force"}, set()])
def test_shares_of_an_anchor_by_the_best_that_is_known(known: set[str]) -> None:
    batch, dice = batch_of(), np.random.default_rng(0)
    given = {name: dice.normal(size=(14, 14)) + (9 if name == "T" else 0) for name in known}
    row = mechanism.shares("margin@1", batch, {}, 3, mechanism.Answer(given))
    assert row.shape == (20,)
    assert row[3] == 0
    assert row.sum() == pytest.approx(1 if known else 0)
    assert (row >= 0).all()


def test_another_place_of_a_slider_is_another_question() -> None:
    batch = batch_of()
    one = ask.Question("mulsupcon", {"tau": 0.3}, batch)
    assert one.key == ask.Question("mulsupcon", {"tau": 0.3}, batch_of()).key
    others = [
        ask.Question("mulsupcon", {"tau": 0.31}, batch),
        ask.Question("wg_mulsupcon", {"tau": 0.3}, batch),
        ask.Question("mulsupcon", {"tau": 0.3}, batch_of(seed=1)),
        ask.Question("mulsupcon", {"tau": 0.3}, Batch(batch.y, batch.labels, batch.z)),
    ]
    assert len({one.key, *(other.key for other in others)}) == 5


def test_the_last_place_of_a_slider_is_answered_first(no_process: None) -> None:
    batch = batch_of()
    asked = [ask.Question("mulsupcon", {"tau": 0.3 + n / 100}, batch) for n in range(4)]
    for n, question in enumerate([*asked, asked[1]]):  # the second one is still looked at
        assert ask.ask(question).state == "waiting"
        os.utime(ask.home() / "questions" / f"{question.key}.json", (time.time() + n, time.time() + n))
    settle()
    assert [ask.look(one).state for one in asked] == ["waiting", "ready", "waiting", "waiting"]
    assert len(list((ask.home() / "batches").iterdir())) == 1


def test_a_question_that_nobody_asks_any_more_is_dropped(no_process: None) -> None:
    question = ask.Question("mulsupcon", {"tau": 0.3}, batch_of())
    ask.ask(question)
    path = ask.home() / "questions" / f"{question.key}.json"
    os.utime(path, (1, 1))
    assert ask.newest() is None
    assert not path.exists()


def test_a_batch_that_has_gone_is_put_again(no_process: None) -> None:
    question = ask.Question("mulsupcon", {"tau": 0.3}, batch_of())
    ask.ask(question)
    for damage in (Path.unlink, lambda path: path.write_text("damaged")):
        damage(ask.batch_path(question.batch.key))
        settle()
        assert ask.ask(question).state == "waiting"
    settle()
    assert ask.ask(question).state == "ready"


def test_an_error_is_an_answer_until_it_is_asked_again(
    no_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> nn.Module:
        raise ZeroDivisionError("division\nby zero " + "x" * 1000)

    question = ask.Question("mulsupcon", {}, batch_of())
    ask.ask(question)
    with monkeypatch.context() as patch:
        patch.setattr(autograd, "make_loss", broken)
        settle()
    reply = ask.ask(question)
    assert reply.state == "failed"
    assert reply.error.startswith("ZeroDivisionError: division by zero x")
    assert len(reply.error) == worker.LONGEST
    assert ask.newest() is None
    ask.again(question)
    assert ask.ask(question).state == "waiting"


@pytest.mark.parametrize("leave", [SystemExit, KeyboardInterrupt])
def test_code_that_leaves_is_an_error(leave: type, no_process: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaving(*_: Any, **__: Any) -> nn.Module:
        raise leave(3)

    question = ask.Question("mulsupcon", {}, batch_of())
    ask.ask(question)
    monkeypatch.setattr(autograd, "make_loss", leaving)
    settle()
    assert leave.__name__ in ask.look(question).error


def test_a_question_over_which_processes_die_is_given_up(no_process: None) -> None:
    question = ask.Question("mulsupcon", {"tau": 0.3}, batch_of())
    ask.ask(question)
    running = Running(ask.process().path)
    for deaths in range(1, MOST_DEATHS + 1):
        running.about["run"] = f"{question.key}.json"
        worker.take_up(running)
        assert ask.look(question).state == ("failed" if deaths == MOST_DEATHS else "waiting")
    assert "died 3 times" in ask.look(question).error


def test_what_kills_a_process_at_its_start_is_told(no_process: None) -> None:
    question = ask.Question("mulsupcon", {"tau": 0.3}, batch_of())
    ask.ask(question)
    worker.refuse("no torch here")
    assert ask.look(question).error == "no torch here"


LOOPS = {
    "that lets others run": "while True: pass",
    "that does not": "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_loop_without_an_end_is_ended(loop: str, no_process: None) -> None:
    question = ask.Question("mulsupcon", {}, batch_of())
    ask.ask(question)
    code = f"""
from core.mechanism import worker
worker.GRACE_SECONDS = 0.5
with worker.limit({question.key!r}, 0.5):
    {loop}
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False, timeout=60)
    if "re.match" in loop:  # killed; the next process counts it
        assert done.returncode == -signal.SIGALRM
        assert ask.look(question).state == "waiting"
    else:
        assert done.returncode == 1
        assert "takes longer than 0.5 s" in ask.look(question).error
        assert ask.newest() is None


def test_the_process_answers_and_the_next_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real ones: the numbers are those of the numpy form, a killed one is replaced."""
    batch, params = batch_of(), check_params("mulsupcon", {})

    def asked(tau: float) -> ask.Reply:
        question = ask.Question("mulsupcon", params | {"tau": tau}, batch)
        wait(lambda: ask.ask(question).state != "waiting", 60)
        return ask.ask(question)

    reply = asked(0.3)
    assert reply.answer is not None, reply.error
    expected = mechanism.maps("mulsupcon", batch, params).values["force"]
    np.testing.assert_allclose(off(reply.answer.arrays["force"]), off(expected), atol=1e-12)
    assert ask.is_warm()
    one = ask.process().pid
    assert one is not None
    assert "ValueError" in asked(-1.0).error
    assert ask.process().pid == one
    os.kill(one, signal.SIGKILL)
    assert asked(0.4).state == "ready"
    assert ask.process().pid not in (one, None)


def test_a_process_with_other_losses_than_those_asked_about_ends(
    no_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, question = (ask.Question("mulsupcon", {"tau": 0.3}, batch_of()) for _ in range(2))
    assert old.key  # of the losses as they are now
    with monkeypatch.context() as patch:
        patch.setattr(ask, "code", lambda: "changed")
        assert question.key != old.key
        ask.ask(question)
    running, threads = Running(ask.process().path), torch.get_num_threads()
    running.begin()
    running.run(worker.main, None)  # returns
    torch.set_num_threads(threads)
    assert ask.look(question).state == "waiting"
    assert json.loads(ask.process().file("json").read_text())["state"] == "done"
