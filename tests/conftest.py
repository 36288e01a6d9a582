"""Where tests find the real archives and the golden values."""

import os
import shutil
import signal
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import core  # noqa: F401  before torch: it tells OpenMP not to spin

# Beside other workers each has one core, and so have the processes that it starts: on a core of which another
# wants half, two threads that wait for each other take four to seven times the time of the processor.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# How fast examples come says how busy the machine is, and nothing of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Under nohup all children would ignore a hangup, also where a test is about one.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

ROOT = Path(__file__).resolve().parent.parent
GOLDENS = Path(__file__).resolve().parent / "goldens"


@pytest.fixture(scope="session")
def archives() -> Path:
    """The folder with DLRSD.zip, AID_multilabel.zip and WHDLD.zip; skips where the person has none."""
    folder = os.environ.get("MACL_TEST_ARCHIVES")
    if not folder:
        pytest.skip(
            "set MACL_TEST_ARCHIVES to the folder that holds DLRSD.zip, AID_multilabel.zip and WHDLD.zip"
        )
    assert (Path(folder) / "DLRSD.zip").is_file(), f"MACL_TEST_ARCHIVES={folder} holds no DLRSD.zip"
    return Path(folder)


@pytest.fixture(scope="session")
def goldens() -> Path:
    return GOLDENS


@pytest.fixture(autouse=True)
def _own_cache(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Tests never read or fill the person's own cache and data: one shared folder for a test session."""
    home = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("MACL_CACHE", str(home / "cache"))
    # one per test: a data set that one test downloads must not be found by another
    own = sha256(request.node.nodeid.encode()).hexdigest()[:16]  # names of tests may be too long for a folder
    monkeypatch.setenv("MACL_DATA_ROOT", str(home / "data" / own))
    monkeypatch.setenv("MACL_LOSSES", str(home / "losses" / own))
    monkeypatch.setenv("MACL_LAUNCHERS", str(home / "launchers" / own))  # none is set up


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's own folder: 160 drawn scenes of 48 pixels and a table of their labels."""
    from PIL import Image

    from assets.demo import draw as demo

    folder = tmp_path_factory.mktemp("tiny")
    lines = ["image," + ",".join(demo.CLASSES)]
    for index in range(160):
        image, labels = demo.draw(index, size=48)
        Image.fromarray(image).save(folder / f"scene{index:03d}.png")
        lines.append(f"scene{index:03d}.png," + ",".join(map(str, labels)))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def trained_runs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run root with two instant runs on `tiny`, MulSupCon and MACL, as they were trained."""
    from core import runs
    from core.training import loop

    home = tmp_path_factory.getbasetemp() / "home"
    root = tmp_path_factory.mktemp("trained") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", str(home / "cache"))
        for loss in ("mulsupcon", "macl"):
            config = runs.RunConfig.build(
                "instant",
                dataset="folder",
                data_root=str(tiny),
                loss=loss,
                image_size=32,
                batch_size=16,
                epochs=2,
            )
            assert loop.run(runs.create(config, root).path) == "finished"
    return root


@pytest.fixture(scope="session")
def finished_runs(trained_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same two with embeddings made by hand, MACL's the better ones; copy it before changing it."""
    from core import runs
    from tests.small_runs import by_hand

    root = tmp_path_factory.mktemp("finished") / "runs"
    shutil.copytree(trained_runs, root)
    for run in runs.list_runs(root):
        by_hand(run, *((3.0, 1) if run.config.loss == "macl" else (5.0, 2)))
    return root


@pytest.fixture(scope="session")
def other_seed(trained_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as MulSupCon's but for its seed, and so its test split; its way is saved. By hand too."""
    from core import runs
    from core.training import loop
    from tests.small_runs import by_hand

    config = next(run.config for run in runs.list_runs(trained_runs) if run.config.loss == "mulsupcon")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", str(tmp_path_factory.getbasetemp() / "home" / "cache"))
        changed = config.model_copy(update={"seed": 1, "embed_every": 1, "epochs": 3})
        run = runs.create(changed, tmp_path_factory.mktemp("seed"))
        assert loop.run(run.path) == "finished"
    by_hand(run, 5.0)
    return run.path


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A run root whose workers, and those of its lab, are gone after the test."""
    from core.experiments import lab
    from core.queue import launch

    yield tmp_path / "runs"
    for place in (tmp_path / "runs", lab.folder(tmp_path / "runs")):
        for about in launch.workers(place).values():
            os.kill(int(str(about["pid"])), signal.SIGKILL)
