"""The check of a person's own loss: what is broken ends in one sentence, what is odd in a warning."""

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import MaclError
from core.losses import make_loss, trials
from core.losses.check import Report, before_run, check_file, examine, limited
from core.losses.file import build_own, describe, load
from tests.own_losses import MARGIN, own

FINE = "return (z @ z.T * (1 - y @ y.T)).mean()"
PROTOTYPES = own(
    "return (z @ self.prototypes.T * (1 - 2 * y) * self.weight).mean()",
    init="labels, dim, tau: float = 0.3",
    body="self.prototypes = nn.Parameter(torch.randn(labels.shape[1], dim))\n"
    "        self.register_buffer('weight', 1 / labels.sum(0).clamp(min=1))",
)
LABELS = (np.random.default_rng(0).random((60, 6)) < 0.4).astype(np.uint8)


def built(text, labels=LABELS, dim=8):
    spec = describe(load(text, "mine"), "mine", text)
    return build_own(text, spec, labels, dim, spec.check({}))


def check_one_sentence(report: Report):
    (sentence,) = report.errors
    assert sentence
    assert "\n" not in sentence
    assert len(sentence) < 400
    assert "Traceback" not in sentence
    return sentence


# a loss that is fine


@pytest.mark.parametrize(
    "text",
    [
        MARGIN,
        PROTOTYPES,
        own(head="from __future__ import annotations", init="labels, tau: float = 0.3"),
        own(FINE, init=None),
    ],
    ids=["margin", "prototypes", "annotations as strings", "no __init__"],
)
def test_nothing_is_found(text):
    report = examine(text, "mine")
    assert (report.errors, report.warnings) == ([], [])
    assert report.spec.title == "mine"
    assert report.cost > 0


def test_a_file_is_checked_in_another_process(tmp_path):
    path = tmp_path / "margin.py"
    path.write_text(MARGIN.replace("super().__init__()", "super().__init__()\n        print('{}')"))
    report = check_file(path, {"margin": 0.3})
    assert report.errors == []
    assert report.warnings == ["margin.py prints ('{}'): take that out, or it fills the log of every run"]
    assert report.spec == describe(load(path.read_text(), "margin"), "margin", path.read_text())
    assert report.cost > 0


def test_whoever_asks_loads_no_torch():
    code = "import sys, core.losses.check, core.losses.source; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# what stops a person

BROKEN = {
    "syntax error": ("def forward(z, y):\n    return (", r"mine.py, line 2: '\(' was never closed"),
    "imports something missing": (
        own(head="import torch\nimport no_such_package.part"),
        "mine.py, line 2: it imports no_such_package, which is not installed: install it",
    ),
    "a relative import": (own(head="from . import other"), "mine.py, line 1: ImportError: attempted"),
    "imports a file with an error": (
        own(head="import warnings\ncompile('1 +', 'other.py', 'exec')"),
        "^mine.py, line 2: SyntaxError: invalid syntax .other.py, line 1.",
    ),
    "raises on import": (own(head="1 / 0"), "mine.py, line 1: ZeroDivisionError: division by zero"),
    "sys.exit on import": (own(head="raise SystemExit(3)"), "mine.py, line 1: it ends the program"),
    "no class": ("import torch\n", "need one class derived from torch.nn.Module, got none"),
    "no module": ("class Mine:\n    pass\n", "got none: derive Mine from torch.nn.Module"),
    "two classes": (own(name="One") + own(name="Two"), "need one loss, got the classes One and Two"),
    "no forward": ("import torch\nclass Mine(torch.nn.Module):\n    x = 1\n", r"has no forward\(z, y\)"),
    "forward takes more": (
        own(FINE).replace("self, z, y", "self, z, y, rows"),
        r"Mine.forward is called with \(z, y\): missing a required argument: 'rows'",
    ),
    "needs an argument nobody gives": (
        own(FINE, init="tau"), "Mine: tau: only labels, classes, dim are handed over: give it a default",
    ),
    "raises in __init__": (
        own(FINE, body="raise ValueError('no')"), r"Mine.__init__, line 11: ValueError: no",
    ),
    "leaves in __init__": (own(FINE, body="exit()"), "Mine.__init__, line 11: it ends the program: take"),
    "raises": (own("return z.nothing"), "on a batch of 128 images .*: Mine.forward, line .*: AttributeError"),
    "wrong shape": (
        own("return (z @ z.T).mean(1)"),
        r"on a batch of 128 images \(seed 0\): Mine.forward: need one number, .* shape \(128,\)",
    ),
    "a float": (own("return 0.5"), r"Mine.forward: need one number, .* got 0.5 \(float\)"),
    "whole numbers": (own("return (y @ y.T).long().sum()"), "need one number, a floating-point tensor"),
    "not finite": (
        own("return z.sum() / 0"), r"^Mine is not finite on a batch of 128 images \(seed 0\): -?inf",
    ),
    "gradient not finite": (
        own("return (z - z.detach()).abs().sqrt().sum()"),
        "Mine has a gradient of z that is not finite on a batch of 128",
    ),
    "without gradient": (own("return (z.detach() @ z.T.detach()).mean()"), "Mine has no gradient on a batch"),
    "does not depend on z": (
        own("return self.w * y.sum()", body="self.w = nn.Parameter(torch.ones(()))"),
        "Mine does not depend on z on a batch of 128",
    ),
    "depends on z by nothing": (own("return (0 * z).sum()"), "Mine does not depend on z"),
    "changes z": (
        own("z.clamp_(min=0)\n        " + FINE), r"Mine changes its input z .*: work on a copy, z.clone\(\)",
    ),
    "changes y": (own("y[y == 0] = -1\n        " + FINE), "Mine changes its input y on a batch of 128"),
    "fails in backward": (
        own(
            "return Mine.Cut.apply(z)",
            tail="    class Cut(torch.autograd.Function):\n"
            "        @staticmethod\n        def forward(ctx, z):\n            return z.sum()\n"
            "        @staticmethod\n        def backward(ctx, up):\n            raise RuntimeError('cut')\n",
        ),
        "Mine fails in backward on a batch of 128 images .*: cut",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_ends_in_one_sentence(text, message):
    with pytest.raises(MaclError, match=message):
        raise MaclError(check_one_sentence(examine(text, "mine")))


def test_wrong_parameters_are_named():
    assert check_one_sentence(examine(MARGIN, "mine", params={"margin": 3.0})) == (
        "margin: need a number from -1 to 1, got 3.0"
    )
    assert "got 'tau'" in check_one_sentence(examine(MARGIN, "mine", params={"tau": 3.0}))
    assert "need no parameter, got 'tau'" in check_one_sentence(examine(own(), "mine", params={"tau": 3.0}))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("macl.py", MARGIN.encode(), "macl is the name of the built-in MACL"),
        ("märgin.py", MARGIN.encode(), "the file's name is the name of the loss"),
        ("mine.py", MARGIN.encode("utf-16"), "mine.py, line 1: not UTF-8"),
        ("mine.py", None, "cannot be read"),
    ],
)
def test_files_that_are_not_even_run(tmp_path, name, data, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    assert message in check_one_sentence(check_file(tmp_path / name))


CHILD = "import subprocess\npid = subprocess.Popen(['sleep', '1000']).pid\nopen({!r}, 'w').write(str(pid))"


def test_an_endless_loop_ends_with_its_children(tmp_path):
    path, pid = tmp_path / "mine.py", tmp_path / "pid"
    loop = "while True:\n            try: pass\n            except: pass"
    path.write_text(own(FINE, head=CHILD.format(str(pid)), body=loop))
    began = time.monotonic()
    sentence = check_one_sentence(check_file(path, seconds=1))
    assert sentence == (
        "mine.py: not done within 1 s in Mine.__init__: look for a loop without an end, or over single pairs"
    )
    assert time.monotonic() - began < 100
    while lives(int(pid.read_text())):
        assert time.monotonic() - began < 100
        time.sleep(0.01)


def lives(pid):
    """Whether there is such a process, on Linux; one that nobody has waited for does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        ("os._exit(0)", "it ends Python with exit code 0 in Mine.__init__: take that out"),
        (
            "os.kill(os.getpid(), 9)",
            "Python was killed by SIGKILL (out of memory?) in Mine.__init__: run the file by itself",
        ),
    ],
)
def test_a_crash_of_python_is_a_sentence(tmp_path, deed, message):
    path = tmp_path / "mine.py"
    path.write_text(own(FINE, head="import os", body=deed))
    assert check_one_sentence(check_file(path)) == f"mine.py: {message}"


# what does not stop a person

ODD = {
    "prints": (own("print('so', len(z))\n        " + FINE), r"mine\.py prints \('so 128'\)"),
    "not finite at 2": (
        own("return (z @ z.T * (1 - y @ y.T)).sum() / (len(z) - 2)"),
        r"^Mine is not finite on a batch of 2 images \(seed 0.*: -?(inf|nan); a run that meets such",
    ),
    "raises at 2": (
        own("return (z @ z.T).topk(3).values.mean()"), "on a batch of 2 images .*RuntimeError: .*; a run",
    ),
    "no positives": (
        own(
            "same = (y @ y.T).fill_diagonal_(0)\n"
            "        return -(z @ z.T * same).sum() / same.sum() if len(z) > 3 else z.sum()"
        ),
        "not finite on a batch of 12 images .seed 0. of which no two share a label: nan",
    ),
    "no negatives": (
        own(
            "other = 1 - (y @ y.T > 0).float()\n"
            "        return (z @ z.T * other).sum() / other.sum() if len(z) > 3 else z.sum()"
        ),
        "not finite on a batch of 12 images .seed 0. that all have the same labels: nan",
    ),
    "identical images": (
        own("return -(torch.cdist(z, z).sum() * z).norm().log() if len(z) > 3 else z.sum()"),
        "on a batch of 12 identical images",
    ),
    "unseen labels": (
        own(
            "return ((y / self.count).nan_to_num(nan=0).sum(1) @ z).sum() if len(y) == 12 and "
            "y.sum(0).max() > 1 else z.sum()",
            init="labels", body="self.register_buffer('count', labels.sum(0))",
        ),
        "not finite on .* four with a label that no training image has",
    ),
    "order": (own("return z[0] @ z[1:].sum(0)"), "depends on the order of the images"),
    "random": (own("return (z * torch.rand_like(z)).sum()"), "draws random numbers: two calls on a batch"),
    "state": (
        own("self.n += 1\n        return z.square().sum() * self.n + z.sum()", body="self.n = 0"),
        "has two values for a batch of 128",
    ),
    "plain tensor": (
        own("return (z * self.w).sum()", init="dim", body="self.w = torch.ones(dim)"),
        r"keeps w as a plain tensor, .*: self.register_buffer\(\"w\", …\)",
    ),
    "float64": (
        own("return (z @ torch.ones(z.shape[1], 1)).sum()"), "on a batch of 12 images .* in float64: Mine",
    ),
    "from_similarities": (
        own(FINE, tail="    def from_similarities(self, s, y):\n        return s\n"),
        "Mine.from_similarities: need one number, .*; Mechanism cannot draw the force",
    ),
    "pair_terms": (
        own(FINE, tail="    def pair_terms(self, y):\n        return y\n"), "; Mechanism cannot draw them",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), ODD.values(), ids=ODD)
def test_what_is_odd_is_a_warning(text, message):
    report = examine(text, "mine")
    assert report.errors == []
    assert report.cost is not None
    with pytest.raises(MaclError, match=message):
        raise MaclError(report.warnings[-1] if "prints" in message else report.warnings[0])
    assert all("\n" not in warning for warning in report.warnings)


def test_a_slow_loss_is_told(monkeypatch):
    monkeypatch.setattr(trials, "_cost", lambda *_: 12.3)
    report = examine(MARGIN, "mine")
    assert (report.errors, report.cost) == ([], 12.3)
    assert report.warnings == [
        "takes 12 times as long as MulSupCon on 128 images: training will be slow",
    ]


# before the first step


def test_before_a_run_nothing_is_left_behind():
    loss = built(
        own(
            "self.n += 1\n        self.c.add_(1)\n        return (z @ self.p).sum() * torch.rand(()) "
            "* random.random()",
            head="import random", init="dim",
            body="self.n, self.p = 0, nn.Parameter(torch.ones(dim))\n"
            "        self.register_buffer('c', torch.zeros(()))",
        )
    )  # fmt: skip
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert before_run(loss, LABELS, 8, 32) == []
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]
    assert loss.inner.p.grad is None
    assert (loss.inner.n, loss.inner.c.item()) == (0, 0)


def test_before_a_run_built_in_losses_pass():
    assert before_run(make_loss("macl", LABELS, 8), LABELS, 8, 32) == []


def test_before_a_run_labels_may_be_a_tensor_and_few():
    assert before_run(built(MARGIN), torch.from_numpy(LABELS), 8, 4096) == []


@pytest.mark.parametrize("case", ["raises", "wrong shape", "not finite", "changes z", "does not depend on z"])
def test_before_a_run_what_is_broken_stops(case):
    text, message = BROKEN[case]
    with pytest.raises(MaclError, match=message.replace("128", "32")):
        before_run(built(text), LABELS, 8, 32)


def test_before_a_run_two_images_are_a_warning():
    text = ODD["not finite at 2"][0]
    (warning,) = before_run(built(text), LABELS, 8, 32)
    assert "a run that meets such a batch stops there" in warning
    with pytest.raises(MaclError, match="not finite on a batch of 2 images"):
        before_run(built(text), LABELS, 8, 2)


# the limit


def test_a_limit_ends_a_loop_that_swallows_exceptions():
    swallowed = []

    def endless():
        while len(swallowed) < 2:  # the third goes through
            try:
                time.sleep(100)
            except:  # noqa: E722
                swallowed.append(1)
        time.sleep(100)

    with pytest.raises(MaclError, match=r"^margin: not done within 0.1 s: look"), limited(0.1, "margin"):
        endless()
    assert len(swallowed) == 2


def test_a_limit_gives_the_earlier_one_back():
    rung = []
    handler = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with limited(5):
            time.sleep(0.1)
            assert not rung
        until = time.monotonic() + 60
        while not rung and time.monotonic() < until:
            time.sleep(0.01)
        assert rung
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, interval)
        signal.signal(signal.SIGALRM, handler)


def test_a_limit_does_nothing_in_a_thread():
    said = []
    thread = threading.Thread(target=lambda: said.append(list(limited_in_thread())))
    thread.start()
    thread.join()
    assert said == [["done"]]


def limited_in_thread():
    with limited(0.001):
        time.sleep(0.05)
        yield "done"
