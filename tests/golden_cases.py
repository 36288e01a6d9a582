"""Golden values of the losses: reads the files, so that the same tests run on cases kept elsewhere.

MACL_GOLDENS names the folder; without it the committed copies in tests/goldens are used. A file that such a
folder lacks skips its tests.
"""

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from core.losses import make_loss

COMMITTED = Path(__file__).parent / "goldens"
FOLDER = Path(os.environ.get("MACL_GOLDENS") or COMMITTED)


@cache
def read(name: str) -> dict[str, np.ndarray]:
    if FOLDER != COMMITTED and not (FOLDER / f"{name}.npz").is_file():
        return {}
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def entries(name: str) -> Iterator[tuple[str, str]]:
    """Pairs (case, args) that have a loss."""
    for key in read(name):
        if key.endswith("/loss"):
            yield key.split("/")[0], "/".join(key.split("/")[1:-1])


def params(name: str, keep: Callable[[str], bool] = lambda args: True) -> pytest.MarkDecorator:
    """Parametrise a test with every (case, args) of a file for whose args `keep` is true."""
    found = [pytest.param(case, args, id=f"{case}/{args}") for case, args in entries(name) if keep(args)]
    assert found or not read(name), f"{name}.npz has no such entry"
    return pytest.mark.parametrize(("case", "args"), found)


def number(args: str, letter: str) -> float:
    """The number behind a letter in the arguments: number("beta0.5/t0.3", "t") is 0.3."""
    return next(
        float(part.removeprefix(letter))
        for part in args.split("/")
        if part.startswith(letter) and part.removeprefix(letter).lstrip("-")[:1].isdigit()
    )


def inputs(name: str, case: str) -> dict[str, Tensor]:
    """The inputs of a case in float64: x, Y and whatever else the file has."""
    start = f"{case}/in/"
    return {k.removeprefix(start): torch.tensor(v) for k, v in read(name).items() if k.startswith(start)}


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=1, keepdim=True)


def compare(
    name: str, case: str, args: str, value: Tensor, leaves: dict[str, Tensor], tolerance: float
) -> None:
    """Loss and gradients: gradients relative to their largest entry."""
    golden = read(name)
    value.backward()
    torch.testing.assert_close(
        value.detach(), torch.tensor(golden[f"{case}/{args}/loss"]), rtol=tolerance, atol=1e-14
    )
    compared = 0
    for leaf, tensor in leaves.items():
        key = f"{case}/{args}/grad_{leaf}"
        if key not in golden:
            continue
        expected = torch.tensor(golden[key])
        scale = max(expected.abs().max().item(), 1e-14)
        assert tensor.grad is not None
        torch.testing.assert_close(tensor.grad / scale, expected / scale, rtol=tolerance, atol=tolerance)
        compared += 1
    assert compared == sum(k.startswith(f"{case}/{args}/grad_") for k in golden), (
        "a gradient was not compared"
    )


def check(
    key: str, name: str, case: str, args: str, tolerance: float = 1e-10, **settings: float | str
) -> None:
    """make_loss(key) against the golden loss and gradients of all leaves."""
    given = inputs(name, case)
    leaf = "z" if f"{case}/{args}/grad_z" in read(name) else "x"
    x = (unit(given["x"]) if leaf == "z" else given["x"]).requires_grad_()
    loss = make_loss(key, given.get("Y_train", given["Y"]), x.shape[1], **settings).double()
    leaves = {leaf: x}
    if hasattr(loss, "prototypes"):
        loss.prototypes.data.copy_(given["P"])
        leaves["P"] = loss.prototypes
    compare(name, case, args, loss(x if leaf == "z" else unit(x), given["Y"]), leaves, tolerance)
