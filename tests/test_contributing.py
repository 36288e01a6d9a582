"""CONTRIBUTING.md is true: every path in it is there, and each recipe, done in a copy of the house, works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.files import PROJECT

TEXT = (PROJECT / "CONTRIBUTING.md").read_text()


def test_it_is_short_and_every_path_in_it_exists() -> None:
    assert len(TEXT.splitlines()) < 150
    named = re.findall(r"`((?:app|assets|core|pages|tests)/[\w/.]*)", TEXT)
    assert len(named) > 40
    assert not [path for path in named if not (PROJECT / path).exists()]


def test_the_map_names_every_room() -> None:
    rooms = [
        f"{top}/{path.name}/"
        for top in ("core", "app")
        for path in sorted((PROJECT / top).iterdir())
        if (path / "__init__.py").exists()
    ]
    assert not [room for room in rooms if f"`{room}`" not in TEXT]


class House:
    """A copy of the product, in which a recipe is done and tried."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("app", "core", "pages", "tests"):
            shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("assets", ".streamlit"):
            (folder / name).symlink_to(PROJECT / name)

    def add(self, path: str, text: str) -> None:
        """A new file."""
        assert not (self.folder / path).exists()
        (self.folder / path).write_text(text)

    def insert(self, path: str, before: str, line: str) -> None:
        """A line before another one, of which there is one."""
        text = (self.folder / path).read_text()
        assert text.count(before) == 1, (path, before)
        (self.folder / path).write_text(text.replace(before, line + before))

    def run(self, *command: str) -> str:
        """What a command in the house prints; it has to succeed."""
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=240, check=False,
            env=os.environ | {"PYTHONPATH": str(self.folder)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def python(self, code: str) -> str:
        return self.run(sys.executable, "-c", code)

    def macl(self, *words: str) -> str:
        return self.run(sys.executable, "-c", "from core.cli import main; main()", *words)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


EVERYWHERE = """
import time
from core.experiments import sweep
from core.experiments.benchmark import ALL_METHODS
from core.queue import launch
from core.runs import list_runs
from tests.components import component_data, open_page

def text(page):
    bodies = [html.proto.body for html in page.get("html")]
    return " ".join([*bodies, str(page.main), str(component_data(page))])

(run,) = list_runs(launch.run_root())
assert "nearest" in [method.key for method in ALL_METHODS]
assert len(sweep.grid("s", "instant", {"loss": "nearest"}, {"tau": [0.1, 0.5]}).points) == 2
form = open_page("train", loss="Nearest")
assert form.multiselect(key="loss").value == ["nearest"]
assert form.number_input(key="nearest.tau").value == 0.3
assert "Nearest (τ=0.5)" in text(open_page("compare", presets="instant"))
assert "Nearest" in text(open_page("retrieval", runs=run.id))
assert "Nearest" in text(open_page("embeddings", runs=run.id))
assert open_page("sensitivity", lab_loss="Nearest").selectbox(key="lab_loss").value == "Nearest"
for _ in range(600):  # the process that answers for it has to load torch
    page = open_page("mechanism", run=run.id, m_loss="Nearest", m_b="8")
    if 'data-term="force"' in text(page):
        break
    time.sleep(0.2)
else:
    raise AssertionError(text(page)[:3000])
print("everywhere")
"""


def test_a_loss(house: House, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_RUN_ROOT", str(house.folder / "runs"))
    house.add(
        "core/losses/nearest.py",
        '''"""A loss of this test: SupCon with positives that share a label, each alike."""

from torch import Tensor, nn

from core.losses.batch import evaluate
from core.losses.pairs import contrast
from core.losses.parameters import Tau


class Nearest(nn.Module):
    """Mean of -log p over pairs that share a label.

    Args:
        tau: Softmax temperature.
    """

    def __init__(self, classes: int, tau: Tau = 0.3) -> None:
        super().__init__()
        self.classes, self.tau = classes, tau

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Loss in nats; z (B, D) unit rows, y (B, L) in {0, 1}."""
        return evaluate(self, z, y)

    def similarities(self, z: Tensor) -> Tensor:
        """Similarities, (B, D) -> (B, B)."""
        return z @ z.T

    def weights(self, y: Tensor) -> Tensor:
        """Factor of -log p, (B, L) -> (B, B)."""
        positive = (y @ y.T > 0).to(y.dtype).fill_diagonal_(0)
        return positive / positive.sum().clamp(min=1)

    def from_similarities(self, s: Tensor, y: Tensor) -> Tensor:
        """The loss of similarities (B, B)."""
        return contrast(s / self.tau, self.weights(y))
''',
    )
    house.insert(
        "core/losses/catalog.py",
        '    _loss("mulsupcon",',
        '    _loss("nearest", "Nearest", "this test", "nearest.Nearest", "Pulls what shares a label."),\n',
    )
    house.run(sys.executable, "-m", "pytest", "-q", "-k", "nearest", "tests/core/losses/test_losses.py")
    printed = house.macl(
        "train", "--dataset", "folder", "--data-root", str(tiny), "--loss", "nearest", "--epochs", "1",
        "--image-size", "32", "--batch-size", "16", "--preset", "instant", "--param", "tau=0.5",
        "--run-root", str(house.folder / "runs"),
    )  # fmt: skip
    assert (Path(printed.split()[-1]) / "scores.json").is_file()
    assert "nearest" in house.macl("train", "--help")
    assert house.python(EVERYWHERE).split()[-1] == "everywhere"
    code = f"""
import os, signal, time
os.environ["MACL_RUN_ROOT"] = {str(house.folder / "runs")!r}
from core.mechanism import ask
from tests.components import component_data, open_page
page = open_page("mechanism", m_loss="Nearest", m_b="8")
deadline = time.monotonic() + 120
try:
    while not (found := component_data(page, "macl_heatmaps")) and time.monotonic() < deadline:
        time.sleep(0.2)
        page.run()
finally:
    if ask.process().pid is not None:
        os.kill(ask.process().pid, signal.SIGKILL)
print([one["title"] for one in found[-1]["maps"]])
"""
    assert house.python(code).split("\n")[-2] == "['force · −∂L/∂s']"


def test_a_data_set(house: House, tiny: Path) -> None:
    house.add(
        "core/data/mine.py",
        '''"""A data set of this test: an own folder under a name."""

from core.data.folder import collect
from core.data.info import DatasetInfo

MINE = DatasetInfo(
    name="mine", title="Mine", summary="Of a test.", classes=(), images=0, train=0, val=0,
    terms="Free.", where="this test",
)
__all__ = ["MINE", "collect"]
''',
    )
    sets = "core/data/sets.py"
    house.insert(sets, "from core.data.download import", "from core.data import mine\n")
    house.insert(sets, "_COLLECT: dict", 'DATASETS["mine"] = mine.MINE\n')
    house.insert(sets, '    "folder": folder.collect,\n', '    "mine": mine.collect,\n')
    code = f"from core.data import load; print(len(load('mine', {str(tiny)!r}, 32).names))"
    assert int(house.python(code)) > 10
    assert "mine" in house.macl("data", "list")


def test_a_metric(house: House) -> None:
    scores = "core/metrics/scores.py"
    house.insert(scores, '    "wap": "wAP@100",', '    "first": "Precision@1",\n')
    house.insert(
        scores,
        "        shared = relevance.shared_gain[top]\n",
        '        result["first"][block] = level[:, 0] >= 1\n',
    )
    house.insert(
        scores,
        '    for key in ("ndcg_sim", "ndcg", "wap"):\n        result[key]',
        '    result["first"][positives[:, 0] == 0] = np.nan\n',
    )
    house.insert(
        "core/metrics/expected.py",
        '    values["wap"] =',
        '    values["first"] = positives[:, 0] / m\n',
    )
    code = """
import numpy as np
from core import metrics
y = np.eye(4, dtype=np.uint8)[[0, 0, 1, 1, 2, 2]]
z = y + 0.01
for values in (metrics.evaluate(z, y), metrics.chance(y), metrics.oracle(y)):
    print(round(values["first"], 9))
"""
    assert house.python(code).split() == ["1.0", "0.2", "1.0"]
    assert "Precision@1" in house.macl("table", "--recorded", "--dataset", "dlrsd")


def test_a_page(house: House) -> None:
    house.add(
        "pages/hello.py",
        """import streamlit as st

from app.kit import permalink

st.title("Hello")
permalink.told_here()
""",
    )
    house.insert(
        "app/navigation.py",
        '        st.Page("../pages/data.py"',
        '        st.Page("../pages/hello.py", title="Hello"),\n',
    )
    code = """
from tests.components import open_page
print(open_page("hello").title[0].value)
"""
    assert house.python(code).split()[-1] == "Hello"


def test_a_launcher(house: House, tiny: Path) -> None:
    house.add(
        "core/queue/shell.py",
        '''"""A launcher of this test: every run in a shell of its own."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from core.files import PROJECT
from core.queue.launcher import Finding, Standing
from core.runs import Run


class Shell:
    """Runs begin at once and end in any order."""

    def submit(self, runs: Sequence[Run], pack: int = 1) -> None:
        """Train all runs to their end."""
        for run in runs:
            subprocess.run([sys.executable, "-m", "core.training", str(run.path)], cwd=PROJECT, check=True)

    def look(self, runs: Sequence[Run]) -> Mapping[str, Standing]:
        """None of them waits."""
        return {run.id: Standing("gone") for run in runs}

    def stop(self, run: Run) -> None:
        """Ask it to stop."""
        run.mark("stop")

    def check(self, root: Path) -> Iterator[Finding]:
        """A shell is always there."""
        yield Finding(True, "there is a shell")
''',
    )
    house.insert("core/queue/launcher.py", '    "slurm": "slurm.Slurm",', '    "shell": "shell.Shell",\n')
    house.insert("core/queue/settings.py", "    slurm: Slurm | None", "    shell: Slurm | None = None\n")
    house.insert("app/kit/launchers.py", '    "slurm": "Slurm",\n', '    "shell": "A shell",\n')
    settings = Path(os.environ["MACL_LAUNCHERS"])
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("[shell]\n")
    assert "there is a shell" in house.macl("launcher", "check", "shell")
    printed = house.macl(
        "train", "--dataset", "folder", "--data-root", str(tiny), "--preset", "instant", "--image-size", "32",
        "--batch-size", "16", "--epochs", "1", "--queue", "--launcher", "shell",
        "--run-root", str(house.folder / "runs"),
    )  # fmt: skip
    assert (Path(printed.split()[-1]) / "scores.json").is_file()
    code = """
from tests.components import open_page
print([group.options for group in open_page("train").button_group if group.key == "launcher"])
"""
    assert house.python(code).split("\n")[-2] == "[['This machine', 'A shell']]"
