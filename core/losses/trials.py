"""A person's own loss is tried on batches that a run may meet; `python -m core.losses.trials FOLDER`.

Every finding is one sentence with the batch that shows it.
"""

import copy
import io
import random
import signal
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from core.errors import MaclError
from core.files import write_atomic
from core.losses import make_loss
from core.losses.file import OwnLoss, build_own, describe, load
from core.losses.findings import REPORT, REQUEST, Report

ORDINARY = 128  # images of a batch that a loss has to master
COSTLY = 10  # times MulSupCon
STOPS = "a run that meets such a batch stops there"
Batch = tuple[str, Tensor, Tensor]  # in words; z (B, D) unit rows; y (B, L) in {0, 1}, float32
Tell = Callable[[str], None]


def examine(
    text: str,
    name: str,
    *,
    labels: NDArray[Any] | None = None,
    dim: int = 64,
    params: Mapping[str, object] | None = None,
    tell: Tell = lambda stage: None,
) -> Report:
    """Run the text of a loss file, and try its loss.

    Args:
        text: Of the file.
        name: Of the loss.
        labels: (N, L) training labels in {0, 1}; None: drawn, with a last label that nobody has.
        dim: Embedding size D.
        params: Parameters other than the defaults.
        tell: Called with what comes next.
    """
    report, said = Report(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(said), warnings.catch_warnings(), _random_state():
        warnings.simplefilter("ignore")
        try:
            tell("on import")
            report.spec = spec = describe(load(text, name), name, text)
            try:
                settings = spec.check(params or {})
            except (TypeError, ValueError) as error:
                raise MaclError(str(error)) from None
            labels = _some_labels() if labels is None else np.asarray(labels, np.uint8)
            tell(f"in {spec.cls}.__init__")
            loss = build_own(text, spec, labels, dim, settings)
            tell(f"in {spec.cls}.forward")
            report.warnings += _findings(loss, labels, dim)
            report.cost = _cost(loss, labels, dim)
        except MaclError as error:
            report.errors.append(str(error))
    if report.cost is not None and report.cost > COSTLY:
        report.warnings.append(
            f"takes {report.cost:.0f} times as long as MulSupCon on {ORDINARY} images: training will be slow"
        )
    if not said.closed and (lines := said.getvalue().strip().splitlines()):
        report.warnings.append(
            f"{name}.py prints ({lines[0][:60]!r}): take that out, or it fills the log of every run"
        )
    return report


def before_run(
    loss: nn.Module,
    labels: NDArray[Any] | Tensor,
    dim: int,
    batch_size: int,
    device: torch.device | str = "cpu",
) -> list[str]:
    """Try a person's loss before the first step, on 2 images and on a whole batch; others pass.

    It is a copy that is tried, so that no gradient, state or random number is left behind.

    Args:
        loss: On the device.
        labels: (N, L) training labels in {0, 1}.
        dim: Embedding size D.
        batch_size: Images of a batch, B.
        device: Where the run computes.

    Returns:
        What does not stop a run, in sentences.

    Raises:
        MaclError: If a run cannot be trained with it.
    """
    if not isinstance(loss, OwnLoss):
        return []
    size = max(2, min(batch_size, len(labels)))
    with _random_state(torch.device(device)):
        with suppress(Exception):  # something that cannot be copied
            loss = copy.deepcopy(loss)
        _try(loss, _ordinary(labels, dim, size, device=device), essential=True)
        return _faults(loss, [_ordinary(labels, dim, 2, device=device)])


def _findings(loss: OwnLoss, labels: NDArray[Any], dim: int) -> list[str]:
    """What a person should know; MaclError for what stops them."""
    name, whole = type(loss.inner).__name__, _ordinary(labels, dim, ORDINARY)
    value = _try(loss, whole, essential=True)
    found = [
        f'{name} keeps {key} as a plain tensor, which stays behind on a GPU: self.register_buffer("{key}", …)'
        for module in loss.modules()
        for key, kept in vars(module).items()
        if isinstance(kept, Tensor)
    ]
    for size in (2, 3):
        found += _faults(loss, [_ordinary(labels, dim, size, seed) for seed in range(3)])[:1]
    for batch in _special(labels, dim):
        found += _faults(loss, [batch])
    words, z, y = _ordinary(labels, dim, 12)
    found += _faults(loss, [(f"{words} in bfloat16", z.bfloat16(), y)])
    with suppress(Exception):
        found += _faults(copy.deepcopy(loss).double(), [(f"{words} in float64", z.double(), y)], stops="")
    return found + _repeats(loss, whole, value) + _offers(loss, whole)


def _repeats(loss: OwnLoss, batch: Batch, first: Tensor) -> list[str]:
    """Whether the value of a batch is always the same, and in any order."""
    name, (words, z, y) = type(loss.inner).__name__, batch
    state = torch.get_rng_state()
    second = _try(loss, batch)
    if not torch.equal(state, torch.get_rng_state()):
        return [f"{name} draws random numbers: two calls on {words} need not agree"]
    if not torch.equal(first, second):
        return [
            f"{name} has two values for {words}, {first:.6g} and then {second:.6g}: it keeps a state, or "
            "draws random numbers"
        ]
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(z)))
    other = _try(loss, (words, z[order], y[order]))
    if (other - first).abs() > 1e-4 * max(abs(first.item()), 1e-3):
        return [f"{name} depends on the order of the images: {first:.6g} for {words}, permuted {other:.6g}"]
    return []


def _offers(loss: OwnLoss, batch: Batch) -> list[str]:
    """What is wrong with the methods that a class may have for the page Mechanism."""
    _, z, y = batch
    found, name = [], type(loss.inner).__name__
    try:
        loss.pair_terms(y)
    except MaclError as error:
        found.append(f"{error}; Mechanism cannot draw them")
    if loss.has_similarities:
        s = (z @ z.T).requires_grad_()
        try:
            value = loss.from_similarities(s, y)
            (gradient,) = torch.autograd.grad(value, s)
            if not (value.isfinite() and gradient.isfinite().all()):
                raise MaclError(f"{name}.from_similarities: not finite")
        except (MaclError, RuntimeError) as error:
            found.append(f"{str(error).splitlines()[0]}; Mechanism cannot draw the force on a pair")
    return found


def _faults(loss: OwnLoss, batches: list[Batch], stops: str = STOPS) -> list[str]:
    """Warnings of batches that do not stop a person."""
    found = []
    for batch in batches:
        try:
            _try(loss, batch)
        except MaclError as error:
            found.append(f"{error}; {stops}" if stops else str(error))
    return found


def _try(loss: OwnLoss, batch: Batch, essential: bool = False) -> Tensor:
    """The value of a loss on a batch, detached; leaves no gradient.

    Raises:
        MaclError: If the value or its gradient is not finite, or not there, or if an input was changed; with
            `essential` also if nothing could be learned from it.
    """
    name, (words, z, y) = type(loss.inner).__name__, batch
    x = z.clone().requires_grad_()
    rows, targets = x * 1, y.clone()  # as an encoder's output: no leaf, so it can be changed in place
    try:
        value = loss.unchecked(rows, targets)
    except MaclError as error:
        raise MaclError(f"on {words}: {error}") from error
    for letter, now, given in (("z", rows, z), ("y", targets, y)):
        if not torch.equal(now.detach(), given):
            raise MaclError(f"{name} changes its input {letter} on {words}: work on a copy, {letter}.clone()")
    if not value.isfinite():
        raise MaclError(f"{name} is not finite on {words}: {value.item()}")
    if not value.requires_grad:
        raise MaclError(
            f"{name} has no gradient on {words}: its value has to come from z, by operations of torch"
        )
    learned = dict(loss.inner.named_parameters())
    try:
        gradients = torch.autograd.grad(value, [x, *learned.values()], allow_unused=True)
    except RuntimeError as error:
        raise MaclError(f"{name} fails in backward on {words}: {str(error).splitlines()[0]}") from error
    for what, gradient in zip(["z", *learned], gradients, strict=True):
        if gradient is not None and not gradient.isfinite().all():
            raise MaclError(f"{name} has a gradient of {what} that is not finite on {words}")
    if essential and (gradients[0] is None or not gradients[0].any()):
        raise MaclError(f"{name} does not depend on z on {words}: an encoder would learn nothing from it")
    return value.detach()


def _ordinary(
    labels: NDArray[Any] | Tensor, dim: int, size: int, seed: int = 0, device: torch.device | str = "cpu"
) -> Batch:
    """Random unit rows with label sets of the training split."""
    generator = np.random.default_rng(seed)
    rows = generator.choice(len(labels), size, replace=size > len(labels))
    y = torch.as_tensor(labels[rows]).float()
    z = torch.tensor(generator.standard_normal((size, dim)), dtype=torch.float32)
    alone = ((y @ y.T).fill_diagonal_(0) == 0).all()
    words = f"a batch of {size} images (seed {seed}{', no shared label' if alone else ''})"
    return words, normalize(z, dim=1).to(device), y.to(device)


def _special(labels: NDArray[Any], dim: int) -> Iterator[Batch]:
    """Batches that are rare in a run, and happen."""
    _, z, y = _ordinary(labels, dim, 12)
    if (count := min(12, y.shape[1])) > 1:
        yield (
            f"a batch of {count} images (seed 0) of which no two share a label",
            z[:count],
            torch.eye(*y.shape)[:count],
        )
    yield "a batch of 12 images (seed 0) that all have the same labels", z, y[:1].expand(y.shape).clone()
    yield "a batch of 12 identical images (seed 0) with different labels", z[:1].expand(z.shape).clone(), y
    if (unseen := np.flatnonzero(labels.sum(0) == 0)).size:
        y = y.clone()
        y[:4, unseen[0]] = 1
        yield "a batch of 12 images (seed 0), four with a label that no training image has", z, y


def _cost(loss: OwnLoss, labels: NDArray[Any], dim: int) -> float:
    """Time of forward and backward as a multiple of MulSupCon's: medians of repeats that take turns."""
    _, z, y = _ordinary(labels, dim, ORDINARY)
    other, times = make_loss("mulsupcon", labels, dim), ([], [])  # type: tuple[Any, tuple[list[float], list[float]]]
    until = time.perf_counter() + 2
    for _ in range(32):
        for one, spent in zip((loss, other), times, strict=True):
            x, start = z.clone().requires_grad_(), time.perf_counter()
            torch.autograd.grad(one(x, y), x)
            spent.append(time.perf_counter() - start)
        if time.perf_counter() > until:
            break
    own, mulsupcon = (statistics.median(spent[1:] or spent) for spent in times)  # the first warms up
    return own / mulsupcon


def _some_labels() -> NDArray[np.uint8]:
    """Labels of 256 images: 11 labels that are frequent or rare, and one that nobody has."""
    generator = np.random.default_rng(0)
    labels = (generator.random((256, 12)) < np.linspace(0.4, 0.05, 12)).astype(np.uint8)
    labels[np.arange(256), generator.integers(0, 11, 256)] = 1
    labels[:, -1] = 0
    return labels


@contextmanager
def _random_state(device: torch.device | None = None) -> Iterator[None]:
    """Give every generator its state back, and begin at seed 0."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def main(folder: Path) -> None:
    """Answer the request in a folder; nothing that the loss prints can come between."""
    request = REQUEST.validate_json((folder / "request").read_bytes())
    with suppress(OSError):  # Linux: should memory run out, it is this process that goes
        Path("/proc/self/oom_score_adj").write_text("1000")
    signal.alarm(int(request.seconds) + 10)  # whoever asked may have died
    report = examine(
        request.text,
        request.name,
        params=request.params,
        tell=lambda stage: write_atomic(folder / "stage", stage, flush=False),
    )
    write_atomic(folder / "report", REPORT.dump_json(report), flush=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
