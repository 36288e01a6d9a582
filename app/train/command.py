"""The command line that starts the same run as the form."""

import shlex

from core.losses import spec_of
from core.runs import RunConfig, settings
from core.runs.settings import flag, preset_value, shown
from core.runs.where import LOCAL

ALWAYS = ("dataset", "loss", "seed")  # written out even where they are the preset's: a reader looks for them


def command(config: RunConfig, launcher: str = LOCAL) -> str:
    """`macl train …` with the flags that differ from the preset and from the loss's defaults."""
    parts = ["macl", "train", "--preset", config.preset]
    for name in (setting.name for setting in settings.fields()):
        value = settings.value_of(config, name)
        if name not in ALWAYS and value == preset_value(config.preset, name):
            continue
        if isinstance(value, bool):
            parts.append(flag(name, no=not value))
        else:
            parts += [flag(name), shown(value)]
        if name == "loss":
            for parameter in spec_of(config.loss).parameters:
                if (value := config.params[parameter.name]) != parameter.default:
                    parts += ["--param", f"{parameter.name}={shown(value)}"]
    if launcher != LOCAL:
        parts += ["--queue", "--launcher", launcher]
    return shlex.join(parts)
