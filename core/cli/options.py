"""Options of the commands that are made from the fields of a configuration."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from core.runs import PRESETS, settings
from core.runs.config import SUBJECT
from core.runs.settings import Setting

OTHER_NAMES = {"data_root": ["--root"]}
PRESET = f"One of {', '.join(PRESETS)}; default: instant on a CPU, paper on a GPU."


def option(name: str) -> Any:
    """The option of one field, for a command that takes only some of them."""
    setting = settings.field(name)
    return typer.Option(*_names(setting), help=_help(setting, _choices(setting)))


def with_fields(command: Callable[..., None]) -> Callable[..., None]:
    """A command with an option for every field of a run that a person can name, in place of `fields`.

    Typer reads the options off a function's signature: this writes that of `command` with one parameter for
    each field where it has `fields`. The command gets those that were given, by name; paths are absolute.
    """
    known = sorted(settings.fields(), key=lambda setting: setting.name not in SUBJECT)
    made = [_parameter(setting) for setting in known]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        fields = {setting.name: given.pop(setting.name) for setting in known}
        command(**given, fields=named(fields))

    signature, parameters = inspect.signature(command), list[inspect.Parameter]()
    for name, parameter in signature.parameters.items():
        parameters += made if name == "fields" else [parameter.replace(kind=parameter.KEYWORD_ONLY)]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def named(given: dict[str, Any]) -> dict[str, Any]:
    """The options that a person has given, as fields of a configuration: paths are absolute."""
    fields = {}
    for name, value in given.items():
        setting = settings.field(name)
        if value is not None and (setting.kind, value) != ("path", ""):
            fields[name] = setting.read(value) if isinstance(value, str) else value
    return fields


def _parameter(setting: Setting) -> inspect.Parameter:
    """The field in the signature; None stands for what the preset says."""
    narrow = 0 < len(setting.choices) <= 3  # which have room in place of the kind
    about = [] if narrow else _choices(setting)
    about += [setting.reach] if setting.kind in ("int", "float") else []
    info = typer.Option(
        *_names(setting),
        help=_help(setting, about + _defaults(setting.name)),
        metavar="|".join(setting.choices) if narrow else None,
        rich_help_panel=None if setting.name in SUBJECT else "Settings of the preset",
    )
    kind: Any = {"bool": bool, "int": int, "float": float}.get(setting.kind, str)
    annotation = Annotated[kind | None, info]
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _names(setting: Setting) -> list[str]:
    flag = settings.flag(setting.name)
    both = f"{flag}/{settings.flag(setting.name, no=True)}"
    return [both if setting.kind == "bool" else flag, *OTHER_NAMES.get(setting.name, [])]


def _help(setting: Setting, about: list[str]) -> str:
    return f"{setting.help} ({'; '.join(about)})." if about else f"{setting.help}."


def _choices(setting: Setting) -> list[str]:
    return [f"one of {', '.join(setting.choices)}"] if setting.choices else []


def _defaults(name: str) -> list[str]:
    """What a field is without its option: one value, or that of each preset."""
    starts = {preset: settings.preset_value(preset, name) for preset in PRESETS}
    first, *others = starts.values()
    if any(other != first for other in others):
        return [", ".join(f"{preset}: {settings.shown(value)}" for preset, value in starts.items())]
    return [] if first in (None, False) else [f"default: {settings.shown(first)}"]
