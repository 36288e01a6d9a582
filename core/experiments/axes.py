"""Settings as people type them: one value, lists, evenly spaced numbers, ranges of seeds."""

import re
from collections.abc import Collection, Sequence

from core.errors import MaclError
from core.explain import nearest, short
from core.losses import Value, known
from core.runs import settings
from core.runs.settings import Setting

MOST_VALUES = 1000


def parse_axis(text: str, loss: str) -> tuple[str, tuple[Value, ...]]:
    """`alpha=0,0.5,1`, `alpha=0:3:7` (seven values from 0 to 3) or `seed=0-2` as an axis.

    Args:
        text: The text as typed.
        loss: The loss whose parameters it may name.

    Raises:
        MaclError: If it is none of these, or names neither a field nor a parameter.
    """
    setting, values_text = _split(text, loss)
    parts = [part.strip() for part in values_text.split(",")]
    return setting.name, tuple(dict.fromkeys(value for part in parts for value in _values(part, setting)))


def parse_one(text: str, loss: str) -> tuple[str, Value]:
    """`alpha=1.5` as a name and its one value; MaclError as in `parse_axis`."""
    setting, rest = _split(text, loss)
    return setting.name, setting.read(rest)


def parse_params(loss: str, texts: Collection[str]) -> dict[str, Value]:
    """`alpha=1.5` texts as parameters of a loss; MaclError for anything else."""
    parameters = settings.of_loss(loss)
    for text in texts:
        if "=" not in text or text.partition("=")[0].strip() not in parameters:
            names = ", ".join(parameters) or "none"
            meant = nearest(text.partition("=")[0].strip(), parameters)
            raise MaclError(
                f"--param: need NAME=VALUE with a parameter of {loss} ({names}), got {short(text)}{meant}"
            )
    return dict(parse_one(text, loss) for text in texts)


def parse_seeds(text: str, most: int = MOST_VALUES) -> tuple[int, ...]:
    """Seeds from `0`, `0, 1, 2` or `0-4`, each once.

    Raises:
        MaclError: If the text is anything else, or names no seed or more than `most`.
    """
    seed = settings.field("seed")
    parts = re.split(r"[\s,;]+", text.replace("–", "-").strip(" ,;"))
    try:
        seeds = tuple(dict.fromkeys(int(value) for part in parts for value in _values(part, seed)))
    except MaclError:
        raise MaclError(f"seeds: need numbers such as 0 or 0, 1, 2 or 0-4, got {short(text)}") from None
    if not 1 <= len(seeds) <= most or min(seeds) < 0:
        raise MaclError(f"seeds: need 1 to {most} numbers from 0 on, got {short(text)}")
    return seeds


def shown_seeds(seeds: Sequence[int]) -> str:
    """Seeds as short text that `parse_seeds` accepts."""
    first, last = seeds[0], seeds[-1]
    if last > first and last - first < len(seeds) and list(seeds) == list(range(first, last + 1)):
        return f"{first}-{last}"
    return ",".join(map(str, seeds))


def _values(text: str, setting: Setting) -> list[Value]:
    name = setting.name
    if span := re.fullmatch(r"([-+.\deE]+):([-+.\deE]+):(\d+)", text):
        try:
            low, high, count = float(span[1]), float(span[2]), int(span[3])
        except ValueError:
            raise MaclError(f"{name}: need numbers such as 0:3:7, got {short(text)}") from None
        if not 2 <= count <= MOST_VALUES:
            raise MaclError(f"{name}: need 2 to {MOST_VALUES} values, got {short(span[3])}")
        spaced = [low + (high - low) * n / (count - 1) for n in range(count)]
        return [setting.read(f"{value:.10g}") for value in spaced]
    if (span := re.fullmatch(r"(\d{1,18})-(\d{1,18})", text)) and setting.kind == "int":
        low, last = int(span[1]), int(span[2])
        if not 0 <= last - low < MOST_VALUES:
            raise MaclError(
                f"{name}: need a range of 1 to {MOST_VALUES} values such as 0-4, got {short(text)}"
            )
        return list(range(low, last + 1))
    return [setting.read(text)]


def _split(text: str, loss: str) -> tuple[Setting, str]:
    """The setting that a text names, and what follows the "="."""
    name, _, rest = text.partition("=")
    if not rest.strip():
        raise MaclError(f"need NAME=VALUE such as epochs=5, alpha=0:3:7 or lr=0.1,0.01, got {short(text)}")
    fields = {setting.name: setting for setting in settings.fields()}
    own, every = settings.of_loss(loss), map(settings.of_loss, known())  # the loss may be an axis itself
    for settings_by_name in (own, fields, *every):
        if name.strip() in settings_by_name:
            return settings_by_name[name.strip()], rest.strip()
    names = f"no field ({', '.join(sorted(fields))}) and no parameter of {loss} ({', '.join(own) or 'none'})"
    raise MaclError(f"{name.strip()!r} is {names}{nearest(name.strip(), [*own, *fields])}")
