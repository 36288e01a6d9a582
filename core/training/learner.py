"""The parts of a run that learn: encoder, loss and optimiser on their device, and their input."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from core import device as devices
from core.data import Dataset
from core.encoder.model import Encoder, ProjectionHead, build_backbone
from core.errors import MaclError
from core.losses import make_loss
from core.losses.batch import BatchLoss, unchecked
from core.losses.check import before_run, limited
from core.losses.file import OwnLoss
from core.runs import RunConfig
from core.training import cached
from core.training.batches import ALL, Frozen, Images
from core.training.features import features
from core.training.group import ALONE, Group
from core.training.log import Diverged, Progress


class Learner:
    """Encoder, loss and optimiser of one run.

    Args:
        config: Configuration of the run.
        data: Its images and labels.
        device: Where everything is computed.
        weights: imagenet, none, or a file: initial weights of a backbone that is trained as a whole.
        progress: Called with (done, total, what) while features are computed.
        group: The processes that train the run together.

    Raises:
        MaclError: If there are fewer than two training images, or fewer than two of a batch for each process.
    """

    def __init__(
        self,
        config: RunConfig,
        data: Dataset,
        device: torch.device,
        weights: str,
        progress: Progress,
        group: Group = ALONE,
    ) -> None:
        rows = data.splits["train"]
        if len(rows) < 2:
            raise MaclError(f"need at least 2 training images, got {len(rows)}: add images to {data.name}")
        if (most := min(len(rows), config.batch_size)) < 2 * group.size:
            raise MaclError(
                f"need two images of a batch for each of {group.size} processes, got batches of {most}: take "
                "fewer devices, or a larger batch"
            )
        self.group = group
        self.config, self.device, self.look = config, device, data.look
        self.per_epoch = max(1, len(rows) // config.batch_size)  # steps
        self.encoder, self.source = (
            _on_features(config, data, device, progress)
            if config.trainable == "head"
            else _on_images(config, data, device, weights)
        )
        self.encoder = cached.synchronised(self.encoder, device, group).to(device)
        labels = torch.from_numpy(np.asarray(data.labels[rows]))
        with limited(what=config.spec.title):
            self.loss = make_loss(config.loss, labels, config.dim, **config.params).to(device)
            # a person's own is tried with these labels and parameters before the first step
            self.warnings = before_run(self.loss, data.labels[rows], config.dim, config.batch_size, device)
        self.ahead = devices.runs_ahead(device)
        self.formula: Callable[[Tensor, Tensor], Any] = self.loss
        if self.ahead:
            own = self.loss if isinstance(self.loss, OwnLoss) else None
            self.formula = own.unchecked if own else partial(unchecked, cast(BatchLoss, self.loss))
        self.labels = torch.from_numpy(np.asarray(data.labels)).to(device)  # (N, L)
        kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
        self.parameters = [*self.encoder.parameters(), *self.loss.parameters()]
        self.optimizer = kind(self.parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
        # steps with loss and gradient norm, still on the GPU; and the losses already read from there
        self.unread: list[tuple[int, Tensor]] = []
        self.losses: list[float] = []

    def begin_epoch(self, rate: float) -> None:
        """Switch to training mode, at this learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.encoder.train()

    def step(self, rows: np.ndarray, number: int) -> None:
        """One optimiser step on the images of `rows`; `number` counts the steps of the run from 1.

        Reading a value makes the program wait for the GPU, so the loss stays there until the next line of the
        curve is due.
        """
        y = self.labels[devices.send(torch.from_numpy(rows), self.device)]  # (B, L)
        if self.group.joined or 0 < self.config.micro_batch < len(rows):
            loss = cached.backward(self, rows, y, number)
        else:
            loss = self.backward(self.embedded(rows, number), y, number)
        gradient_norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip or math.inf)
        self.unread.append((number, torch.stack([loss.detach(), gradient_norm])))
        if not self.ahead:
            self.read()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def embedded(self, rows: np.ndarray, number: int, part: slice = ALL) -> Tensor:
        """Embeddings of a part of the batch `rows` of step `number`, in training mode; float32 or more."""
        images = self.source.train(rows, number - 1, part)
        with self.source.autocast():
            z: Tensor = self.encoder(images)  # (B, D)
        return z if z.dtype == torch.float64 else z.float()

    def backward(self, z: Tensor, y: Tensor, number: int) -> Tensor:
        """The loss of a batch, z (B, D) and y (B, L), with its gradients.

        Raises:
            Diverged: If the loss refuses the batch.
        """
        try:
            loss: Tensor = self.formula(z, y)  # outside autocast: z @ z.T would become bf16
            loss.backward()  # type: ignore[no-untyped-call]
        except (FloatingPointError, ValueError) as error:
            raise self.diverged(str(error), number) from error
        return loss

    def read(self) -> list[float]:
        """Losses in nats since the last line of the curve; Diverged at the first that is not finite."""
        unread, self.unread = self.unread, []
        values = torch.stack([value for _, value in unread]).tolist() if unread else []
        for (step, _), (loss, gradient_norm) in zip(unread, values, strict=True):
            if not math.isfinite(loss) or not math.isfinite(gradient_norm):
                culprit = "gradient" if math.isfinite(loss) else "loss"
                raise self.diverged(f"the {culprit} is not finite", step)
            self.losses.append(loss)
        return self.losses

    def embed(self, rows: np.ndarray, step: int, progress: Progress | None = None) -> np.ndarray:
        """Embeddings (n, D) float32 of these images in evaluation mode, after `step` steps of training.

        In a group each process embeds its part, and all get the whole.

        Raises:
            Diverged: If one is not finite.
        """
        self.encoder.eval()
        mine, size = rows[self.group.part(len(rows))], self.source.at_once
        parts = [torch.zeros(0, self.config.dim)]
        with torch.inference_mode(), self.source.autocast():
            for start in range(0, len(mine), size):
                z = self.encoder(self.source.test(mine[start : start + size]))
                parts.append(z.float().cpu())
                if progress is not None:
                    progress(min(start + size, len(mine)), len(mine), "test embeddings")
        embeddings = self.group.gather(torch.cat(parts), len(rows)).numpy()
        if not np.isfinite(embeddings).all():  # the last step has ruined the weights
            raise self.diverged("the embeddings are not finite", step)
        return embeddings

    def tensors(self) -> dict[str, Tensor]:
        """What has been learned, by name."""
        encoder = {f"encoder.{key}": value for key, value in self.encoder.state_dict().items()}
        loss = {f"loss.{key}": value for key, value in self._of_loss()}
        return {key: value.detach().contiguous() for key, value in {**encoder, **loss}.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Load what `tensors` returned; other names are ignored."""
        self.encoder.load_state_dict(
            {k.removeprefix("encoder."): v for k, v in tensors.items() if k.startswith("encoder.")}
        )
        with torch.no_grad():
            for key, value in self._of_loss():
                value.copy_(tensors[f"loss.{key}"])

    def _of_loss(self) -> list[tuple[str, Tensor]]:
        """What the loss has learned; a person's own may also keep something else from step to step."""
        buffers = self.loss.named_buffers() if isinstance(self.loss, OwnLoss) else ()
        return [*self.loss.named_parameters(), *buffers]

    def diverged(self, what: str, step: int) -> Diverged:
        """The error for a value that is not finite at this step, with its likely cause."""
        config = self.config
        if config.lr > 0.005:
            cause = f"the learning rate {config.lr} is likely too high: try 0.001"
        elif any(key in config.params and float(config.params[key]) < 0.05 for key in ("tau", "tau_scale")):
            cause = "the temperature is likely too low: try 0.1 or more"
        else:
            cause = "try a lower learning rate, or precision float32"
        epoch = (step - 1) // self.per_epoch + 1
        return Diverged(f"training diverged at step {step} (epoch {epoch}): {what}; {cause}.")


def _on_features(
    config: RunConfig, data: Dataset, device: torch.device, progress: Progress
) -> tuple[nn.Module, Images | Frozen]:
    """A head, and its input: the features of a frozen backbone."""
    table = features(
        data,
        config.backbone,
        config.weights,
        config.image_size,
        str(device),
        progress,
        config.precision,
    )
    torch.manual_seed(config.seed)  # after the features: computing them must not change the head
    return ProjectionHead(table.shape[1], config.hidden, config.dim), Frozen(table, device)


def _on_images(
    config: RunConfig, data: Dataset, device: torch.device, weights: str
) -> tuple[nn.Module, Images | Frozen]:
    """A backbone with its head, and their input: the images."""
    torch.manual_seed(config.seed)
    backbone = build_backbone(config.backbone, weights, data.look.channels)
    head = ProjectionHead(backbone.features, config.hidden, config.dim)
    encoder = Encoder(backbone, head).to(memory_format=devices.memory_format(device))
    return encoder, Images(data, config, device)
