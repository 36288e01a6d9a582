"""The configuration of a run: one schema for form, command line and JSON, and the presets."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from core.data import DATASETS, READ, ImageSet, Reading
from core.errors import MaclError
from core.explain import explain
from core.losses import LOSSES, LossSpec, check_params, spec_of
from core.losses import own as own_losses

INSTANT: dict[str, Any] = {
    "backbone": "tf_efficientnet_lite0",
    "weights": "imagenet",
    "trainable": "head",
    "image_size": 128,
    "epochs": 15,
    "augment": False,
    "embed_every": 3,
}
QUICK: dict[str, Any] = {
    "backbone": "resnet18",
    "weights": "none",
    "trainable": "all",
    "image_size": 96,
    "epochs": 15,
    "augment": True,
    "embed_every": 5,
}
PAPER: dict[str, Any] = {
    "backbone": "resnet18",
    "weights": "imagenet",
    "trainable": "all",
    "image_size": 256,
    "epochs": 100,
    "augment": True,
    "embed_every": 10,
}
PRESETS: dict[str, dict[str, Any]] = {"instant": INSTANT, "quick": QUICK, "paper": PAPER}
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
# What a run is about: chosen first, each in its own way. All other fields are settings of the preset.
SUBJECT = ("dataset", "data_root", "skip_broken", "reading", "loss", "own", "params", "preset", "seed")
# Without effect on the outcome, but for its last bits; the key of an own loss says it all.
NO_EFFECT = ("device", "devices", "preset", "embed_every", "own")


@dataclass(frozen=True)
class OneOf:
    """Marks a field whose value is one of these names."""

    names: Mapping[str, Any]

    def check(self, value: str) -> str:
        """The value itself."""
        if value not in self.names:
            raise ValueError(f"need one of {', '.join(self.names)}, got {value!r}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))


@dataclass(frozen=True)
class Place:
    """Marks a field that names a file or a folder, unless it is one of these words."""

    words: tuple[str, ...] = ()


class RunConfig(BaseModel):
    """Everything that decides the outcome of a run; one schema for form, command line and JSON.

    Options, form, axes of sweeps and shown command lines are made from these fields (`core.runs.settings`).
    Defaults are those of the paper (§4.2) except for the preset's fields, see `PRESETS`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    dataset: Annotated[str, OneOf(DATASETS)] = Field("demo", description="Name of the data set")
    data_root: Annotated[str | None, Place()] = Field(
        None, description="Folder or archive of the data set; none: the usual place"
    )
    skip_broken: bool = Field(False, description="Leave out images that cannot be read")
    reading: Reading = Field(READ, exclude_if=lambda value: value == READ)
    loss: str = Field("macl", description="Key of the loss, or the name of your own")
    own: dict[str, Any] | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="What `core.losses.own.to_json` says of an own loss, so that a copied run shows it",
    )
    params: dict[str, bool | int | float | str] = Field({}, description="Parameters of the loss")
    preset: Annotated[str, OneOf(PRESETS)] = Field(
        "quick", description="Preset that the other fields started from"
    )
    backbone: str = Field("resnet18", description="torchvision ResNet or any timm model")
    weights: Annotated[str, Place(("imagenet", "none"))] = Field(
        "none", description="imagenet, none, or a file with weights"
    )
    trainable: Literal["head", "all"] = Field("all", description="Train the head on frozen features, or all")
    image_size: int = Field(96, ge=32, le=1024, description="Side of the training images, pixels")
    augment: bool = Field(True, description="Crop, flip, rotate and colour-jitter as in §4.2")
    hidden: int = Field(512, ge=8, le=8192, description="Width of the head's hidden layer")
    dim: int = Field(128, ge=2, le=4096, description="Embedding size")
    epochs: int = Field(15, ge=1, le=10_000, description="Passes over the training split")
    batch_size: int = Field(128, ge=2, le=8192, description="Images in a batch")
    optimizer: Literal["adam", "adamw"] = Field("adam", description="adamw decouples the weight decay")
    lr: float = Field(0.001, gt=0, le=10, title="Learning rate", description="Learning rate")
    weight_decay: float = Field(0.0005, ge=0, le=1, description="Weight decay")
    clip: float = Field(
        1.0, ge=0, title="Gradient clipping", description="Largest norm of the gradient; 0: not clipped"
    )
    scheduler: Literal["step", "cosine", "constant"] = Field("step", description="Course of the rate")
    step_epochs: int = Field(15, ge=1, description="Epochs between two steps of the rate (step)")
    step_factor: float = Field(0.8, gt=0, le=1, description="Factor at each step of the rate (step)")
    keep: Literal["last", "best"] = Field(
        "last", title="Epoch to keep", description="Keep the last epoch, or the best on validation"
    )
    patience: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Stop after so many epochs without a better one on validation (keep best); 0: never",
    )
    embed_every: int = Field(
        0,
        ge=0,
        title="Embeddings every … epochs",
        description="Save the test embeddings every so many epochs, 100 times at most; 0: never",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Split, initialisation, order and augmentation")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    devices: int = Field(
        1,
        ge=1,
        le=1024,
        description="GPUs of this machine that share every batch of the run; on a CPU processes",
    )
    micro_batch: int = Field(
        0,
        ge=0,
        le=8192,
        title="Micro-batch",
        description="Images embedded at once on a device, for large batches in little memory: loss and "
        "gradient are those of the batch, but batch norm sees these images only; 0: the whole batch",
    )
    precision: Literal["auto", "bf16", "float32"] = Field(
        "auto", description="Of the encoder; the loss is float32"
    )

    @property
    def images(self) -> ImageSet:
        """The images it trains on."""
        return ImageSet(self.dataset, self.data_root, self.image_size, self.skip_broken, self.reading)

    @property
    def identity(self) -> str:
        """Equal for configurations with the same outcome.

        The device, the preset's name and what is saved on the way do not count, nor does the place of the
        images unless they are a person's own.
        """
        left_out = {*NO_EFFECT}
        if self.dataset != "folder":
            left_out.add("data_root")
        if not self.micro_batch:  # as before there was any
            left_out.add("micro_batch")
        fields = self.model_dump(exclude=left_out)
        if self.place:
            fields["data_root"] = self.place
        return json.dumps(fields, sort_keys=True)

    @property
    def place(self) -> str:
        """Where a person's own images are, links resolved; empty for the other data sets."""
        if self.dataset != "folder" or not self.data_root:
            return ""
        # a row of a benchmark has a name here instead of a path
        return os.path.realpath(self.data_root) if os.path.isabs(self.data_root) else self.data_root

    @property
    def spec(self) -> LossSpec:
        """What is known of its loss."""
        return spec_of(self.loss)

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not DEVICE.fullmatch(value):
            raise ValueError(f"need auto, cpu, cuda, cuda:N or mps, got {value!r}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.trainable == "head" and self.augment:
            raise ValueError("augment: need false when trainable is head (frozen features are computed once)")
        if self.trainable == "head" and self.weights == "none":
            raise ValueError(
                "weights: need imagenet or a file when trainable is head (a random encoder learns nothing)"
            )
        if self.micro_batch == 1:
            raise ValueError("micro_batch: need 2 images or more, or 0 for the whole batch at once, got 1")
        if self.devices > 1 and ":" in self.device:
            raise ValueError(
                f"devices: need 1 when device is {self.device}, got {self.devices}: set device to cuda"
            )
        if self.batch_size < 2 * self.devices:
            raise ValueError(
                f"devices: need two images of a batch for each, got {self.devices} for a batch of "
                f"{self.batch_size}"
            )
        if self.patience and self.keep != "best":
            raise ValueError(
                f"patience: need 0 when keep is last (it counts epochs without a better one on validation), "
                f"got {self.patience}: set keep to best"
            )
        self._know_loss()
        try:
            filled = check_params(self.loss, self.params)
            floats = {p.name for p in spec_of(self.loss).parameters if p.kind == "float"}
            filled = {name: float(value) if name in floats else value for name, value in filled.items()}
        except (TypeError, ValueError) as error:
            raise ValueError(f"params: {error}") from None
        object.__setattr__(self, "params", filled)
        return self

    def _know_loss(self) -> None:
        """Fill in the key of an own loss and its specification, or take them from the configuration."""
        try:
            if self.own is not None and self.loss not in LOSSES:
                spec = own_losses.from_json(self.own)
                if spec.key == self.loss:
                    own_losses.remember(spec)
            key = own_losses.resolve(self.loss)
        except ValueError as error:
            raise ValueError(f"loss: {error}") from None
        spec = spec_of(key)
        if spec.sha256 and (clash := [p.name for p in spec.parameters if p.name in type(self).model_fields]):
            raise ValueError(
                f"loss: {clash[0]} of {spec.title} is the name of a setting of every run: rename it"
            )
        object.__setattr__(self, "loss", key)
        object.__setattr__(self, "own", own_losses.to_json(spec) if spec.sha256 else None)

    @classmethod
    def build(cls, preset: str, **fields: Any) -> Self:
        """A configuration from a preset, overridden by `fields`, among them those of `Reading`.

        Raises:
            MaclError: It names the field at fault.
        """
        if preset not in PRESETS:
            raise MaclError(f"preset: need one of {', '.join(PRESETS)}, got {preset!r}")
        if said := {name: fields.pop(name) for name in Reading.model_fields if name in fields}:
            before = fields.get("reading", READ)
            before = before.model_dump() if isinstance(before, Reading) else before
            fields["reading"] = {**before, **said}
        try:
            return cls(preset=preset, **{**PRESETS[preset], **fields})
        except ValidationError as error:
            raise MaclError(explain(error, FIELDS)) from None


FIELDS = (*RunConfig.model_fields, *Reading.model_fields)  # names that a person may have meant
