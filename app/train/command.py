"""The command line that starts the same run as the form."""

import shlex

from core.losses import LOSSES
from core.runs import PRESETS, RunConfig

# Fields of a configuration that `macl train` takes as flags, in the order of its help.
FLAGS = (
    "backbone",
    "weights",
    "trainable",
    "augment",
    "image_size",
    "hidden",
    "dim",
    "epochs",
    "batch_size",
    "optimizer",
    "lr",
    "weight_decay",
    "clip",
    "scheduler",
    "step_epochs",
    "step_factor",
    "keep",
    "patience",
    "embed_every",
    "precision",
)


def command(config: RunConfig) -> str:
    """`macl train …` with the flags that differ from the preset and from the loss's defaults."""
    parts = ["macl", "train", "--preset", config.preset, "--dataset", config.dataset]
    if config.data_root:
        parts += ["--data-root", config.data_root]
    if config.skip_broken:
        parts.append("--skip-broken")
    parts += ["--loss", config.loss]
    for parameter in LOSSES[config.loss].parameters:
        value = config.params.get(parameter.name, parameter.default)
        if value != parameter.default:
            parts += ["--param", f"{parameter.name}={_text(value)}"]
    for name in FLAGS:
        value = getattr(config, name)
        if value == preset_value(config.preset, name):
            continue
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            parts.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            parts += [flag, _text(value)]
    parts += ["--seed", str(config.seed)]
    if config.device != "auto":
        parts += ["--device", config.device]
    return shlex.join(parts)


def preset_value(preset: str, name: str) -> object:
    """Value of a field before the person changes it."""
    return PRESETS[preset].get(name, RunConfig.model_fields[name].default)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)
