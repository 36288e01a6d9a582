"""Pictures of embedding spaces: PCA, one over another, and UMAP from its own process, kept by content."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from core import projection
from core.background.process import MOST_DEATHS, Status
from core.errors import MaclError
from core.files import lock, unlock
from core.metrics import space
from core.projection import Step, Umap, store, worker
from core.projection.plane import carry


def clustered(n: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around four places of a sphere, and which of them each row is from."""
    dice = np.random.default_rng(seed)
    which = np.arange(n) % 4
    z = 4 * np.eye(16)[which] + 0.6 * dice.standard_normal((n, 16))
    return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32), which


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own, in which this process passes for the worker: none is started."""
    monkeypatch.setenv("MACL_CACHE", str(tmp_path))
    process = store.process()
    process.path.parent.mkdir(parents=True)
    process.file("json").write_text(json.dumps({"state": "running", "pid": os.getpid()}))
    assert lock(process.file("lock"))
    yield tmp_path
    unlock(process.file("lock"))


def nothing(done: int, total: int, what: str) -> None:
    """Nobody wants to know how it goes."""


def work_off(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Do what waits, with a stand-in for UMAP that says where it began; keys in their order."""
    done: list[str] = []

    def compute(step: dict[str, object], tell: object) -> None:
        z = store.input_array(str(step["z"]))
        done.append(str(step["key"]))
        store.keep(str(step["key"]), z[:, :2].astype(np.float32))

    monkeypatch.setattr(worker, "compute", compute)
    for _ in range(20):
        found = next(store.waiting(), None)
        if found is None:
            break
        worker.work(*found, nothing)
    return done


@pytest.mark.parametrize("dims", [2, 3])
def test_pca_equals_scikit_learn_but_for_the_sign_of_its_axes(dims: int) -> None:
    z, _ = clustered()
    mine, theirs = projection.pca(z, dims), PCA(dims).fit_transform(z.astype(np.float64))
    for axis in range(dims):
        sign = np.sign(mine[:, axis] @ theirs[:, axis])
        np.testing.assert_allclose(mine[:, axis], sign * theirs[:, axis], atol=1e-9)


def test_pca_of_too_few_dimensions_leaves_axes_empty() -> None:
    flat = projection.pca([[1.0], [2.0], [4.0]], 3)
    assert flat.shape == (3, 3)
    np.testing.assert_allclose(np.abs(flat[:, 0]), [4 / 3, 1 / 3, 5 / 3])
    assert not flat[:, 1:].any()
    assert projection.pca(np.zeros((0, 4)), 2).shape == (0, 2)


def test_align_undoes_a_turn_a_mirror_a_shift_and_a_scale() -> None:
    x = projection.align(np.random.default_rng(0).standard_normal((50, 2)))
    np.testing.assert_allclose((x**2).sum(1).mean(), 1)
    angle = 1.1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([1, -1])
    moved = 7 * x @ turn + [3, -8]
    np.testing.assert_allclose(projection.align(moved, x), x, atol=1e-9)


def test_align_goes_by_the_images_that_both_pictures_show() -> None:
    x = projection.align(np.random.default_rng(0).standard_normal((50, 3)))
    order = np.random.default_rng(1).permutation(50)[:30]
    mine = np.concatenate([np.full((5, 3), 9.0), 2 * x[order] + 1])  # five images that the other lacks
    origin = np.concatenate([np.full(5, -1), order])
    np.testing.assert_allclose(projection.align(mine, x, origin)[5:], x[order], atol=1e-9)
    alone = projection.align(mine, x, np.full(35, -1))
    np.testing.assert_allclose((alone**2).sum(1).mean(), 1)


def test_align_keeps_neighbours() -> None:
    dice = np.random.default_rng(0)
    x, other = dice.standard_normal((60, 2)), projection.align(dice.standard_normal((60, 2)))
    assert space.trustworthiness(x, projection.align(x, other)) == 1.0


def test_new_images_start_at_the_most_similar_one() -> None:
    z, _ = clustered(40)
    places = np.random.default_rng(0).standard_normal((40, 2))
    origin = np.arange(40)
    origin[7] = -1
    begin = carry(places, origin, z)
    assert begin is not None
    cosine = z @ z[7]
    cosine[7] = -np.inf
    np.testing.assert_array_equal(begin[7], places[cosine.argmax()])
    np.testing.assert_array_equal(np.delete(begin, 7, 0), np.delete(places, 7, 0))
    assert carry(places, np.full(40, -1), z) is None


def test_the_key_is_what_decides_the_picture() -> None:
    z, _ = clustered()
    first = Step(z, Umap())
    assert Step(z.copy(), Umap()).key == first.key
    origin = np.arange(len(z))
    others = [
        Step(z[::-1], Umap()),
        Step(z, Umap(seed=1)),
        Step(z, Umap(dims=3)),
        Step(z, Umap(n_neighbors=16)),
        Step(z, Umap(min_dist=0.2)),
        Step(z, Umap(), first, origin),
        Step(z, Umap(), first, origin[::-1]),
    ]
    assert len({step.key for step in [first, *others]}) == 8


@pytest.mark.usefixtures("cache")
def test_a_request_that_ends_between_two_looks() -> None:
    name = projection.request([Step(clustered()[0], Umap())])
    note = store.process().file("json")
    note.write_text(json.dumps({"pid": os.getpid(), "run": name, "what": "UMAP", "done": 3, "total": 9}))
    assert projection.progress(name) == Status("running", "UMAP", 3, 9)
    note.write_text(json.dumps({"pid": os.getpid(), "run": "another", "what": "UMAP", "done": 3, "total": 9}))
    assert projection.progress(name) == Status("running", "UMAP is starting")
    store._outcome(name).write_text('{"state": "done"}')  # said, and not yet taken away
    assert projection.progress(name).state == "done"
    store._outcome(name).write_text('{"state": "failed", "error": "no room"}')
    assert projection.progress(name).error == "no room"


@pytest.mark.parametrize("wrong", [{"dims": 4}, {"n_neighbors": 1}, {"n_neighbors": 201}, {"min_dist": 1.1}])
def test_parameters_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="need"):
        Umap(**wrong)  # type: ignore[arg-type]


def test_a_request_is_worked_off_in_order_and_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Step(clustered()[0], Umap())
    second = Step(clustered(seed=1)[0], Umap(), first, np.arange(120))
    assert projection.layout(first) is None
    name = projection.request([first, second])
    assert name
    assert projection.request([first, second]) == name
    assert projection.progress(name).state == "running"
    assert work_off(monkeypatch) == [first.key, second.key]
    assert projection.progress(name).state == "done"
    np.testing.assert_array_equal(projection.layout(second), second.z[:, :2])
    assert projection.request([first, second]) == ""  # nothing is computed again
    assert projection.request([Step(first.z.copy(), Umap())]) == ""
    assert work_off(monkeypatch) == []
    assert not list((cache / "projections" / "requests").glob("*.json"))


def test_the_newest_request_comes_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = (Step(clustered(seed=seed)[0], Umap()) for seed in (1, 2))
    projection.request([old])
    time.sleep(0.01)
    projection.request([new])
    assert work_off(monkeypatch) == [new.key, old.key]


def test_an_abandoned_request_is_dropped(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = projection.request([Step(clustered()[0], Umap())])
    monkeypatch.setattr(store, "ABANDONED", -1.0)
    assert work_off(monkeypatch) == []
    assert projection.progress(name).state == "none"


def test_what_goes_wrong_is_said_once_and_can_be_asked_for_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Step(clustered()[0], Umap())
    name = projection.request([step])

    def compute(step: dict[str, object], tell: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(worker, "compute", compute)
    found = next(store.waiting())
    worker.work(*found, nothing)
    assert projection.progress(name).state == "failed"
    assert "no room" in projection.progress(name).error
    assert next(store.waiting(), None) is None
    assert projection.request([step]) == name  # a page that is drawn anew
    assert next(store.waiting(), None) is None
    assert "no room" in projection.progress(name).error
    projection.retry(name)
    assert projection.request([step]) == name
    assert work_off(monkeypatch) == [step.key]


@pytest.mark.usefixtures("cache")
def test_a_layout_that_kills_its_process_is_given_up() -> None:
    first, second = (Step(clustered(seed=seed)[0], Umap()) for seed in (1, 2))
    name = projection.request([first, second])
    for _ in range(MOST_DEATHS - 1):
        worker.take_up(name)
    store.keep(first.key, first.z[:, :2])  # deaths count only if nothing came of it between them
    for _ in range(MOST_DEATHS - 1):
        worker.take_up(name)
    assert projection.progress(name).state == "running"
    worker.take_up(name)
    assert "died 3 times (killed" in projection.progress(name).error
    worker.take_up("a request that is gone")


def test_inputs_of_a_request_that_is_still_being_written_stay(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, step = (Step(clustered(seed=seed)[0], Umap()) for seed in (1, 2))
    name = projection.request([other])
    kept = cache / "projections" / "inputs" / f"{store._keep(step.z)}.npy"  # its request comes at the end
    long_ago = time.time() - store.ABANDONED / 2
    os.utime(kept, (long_ago, long_ago))
    store.drop(name)
    assert kept.exists()
    os.utime(kept, (0, 0))
    store.drop(name)
    assert not kept.exists()


@pytest.mark.parametrize("damage", ["empty", "cut off", "nan"])
def test_a_damaged_layout_is_computed_anew(cache: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    step = Step(clustered()[0], Umap())
    projection.request([step])
    assert work_off(monkeypatch) == [step.key]
    if damage == "nan":
        store.keep(step.key, np.full((120, 2), np.nan, np.float32))
    else:
        path = store._result(step.key)
        path.write_bytes(path.read_bytes()[:200] if damage == "cut off" else b"")
    assert projection.request([step])
    assert not projection.there(step)
    assert projection.layout(step) is None
    assert work_off(monkeypatch) == [step.key]
    assert projection.request([step]) == ""
    np.testing.assert_array_equal(projection.layout(step), step.z[:, :2])


@pytest.mark.parametrize("text", ["[1]", "{}", "7", "\0" * 80, '{"asked": 1.5, "steps": [{"z": 5}]}'])
def test_a_damaged_request_holds_up_no_other(text: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = projection.request([Step(clustered()[0], Umap())])
    (cache / "projections" / "requests" / "damaged.json").write_text(text)
    assert len(work_off(monkeypatch)) == 1
    assert projection.progress(name).state == "done"


def test_umap_that_ends_without_places_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.projection import fit

    def lost(self: object, z: np.ndarray) -> np.ndarray:
        return np.full((len(z), 2), np.nan)

    monkeypatch.setattr(fit.umap.UMAP, "fit_transform", lost)
    with pytest.raises(MaclError, match="gave no places"):
        fit.fit(clustered()[0], Umap(), None, print)


def test_what_umap_compiles_is_kept_for_the_next_process() -> None:
    from core.projection import fit

    slowest = (
        fit.umap.umap_.smooth_knn_dist,
        fit.umap.umap_.compute_membership_strengths,
        fit.umap.layouts._nb_optimize_layout_euclidean_single_epoch,
    )
    assert all(function.stats.cache_path for function in slowest)


def test_umap_in_its_own_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real UMAP, twice: equal coordinates from two processes, aligned runs, progress, the process ends.

    Among them a space of one place, a run that begins with its picture, and one that lacks an axis.
    """
    monkeypatch.setenv("MACL_PROJECT_IDLE_SECONDS", "0.5")
    z, which = clustered()
    first = Step(z, Umap(n_neighbors=10, seed=5))
    moved = (z + 0.05 * np.random.default_rng(8).standard_normal(z.shape)).astype(np.float32)
    second = Step(moved, first.umap, first, np.arange(len(z)))
    collapsed = Step(np.tile(z[:1], (len(z), 1)), first.umap)
    after = Step(z, first.umap, collapsed, np.arange(len(z)))
    angle = which * np.pi / 2 + np.linspace(0, 0.3, len(z))
    circle = Step(np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32), Umap(dims=3))
    steps = [first, second, collapsed, after, circle]
    layouts, places = [], (tmp_path / "one", tmp_path / "other")
    for place in places:  # both at the same time
        monkeypatch.setenv("MACL_CACHE", str(place))
        name = projection.request(steps)
    for place in places:
        monkeypatch.setenv("MACL_CACHE", str(place))
        said, deadline = set(), time.monotonic() + 250
        while (about := projection.progress(name)).state == "running":
            said.add(about.what)
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert about.state == "done", about.error
        assert place == places[1] or {"UMAP 1 of 5", "UMAP 2 of 5"} & said
        layouts.append([projection.layout(step) for step in steps])
        assert projection.request(steps) == ""
        deadline = time.monotonic() + 60
        while store.process().pid is not None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    for one, again in zip(*layouts, strict=True):
        np.testing.assert_array_equal(one, again)
    _, _, flat, unfolded, round_ = layouts[0]
    np.testing.assert_allclose(flat, np.zeros((len(z), 2)), atol=1e-6)
    assert space.trustworthiness(z, unfolded) > 0.85
    assert (np.ptp(round_, axis=0) > 0.1).all()
    x = projection.align(layouts[0][0])
    beside = projection.align(layouts[0][1], x)
    centres = [np.stack([picture[which == n].mean(0) for n in range(4)]) for picture in (x, beside)]
    apart = min(float(np.linalg.norm(a - b)) for i, a in enumerate(centres[0]) for b in centres[0][:i])
    assert np.linalg.norm(centres[0] - centres[1], axis=1).max() < apart / 2  # clusters stay where they were
    assert space.trustworthiness(z, x) > 0.85
