"""The rooms of the house: who may import whom, how long a module may be, and where tests lie."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.files import PROJECT

# From the top down: a room imports what stands below it, never what stands above.
CORE = [
    "cli", "experiments", "mechanism", "archive", "retrieval", "queue", "tracking", "training", "report",
    "encoder", "runs", "projection", "data", "metrics", "losses", "background",
]  # fmt: skip
PAGES = ["home", "sensitivity", "embeddings", "mechanism", "archive", "retrieval", "compare", "train", "data"]
APP = [*PAGES, "figures", "kit"]
ROOT = {
    "core": {"errors", "explain", "files", "device", "labels"},
    "app": {"main", "navigation", "guard", "cache", "image_cache", "pages"},
}
LONGEST = 400  # lines of a module


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    found = {}
    for top in ("core", "app", "pages"):
        for path in (PROJECT / top).rglob("*.py"):
            parts = path.relative_to(PROJECT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(name: str) -> Iterator[str]:
    """The modules of the product that one imports, wherever in it."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if (target := whole if whole in MODULES else node.module) in MODULES:
                    yield target
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)


def test_every_module_has_a_room() -> None:
    for name in MODULES:
        top, _, rest = name.partition(".")
        room = rest.partition(".")[0]
        if top in ROOT and rest:
            assert room in ROOT[top] | set(CORE if top == "core" else APP), f"{name} stands in no room"


@pytest.mark.parametrize(("top", "order"), [("core", CORE), ("app", APP)])
def test_imports_go_down(top: str, order: list[str]) -> None:
    for name in MODULES:
        room = name.split(".")[1] if name.startswith(f"{top}.") else ""
        for target in imported(name):
            other = target.split(".")[1] if target.startswith(f"{top}.") else ""
            if room in order and other in order and room != other:
                assert order.index(room) < order.index(other), f"{name} imports {target}, which is above it"
            if room in ROOT["core"] and top == "core":
                assert other not in order, f"{name} is at the root of core and imports {target}"


def test_core_knows_nothing_of_the_app_and_the_app_nothing_of_the_pages() -> None:
    for name in MODULES:
        below = {"core": ("core",), "app": ("core", "app"), "pages": ("core", "app", "pages")}
        for target in imported(name):
            assert target.partition(".")[0] in below[name.partition(".")[0]], f"{name} imports {target}"


def test_there_is_no_circle() -> None:
    ways = {name: set(imported(name)) - {name} for name in MODULES}
    while leaves := {name for name, targets in ways.items() if not targets}:
        ways = {name: targets - leaves for name, targets in ways.items() if name not in leaves}
    assert not ways, f"these import each other: {sorted(ways)}"


def test_no_module_is_long() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST}


def test_streamlit_keeps_things_in_two_modules() -> None:
    """Of runs app.cache, of data sets app.image_cache."""
    keeping = {name for name, path in MODULES.items() if "\n@st.cache_" in path.read_text()}
    assert keeping == {"app.cache", "app.image_cache"}


def test_no_init_holds_logic() -> None:
    for name, path in MODULES.items():
        if path.name == "__init__.py" and name != "core":  # which sets one variable before torch can load
            for node in ast.parse(path.read_text()).body:
                said = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                names = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
                assert said or names or isinstance(node, ast.ImportFrom), f"{name}: {ast.unparse(node)}"


def test_tests_mirror_the_rooms() -> None:
    for top in ("core", "app"):
        folders = {path.parent.relative_to(PROJECT) for path in (PROJECT / "tests" / top).rglob("test_*.py")}
        for folder in folders:
            assert (PROJECT / folder.relative_to("tests")).is_dir(), f"{folder} mirrors nothing"


def test_what_pages_import_brings_no_torch() -> None:
    names = [name for name in MODULES if name.startswith("app.") and name != "app.navigation"]
    code = f"import sys\nfor name in {names!r}: __import__(name)\nprint('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert done.stdout.split()[-1] == "False"


def test_core_brings_no_streamlit() -> None:
    names = [name for name in MODULES if name.startswith("core.") and not name.endswith("__main__")]
    code = f"import sys\nfor name in {names!r}: __import__(name)\nprint('streamlit' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert done.stdout.split()[-1] == "False"
