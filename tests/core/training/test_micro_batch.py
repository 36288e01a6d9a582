"""A batch that is embedded in parts, with the loss and the gradients of the whole one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core import runs
from core.data import load
from core.losses import LOSSES
from core.runs import RunConfig
from core.training import cached, loop
from core.training.batches import Images, in_parts
from core.training.learner import Learner
from tests.group_of_ranks import apart, learner, trained
from tests.small_runs import assert_same_outcome


def small(tiny: Path, **fields: Any) -> RunConfig:
    """Frozen features at 32 px, or with the preset quick all of a small network with batch norm."""
    given = {"preset": "instant", "batch_size": 27, "micro_batch": 4, "image_size": 32, "device": "cpu"}
    given |= {"backbone": "test_resnet"} if fields.get("preset") == "quick" else {}
    given |= fields
    return RunConfig.build(given.pop("preset"), dataset="folder", data_root=str(tiny), **given)


def at_once(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"micro_batch": 0})


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=str)
def test_every_loss_has_the_gradients_of_the_whole_batch(dtype: torch.dtype, near: float, tiny: Path) -> None:
    data = load("folder", tiny, 32)
    train = data.splits["train"]
    for loss in LOSSES:
        config = small(tiny, loss=loss, hidden=16, dim=16)
        whole, parts = (
            trained(learner(each, data, dtype=dtype), train, 5) for each in (at_once(config), config)
        )
        far = apart(whole, parts)
        assert far["loss"] <= near, loss
        assert far["gradient"] <= near, loss
        assert far["scale"] > 1e-3, loss
        assert far["mean"] <= 10 * near, loss


def test_a_network_without_batch_norm_learns_the_same_from_augmented_images(tiny: Path) -> None:
    config = small(
        tiny, preset="quick", backbone="test_convnext", batch_size=12, micro_batch=5, precision="float32"
    )
    data = load("folder", tiny, 32)
    train = data.splits["train"]
    far = apart(trained(learner(at_once(config), data), train, 0), trained(learner(config, data), train, 0))
    assert far["loss"] <= 1e-6
    assert far["gradient"] <= 1e-6
    assert far["scale"] > 1e-3


def test_a_part_has_the_images_that_it_has_in_the_whole_batch(tiny: Path) -> None:
    data = load("folder", tiny, 32)
    images = Images(data, small(tiny, preset="quick"), torch.device("cpu"))
    rows = data.splits["train"][:9]
    whole = images.train(rows, 3)
    for part in in_parts(slice(0, 9), 4):
        torch.testing.assert_close(images.train(rows, 3, part), whole[part], rtol=0, atol=1e-6)
    assert not torch.allclose(images.train(rows, 4), whole, atol=1e-3)


@pytest.mark.parametrize(("length", "count"), [(27, 7), (8, 3), (5, 1)])
def test_parts_are_of_nearly_one_length(length: int, count: int) -> None:
    parts = in_parts(slice(3, 3 + length), count)
    assert [place for part in parts for place in range(part.start, part.stop)] == [*range(3, 3 + length)]
    assert len(parts) == count
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) - min(lengths) <= 1


class Noted(nn.Module):
    """Notes what a module gives."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.given = inner, list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        self.given.append(y.detach().clone())
        return y


def in_parts_once(made: Learner, rows: np.ndarray) -> None:
    made.begin_epoch(0.001)
    cached.backward(made, rows, made.labels[torch.from_numpy(rows)], 1)


def test_both_passes_drop_the_same_and_leave_the_random_numbers_of_the_loss_alone(tiny: Path) -> None:
    config, data = small(tiny), load("folder", tiny, 32)
    made = learner(config, data)
    made.source.table = torch.ones_like(made.source.table)
    noted = Noted(nn.Dropout(0.5))
    made.encoder = nn.Sequential(noted, made.encoder)
    before = torch.get_rng_state()
    in_parts_once(made, data.splits["train"][:27])
    first, second = noted.given[:7], noted.given[7:]
    assert len(second) == 7
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
        assert 0.4 < (one == 0).float().mean() < 0.6
    assert not torch.equal(first[0][:3] == 0, first[1][:3] == 0)
    assert torch.equal(before, torch.get_rng_state())


def test_batch_norm_counts_every_image_once_and_the_log_says_what_it_sees(tiny: Path, tmp_path: Path) -> None:
    config = small(tiny, preset="quick", batch_size=24, micro_batch=8, epochs=1)
    data = load("folder", tiny, 32)
    made = learner(config, data)
    norms = [
        module for module in made.encoder.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    in_parts_once(made, data.splits["train"][:24])
    assert {int(norm.num_batches_tracked or 0) for norm in norms} == {3}
    assert all(norm.track_running_stats for norm in norms)
    run = runs.create(config, tmp_path)
    assert loop.run(run.path) == "finished", run.error
    assert "batch norm takes mean and variance over 8 images at most, not over the batch" in run.log


@pytest.mark.parametrize("preset", ["instant", "quick"])
def test_stopped_and_resumed_is_as_if_never_stopped(preset: str, tiny: Path, tmp_path: Path) -> None:
    config = small(tiny, preset=preset, batch_size=28, micro_batch=14, epochs=2, loss="lmsc")
    whole, parts = (runs.create(config, tmp_path) for _ in range(2))
    assert loop.run(whole.path) == "finished", whole.error

    def stop(done: int, total: int, what: str) -> None:
        if what == "training" and done == 2:
            parts.mark("stop")

    assert loop.run(parts.path, stop) == "stopped"
    assert loop.run(parts.path) == "finished", parts.error
    assert_same_outcome(whole, parts)
    assert ("batch norm" in whole.log) == (preset == "quick")


def test_a_resumed_run_keeps_its_parts(tiny: Path, tmp_path: Path) -> None:
    """With batch norm other parts are another training."""
    run = runs.create(small(tiny, epochs=2), tmp_path)

    def stop(done: int, total: int, what: str) -> None:
        if what == "training":
            run.mark("stop")

    assert loop.run(run.path, stop) == "stopped"
    run.mark("config.json", at_once(run.config).model_dump_json())
    assert loop.run(run.path) == "failed"
    assert "micro_batch 0, but this run began with micro_batch 4" in run.error


def test_a_run_without_parts_is_known_as_before_there_were_any(tiny: Path) -> None:
    config = small(tiny)
    assert "micro_batch" not in at_once(config).identity
    assert config.identity != at_once(config).identity
    assert config.model_copy(update={"devices": 4}).identity == config.identity
