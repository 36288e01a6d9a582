"""A person's own loss in one file: what is read from its text, and how it is wrapped."""

import hashlib
import inspect
from dataclasses import asdict

import numpy as np
import pytest
import torch

from core.errors import MaclError
from core.files import PROJECT
from core.losses import LOSSES, make_loss
from core.losses.describe import parameters
from core.losses.file import OwnLoss, build_own, describe, load
from core.losses.parameters import Parameter
from core.losses.source import name_of, read
from core.runs import settings
from tests.loss_batches import random_batch
from tests.own_losses import MARGIN, own


def built(text, labels=None, dim=8, **params):
    cls = load(text, "margin")
    spec = describe(cls, "margin", text)
    labels = random_batch()[1].numpy().astype(np.uint8) if labels is None else labels
    return build_own(text, spec, labels, dim, spec.check(params))


def of_init(arguments, docstring="", head=""):
    """The parameters of a class with this signature."""
    return {p.name: p for p in parameters(load(own(init=arguments, doc=docstring, head=head), "margin"))}


def test_the_margin_loss_is_described():
    spec = describe(load(MARGIN, "margin"), "margin", MARGIN)
    digest = hashlib.sha256(MARGIN.encode()).hexdigest()
    assert (spec.key, spec.title, spec.cls) == (f"margin@{digest[:8]}", "margin", "Margin")
    assert spec.source == "your own loss"
    assert spec.summary == "Pull pairs that share labels, push the others beyond a margin."
    assert spec.sha256 == digest
    assert not spec.from_similarities
    assert not spec.pair_terms
    assert spec.parameters == (
        Parameter(
            "margin", "float", 0.2, "Cosine below which a negative costs nothing, −1 … 1.", low=-1, high=1
        ),
        Parameter("squared", "bool", True, "Square the hinge."),
    )


def test_the_margin_loss_is_built_and_wrapped():
    z, y = random_batch()
    loss = built(MARGIN, margin=0.3)
    assert isinstance(loss, OwnLoss)
    assert loss.classes == 6
    assert loss.inner.margin == 0.3
    s, shared = z @ z.T, (y @ y.T > 0) & ~torch.eye(14, dtype=torch.bool)
    other = (y @ y.T == 0) & ~torch.eye(14, dtype=torch.bool)
    torch.testing.assert_close(
        loss(z, y), (1 - s)[shared].mean() + (s - 0.3).clamp(min=0)[other].square().mean()
    )
    low = z.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(low, y)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(low.float(), y))
    assert torch.equal(value, loss.unchecked(low, y))
    with pytest.raises(ValueError, match="y: need only 0 and 1"):
        loss(z, 2 * y)
    with pytest.raises(FloatingPointError, match="need a finite loss, got nan from Margin"):
        built(own("return z.sum() * float('nan')", name="Margin"))(z, y)


def test_the_text_is_a_module_of_its_own():
    text = own(
        head="from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from typing import Literal\n"
        "@dataclass\nclass Terms:\n    w: float = 1.0",
        init='kind: Literal["a", "b"] = "b", steps: int = 3, tau: float = 1',
    )
    cls = load(text, "margin")
    assert "def forward" in inspect.getsource(cls)
    assert [(p.kind, p.default) for p in parameters(cls)] == [("choice", "b"), ("int", 3), ("float", 1.0)]
    later = text + "\n# later\n"
    assert load(later, "margin").__module__ != cls.__module__
    assert inspect.getsource(cls) in text


def test_a_class_gets_only_what_it_takes():
    labels = random_batch()[1].numpy().astype(np.uint8)
    assert built(own("return z.sum()")).inner is not None
    inner = built(own(init="classes, labels, dim", body="self.kept = classes, labels, dim"), labels).inner
    assert inner.kept[0] == 6
    assert inner.kept[2] == 8
    assert torch.equal(inner.kept[1], torch.tensor(labels).float())
    with pytest.raises(MaclError, match="the text of the loss has changed"):
        build_own(MARGIN + "\n", describe(load(MARGIN, "margin"), "margin", MARGIN), labels, 8, {})


def test_similarities_and_pair_terms_are_those_of_the_class():
    z, y = random_batch()
    y = y.double()
    offers = own(
        "return self.from_similarities(z @ z.T, y)",
        tail="    def from_similarities(self, s, y):\n        return (s * (y @ y.T)).mean()\n"
        "    def pair_terms(self, y):\n        return {'w': y @ y.T}\n",
    )
    spec = describe(load(offers, "margin"), "margin", offers)
    assert spec.from_similarities
    assert spec.pair_terms
    loss = built(offers)
    assert loss.has_similarities
    assert torch.equal(loss.from_similarities(z @ z.T, y), loss(z, y))
    assert torch.equal(loss.pair_terms(y)["w"], y @ y.T)
    plain = built(MARGIN)
    assert not plain.has_similarities
    assert plain.pair_terms(y) == {}
    for wrong in ("{'v': y @ y.T}", "y @ y.T", "{'w': y}"):
        text = own("return z.sum()", tail=f"    def pair_terms(self, y):\n        return {wrong}\n")
        with pytest.raises(MaclError, match=r"Mine.pair_terms: need .*\"w\""):
            built(text).pair_terms(y)


def test_what_a_class_can_be():
    base = own(name="Base")
    derived = base + "\nclass Derived(Base):\n    '''Another.'''\n"
    assert load(derived, "margin").__name__ == "Derived"
    two = own(name="One") + own(name="Two")
    assert load(two + "\n__all__ = ['Two']\n", "margin").__name__ == "Two"
    assert load(own(name="One") + "\nalias = One\n", "margin").__name__ == "One"
    none = own("return z.sum()", init=None)
    assert describe(load(none, "margin"), "margin", none).parameters == ()
    assert describe(load(none, "margin"), "margin", none).summary.endswith("no docstring.")


# parameters


@pytest.mark.parametrize(
    ("text", "reach"),
    [
        ("Weight, ≥ 0.", "a number of 0 or more"),
        ("Weight, >= 0.5 and <= 2", "a number from 0.5 to 2"),
        ("Cosine below which nothing is pushed, −1 … 1.", "a number from -1 to 1"),
        ("Cosine from -1 to 1.", "a number from -1 to 1"),
        ("0..1", "a number from 0 to 1"),
        ("Share (0.0...1.0) of it.", "a number from 0 to 1"),
        ("Something between 0 and 1.5.", "a number from 0 to 1.5"),
        ("Temperature > 0.", "a number above 0"),
        ("Temperature, < 2.", "a number below 2"),
        ("Temperature, ≤ 2.", "a number of 2 or less"),
        ("In (0, 1].", "a finite number"),
        ("A number in (0, 1].", "a number above 0 and up to 1"),
        ("A number in [1e-3, 1).", "a number from 0.001 to below 1"),
        ("With 0 < x ≤ 1.", "a number above 0 and up to 1"),
        ("Pushes 2 to 3 times as much.", "a finite number"),
        ("Pairs with s > 0.5 cost nothing.", "a finite number"),
    ],
)
def test_ranges_in_the_docstring(text, reach):
    p = of_init("weight: float = 0.5", f"One.\n\n    Args:\n        weight: {text}\n    ")["weight"]
    assert p.help == text
    assert p.reach == reach


def test_ranges_of_an_annotation():
    head = "from typing import Annotated\nfrom types import SimpleNamespace\nfrom pydantic import Field"
    found = of_init(
        "a: Annotated[float, Field(ge=-1, le=1, title='α')] = 0.5, b: Annotated[float, Field(gt=0)] = 0.5, "
        "c: Annotated[int, SimpleNamespace(lt=5)] = 4, d: Annotated[float, Field(le=2)] = -3.0",
        head=head,
    )
    assert found["a"].symbol == "α"
    assert [p.reach for p in found.values()] == [
        "a number from -1 to 1", "a number above 0", "a whole number below 5", "a number of 2 or less",
    ]  # fmt: skip
    for name, wrong in (("a", 1.5), ("b", 0.0), ("c", 5), ("d", 2.1)):
        with pytest.raises(ValueError, match=f"{name}: need a .*, got {wrong}"):
            found[name].check(wrong)
    assert found["b"].check(1e-9) == 1e-9
    assert [settings.parameter(p).reach for p in found.values()] == [
        "-1 to 1", "above 0", "5 or less", "2 or less",
    ]  # fmt: skip


def test_a_whole_number():
    p = of_init("steps=3")["steps"]
    assert (p.kind, p.reach) == ("int", "a whole number")
    assert type(p.check(4.0)) is int  # a configuration read from JSON
    for wrong in (0.5, True, "3"):
        with pytest.raises(TypeError, match="steps: need a "):
            p.check(wrong)


def test_kinds_of_defaults():
    found = of_init("a=0.5, b=True, c=2, *, d: float = 1")
    assert [(p.kind, p.default) for p in found.values()] == [
        ("float", 0.5), ("bool", True), ("int", 2), ("float", 1.0),
    ]  # fmt: skip


GOOGLE = """One.

    Args:
        tau (float): Softmax
            temperature.
        alpha: Share.

    Raises:
        tau: No.
    """
SPHINX = """One.

    :param float tau: Softmax
        temperature.
    :param alpha: Share.
    :returns: No.
    """
NUMPY = """One.

    Parameters
    ----------
    tau : float, optional
        Softmax
        temperature.
    alpha
        Share.

    Notes
    -----
    Nothing.
    """


@pytest.mark.parametrize("doc", [GOOGLE, SPHINX, NUMPY], ids=["google", "sphinx", "numpy"])
def test_helps_in_three_kinds_of_docstring(doc):
    found = of_init("tau=0.5, alpha=0.5", doc)
    assert {name: p.help for name, p in found.items()} == {"tau": "Softmax temperature.", "alpha": "Share."}


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("tau", "tau: only labels, classes, dim are handed over: give it a default"),
        ("tau: list = 3", "tau: need float, int, bool or Literal.*, got list"),
        ("tau: float | None = None", r"tau: need float, .*, got float \| None"),
        ("tau=None", "tau: need float, .*, got the default None"),
        ("mode='all'", "mode: need float, .*, got the default 'all'"),
        ("tau: 'Never' = 1", "tau: the annotation Never means nothing"),
        ("*args", r"args: need parameters that are given by name, got \*args"),
        ("tau=1.0, **labels", r"labels: need parameters that are given by name, got \*\*labels"),
        ("tau=1.0, /", "tau: need parameters that are given by name"),
        ("tau: int = 0.5", "tau: need a whole number, got 0.5 as its default: correct the default"),
        ("tau: bool = 1", "tau: need True or False, got 1 as its default"),
        ("tau: float = float('inf')", "tau: need a finite number, got inf as its default"),
        ("weight: float = 2.0", "weight: need a number from 0 to 1, got 2.0 as its default"),
        ("τ: float = 2.0", "τ: need a name of plain letters"),
        ("key=1", "key: need a name of plain letters.* and not key"),
    ],
)
def test_parameters_that_no_form_can_show(init, message):
    text = own(init=init, doc="One.\n\n    Args:\n        weight: 0 to 1.\n    ")
    with pytest.raises(MaclError, match=f"^margin.py: Mine: {message}") as raised:
        describe(load(text, "margin"), "margin", text)
    assert "\n" not in str(raised.value)


# built-in losses and files


def test_built_in_losses_are_as_they_were():
    for spec in LOSSES.values():
        assert (spec.sha256, spec.from_similarities, spec.pair_terms) == ("", True, False)
        for p in spec.parameters:
            assert p.kind in ("float", "bool", "choice")
            assert (p.above, p.below) == (False, False)
            assert (p.low is None) == (p.high is None)
    (tau,) = LOSSES["supcon_all"].parameters
    assert asdict(tau) | {"help": ""} == {
        "name": "tau", "kind": "float", "default": 0.3, "help": "", "symbol": "τ", "low": 0.001, "high": 100,
        "choices": (), "above": False, "below": False,
    }  # fmt: skip


@pytest.mark.parametrize("key", ["lbase", "lproto", "oml", "nested"])
def test_a_built_in_loss_works_as_a_file_of_ones_own(key):
    z, y = random_batch()
    labels = y.numpy().astype(np.uint8)
    torch.manual_seed(0)
    loss = built(read(PROJECT / "core" / "losses" / f"{key}.py"), labels)
    cls = type(loss.inner).__name__
    spec = next(spec for spec in LOSSES.values() if spec.cls == f"{key}.{cls}")
    torch.manual_seed(0)
    assert torch.equal(loss(z.float(), y), make_loss(spec.key, labels, 8)(z.float(), y))


@pytest.mark.parametrize("name", ["margin", "_m", "Margin2", "match", "macl_own"])
def test_names_of_files(tmp_path, name):
    assert name_of(tmp_path / f"{name}.py") == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("macl.py", "macl is the name of the built-in MACL: give the file another name"),
        ("MACL.py", "MACL is the name of the built-in MACL: give the file another name"),
        ("chance.py", "chance is the name of something else"),
        ("all.py", "all is the name of something else"),
        ("märgin.py", "need up to 40 letters"),
        ("my-margin.py", "need up to 40 letters"),
        ("2nd.py", "need up to 40 letters"),
        ("lambda.py", "need up to 40 letters"),
        (f"{'a' * 41}.py", "need up to 40 letters"),
        ("margin.txt", "need a name that ends in .py"),
        ("margin", "need a name that ends in .py"),
    ],
)
def test_names_that_a_loss_cannot_have(tmp_path, name, message):
    with pytest.raises(MaclError, match=f"^{name}: .*{message}"):
        name_of(tmp_path / name)


def test_a_file_is_read_as_it_is(tmp_path):
    path = tmp_path / "margin.py"
    path.write_bytes(b"\xef\xbb\xbf" + MARGIN.replace("\n", "\r\n").encode())
    text = read(path)  # without the mark of the encoding, with its line ends
    assert text == MARGIN.replace("\n", "\r\n")
    assert load(text, "margin").__name__ == "Margin"


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "margin.py"
    with pytest.raises(
        MaclError, match=r"margin.py cannot be read \(no such file or directory\): give the path"
    ):
        read(path)
    path.write_bytes(b"# fine\n# M\xe4rgin\n")
    with pytest.raises(MaclError, match=r"^margin.py, line 2: not UTF-8"):
        read(path)
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(MaclError, match=r"^margin.py: larger than 1 MB"):
        read(path)
