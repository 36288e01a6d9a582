"""A person's own losses: one Python file each, added by name, and what pages need to know of them as JSON.

The key of a loss is its name and the beginning of the hash of its text, `margin@1a2b3c4d`: a changed file is
another method. Only texts in the folder of losses are ever executed, and only those that a person named on
the command line get there; run folders and links bring specifications, never code. No torch in here.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from core.errors import MaclError
from core.explain import explain
from core.files import PROJECT, write_atomic
from core.losses.catalog import LOSSES
from core.losses.parameters import LossSpec
from core.losses.source import digest, read

KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,63})@([0-9a-f]{8})")
_SPEC = TypeAdapter(LossSpec)
_seen: dict[str, LossSpec] = {}  # losses that this process knows only from the configuration of a run


@dataclass(frozen=True)
class Versions:
    """What the folder of losses knows of one name.

    Attributes:
        offered: Key of the version that forms offer; empty after `remove`, or if it was never added.
        specs: Every version that was ever named here, oldest first.
    """

    offered: str = ""
    specs: tuple[LossSpec, ...] = ()


def folder() -> Path:
    """Where a person's losses are: $MACL_LOSSES, else .losses beside the runs."""
    runs = os.environ.get("MACL_RUN_ROOT") or PROJECT / "checkpoints"
    return Path(os.environ.get("MACL_LOSSES") or Path(runs) / ".losses").resolve()


def key_of(name: str, text: str) -> str:
    """The key of a loss with this name and text."""
    return f"{name}@{digest(text)[:8]}"


def name_in(key: str) -> str:
    """The name in a key: `margin`."""
    return key.partition("@")[0]


def spec_of(key: str) -> LossSpec:
    """The specification of a built-in loss, or of an own one that this machine knows.

    Raises:
        ValueError: If there is none.
    """
    if key in LOSSES:
        return LOSSES[key]
    if KEY.fullmatch(key):
        versions = of_name(name_in(key))
        for number, spec in enumerate(versions.specs, 1):
            if spec.key == key:
                return _titled(spec, f"{spec.title} ({number})" if number > 1 else spec.title)
        if key in _seen:
            return _titled(_seen[key], key.replace("@", " (") + ")")
    raise ValueError(f"need one of {', '.join(known())}, got {key!r}")


def known() -> dict[str, LossSpec]:
    """What a person can train with: the built-in losses, then their own ones that are offered."""
    return {**LOSSES, **{key: spec_of(key) for versions in every() if (key := versions.offered)}}


def place(key: str) -> tuple[int, str, int]:
    """Sort key of losses in tables and figures: the built-in ones in their order, then own ones by name."""
    if key in LOSSES:
        return list(LOSSES).index(key), "", 0
    keys = [spec.key for spec in of_name(name_in(key)).specs]
    return len(LOSSES), name_in(key), keys.index(key) if key in keys else len(keys)


def resolve(name: str) -> str:
    """The key that a name stands for: a built-in loss, a version by its key, or the offered one of a name.

    Raises:
        ValueError: If there is none.
    """
    if KEY.fullmatch(name) or name in LOSSES:
        return spec_of(name).key
    offered = of_name(name).offered if name.isidentifier() else ""
    return offered or spec_of(name).key


def every() -> Iterator[Versions]:
    """All names in the folder of losses."""
    for path in sorted(folder().glob("*.json")):
        yield of_name(path.stem)


def of_name(name: str) -> Versions:
    """What is known of a name; nothing for an unknown one, or if its file cannot be read."""
    path = folder() / f"{name}.json"
    try:
        info = path.stat()
        return _read(path, (info.st_mtime_ns, info.st_ino))  # two writes may fall into one tick of the clock
    except OSError:
        return Versions()


def _of_name(name: str) -> Versions:
    """The same before a change: a damaged file must not be written over."""
    versions, path = of_name(name), folder() / f"{name}.json"
    if not versions.specs and path.exists():
        raise MaclError(f"{path} is damaged: put it back as it was, or remove it and add the loss again")
    return versions


def remember(spec: LossSpec) -> None:
    """Know a loss from the configuration of a run: a copied run is shown without its file."""
    _seen[spec.key] = spec


def from_json(content: Any) -> LossSpec:
    """A specification from JSON, which may come from a stranger's run folder.

    Raises:
        ValueError: If it is none, or not of an own loss.
    """
    try:
        spec = _SPEC.validate_python(content)
    except ValidationError as error:
        raise ValueError(explain(error)) from None
    named = KEY.fullmatch(spec.key)
    if named is None or not spec.sha256.startswith(named[2]) or spec.title != named[1]:
        raise ValueError(f"need the name and the hash of a loss as its key, got {spec.key!r}")
    if wrong := [p.name for p in spec.parameters if not p.name.isidentifier()]:
        raise ValueError(f"need names of parameters, got {wrong[0]!r}")
    # these two stand in labels and names of runs, which a page renders
    words = [word for p in spec.parameters for word in (p.symbol, *p.choices)]
    if rendered := [word for word in words if set(word) & set("[]<>`$\n")]:
        raise ValueError(f"need symbols and choices without []<>`$, got {rendered[0]!r}")
    return spec


def to_json(spec: LossSpec) -> dict[str, Any]:
    """A specification as JSON, with its name as the title: the number depends on the machine."""
    return asdict(_titled(spec, name_in(spec.key)))


def text_of(key: str) -> str:
    """The text of a loss that a person named here.

    Raises:
        MaclError: If it is not in the folder of losses, or was changed there.
    """
    name, path = name_in(key), folder() / f"{key}.py"
    if not path.exists():
        raise MaclError(
            f"the loss {key} is not among yours, and code from a run folder is never executed unasked: "
            f"read {name}.py in the run folder, then `macl loss add` it"
        )
    text = read(path)
    if key_of(name, text) != key:
        raise MaclError(f"{path} has been changed since it was added: `macl loss add` the file you mean")
    return text


def keep(spec: LossSpec, text: str, *, offer: bool) -> LossSpec:
    """Put a loss into the folder; returns it with its title, "margin (2)" for a second version.

    Args:
        spec: From `core.losses.file.describe`.
        text: The text of its file.
        offer: Show it in forms, in place of an earlier version; else only runs started with the file have it.

    Raises:
        MaclError: If its words would be rendered, or the folder cannot be written.
    """
    try:
        from_json(to_json(spec))  # what no run could be read with is not kept
    except ValueError as error:
        raise MaclError(f"{name_in(spec.key)}.py: {error}") from None
    name, versions = name_in(spec.key), _of_name(name_in(spec.key))
    if spec.key not in [version.key for version in versions.specs]:
        versions = replace(versions, specs=(*versions.specs, spec))
    if offer:
        versions = replace(versions, offered=spec.key)
    try:
        folder().mkdir(parents=True, exist_ok=True)
        write_atomic(folder() / f"{spec.key}.py", text)
        _write(name, versions)
    except OSError as error:
        raise MaclError(
            f"no loss can be kept in {folder()} ({error.strerror or error}): "
            "make room there, or choose another folder with MACL_LOSSES"
        ) from error
    return spec_of(spec.key)


def remove(name: str) -> Path:
    """Offer a loss no longer, and execute it no more: its texts move to a folder of their own, returned here.

    Runs with it stay, and so do its names: a later version gets the next number.

    Raises:
        MaclError: If there is none, or the folder cannot be written.
    """
    versions = _of_name(name_in(name))
    texts = [path for spec in versions.specs if (path := folder() / f"{spec.key}.py").exists()]
    if not texts and not versions.offered:
        yours = ", ".join(name_in(one.offered) for one in every() if one.offered) or "none"
        raise MaclError(f"{name!r} is none of your losses ({yours})")
    removed = folder() / ".removed" / time.strftime("%Y%m%d-%H%M%S")
    try:
        removed.mkdir(parents=True, exist_ok=True)
        _write(name_in(name), replace(versions, offered=""))
        for path in texts:
            shutil.move(path, removed / path.name)
    except OSError as error:
        raise MaclError(f"cannot remove {name} from {folder()} ({error.strerror or error})") from error
    return removed


def _write(name: str, versions: Versions) -> None:
    content = {"offered": versions.offered, "versions": [to_json(spec) for spec in versions.specs]}
    write_atomic(folder() / f"{name}.json", json.dumps(content, indent=2) + "\n")


@lru_cache(maxsize=1000)
def _read(path: Path, changed: tuple[int, int]) -> Versions:
    try:
        content = json.loads(path.read_text())
        specs = tuple(from_json(version) for version in content["versions"])
        offered = str(content["offered"])
    except (ValueError, KeyError, TypeError):
        return Versions()
    specs = tuple(spec for spec in specs if name_in(spec.key) == path.stem)
    return Versions(offered if offered in [spec.key for spec in specs] else "", specs)


@lru_cache(maxsize=1000)
def _titled(spec: LossSpec, title: str) -> LossSpec:
    return replace(spec, title=title)
