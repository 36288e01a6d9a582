"""Command-line options made from the fields of a configuration."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from core.data import Reading
from core.errors import MaclError
from core.explain import explain
from core.queue.launcher import LAUNCHERS
from core.runs import PRESETS, settings
from core.runs.config import FIELDS, SUBJECT
from core.runs.settings import Setting

OTHER_NAMES = {"data_root": ["--root"]}
LAUNCHER = f"Who trains: {', '.join(LAUNCHERS)}; those of clusters are set up in launchers.toml."
PACK = "Runs that one job of a cluster trains, one after another in one process; for short ones."
PRESET = f"One of {', '.join(PRESETS)}; default: instant on a CPU, paper on a GPU."


def option(name: str) -> Any:
    """The option for one field, for a command that takes only some of them."""
    setting = settings.field(name)
    return typer.Option(*_names(setting), help=_help(setting, _choices(setting)))


def with_fields(command: Callable[..., None]) -> Callable[..., None]:
    """A command with an option for every field of a run that a person can set, in place of `fields`.

    Typer reads the options off a function's signature, so `fields` in that of `command` is replaced by one
    parameter per field. The command gets a dictionary of the options given; paths are absolute.
    """
    return _with(
        command,
        "fields",
        sorted(settings.fields(), key=lambda setting: setting.name not in SUBJECT),
        lambda given: given,
    )


def with_reading(command: Callable[..., None]) -> Callable[..., None]:
    """A command with an option for every field of `Reading`, in place of `reading`."""
    return _with(command, "reading", [settings.field(name) for name in Reading.model_fields], _reading)


def _reading(given: dict[str, Any]) -> Reading:
    try:
        return Reading(**given)
    except ValidationError as error:
        raise MaclError(explain(error, FIELDS)) from None


def _with(
    command: Callable[..., None],
    place: str,
    field_settings: Sequence[Setting],
    made: Callable[[dict[str, Any]], Any],
) -> Callable[..., None]:
    """A command with one option for each setting where its signature has the parameter `place`."""
    field_parameters = [_parameter(setting) for setting in field_settings]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        fields = {setting.name: given.pop(setting.name) for setting in field_settings}
        command(**given, **{place: made(named(fields))})

    signature, parameters = inspect.signature(command), list[inspect.Parameter]()
    for name, parameter in signature.parameters.items():
        parameters += field_parameters if name == place else [parameter.replace(kind=parameter.KEYWORD_ONLY)]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def named(given: dict[str, Any]) -> dict[str, Any]:
    """The options given, as fields of a configuration; paths are absolute."""
    fields = {}
    for name, value in given.items():
        setting = settings.field(name)
        if value is not None and (setting.kind, value) != ("path", ""):
            fields[name] = setting.read(value) if isinstance(value, str) else value
    return fields


def _parameter(setting: Setting) -> inspect.Parameter:
    """The field as a parameter of the signature; None stands for the preset's value."""
    few_choices = 0 < len(setting.choices) <= 3  # they fit in place of the type
    notes = [] if few_choices else _choices(setting)
    notes += [setting.reach] if setting.kind in ("int", "float") else []
    info = typer.Option(
        *_names(setting),
        help=_help(setting, notes + _defaults(setting.name)),
        metavar="|".join(setting.choices) if few_choices else None,
        rich_help_panel=None
        if setting.name in (*SUBJECT, *Reading.model_fields)
        else "Settings of the preset",
    )
    kind: Any = {"bool": bool, "int": int, "float": float}.get(setting.kind, str)
    annotation = Annotated[kind | None, info]
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _names(setting: Setting) -> list[str]:
    flag = settings.flag(setting.name)
    on_and_off = f"{flag}/{settings.flag(setting.name, no=True)}"
    return [on_and_off if setting.kind == "bool" else flag, *OTHER_NAMES.get(setting.name, [])]


def _help(setting: Setting, notes: list[str]) -> str:
    return f"{setting.help} ({'; '.join(notes)})." if notes else f"{setting.help}."


def _choices(setting: Setting) -> list[str]:
    return [f"one of {', '.join(setting.choices)}"] if setting.choices else []


def _defaults(name: str) -> list[str]:
    """The default of a field, in words: one value, or that of each preset."""
    starts = {preset: settings.preset_value(preset, name) for preset in PRESETS}
    first, *others = starts.values()
    if any(other != first for other in others):
        return [", ".join(f"{preset}: {settings.shown(value)}" for preset, value in starts.items())]
    return [] if first in (None, False, "") else [f"default: {settings.shown(first)}"]
