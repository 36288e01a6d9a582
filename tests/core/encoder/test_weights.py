"""Weights: shipped, from a file, downloaded; nothing in a file can run, nothing half right is taken."""

import contextlib
import hashlib
import os
import pickle
import urllib.error
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from core import runs
from core.data.prepared import cache_root
from core.encoder import weights as module
from core.encoder.model import build_backbone
from core.encoder.weights import load_weights, weights_key
from core.errors import MaclError
from core.training import loop
from tests.small_runs import config

SMALL = "mobilenetv3_small_050"


class Opens:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """A ResNet-18 as torchvision saves it, classifier included."""
    torch.manual_seed(7)
    return models.resnet18().state_dict()


@pytest.fixture(scope="module")
def untouched() -> nn.Module:
    return build_backbone("resnet18").network


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No server answers, and nothing was downloaded before."""

    def fail(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(module, "urlopen", fail)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    return tmp_path


def same(network: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


# -- the shipped weights ------------------------------------------------------------------------------------


def test_lite0_computes_what_the_shipped_tensors_compute():
    """To the last bit: the same tensors in order, and the same features as timm's own model with them."""
    shipped = torch.load(module._shipped(), weights_only=True)
    reference = timm.create_model("tf_efficientnet_lite0").eval()
    reference.load_state_dict(dict(zip(reference.state_dict(), shipped.values(), strict=True)))
    images = torch.rand(2, 3, 64, 64)
    for _ in range(2):  # converted, then read from the cache
        backbone = build_backbone("tf_efficientnet_lite0", "imagenet").eval()
        own = list(backbone.network.state_dict().values())
        assert len(own) == len(shipped) - 2
        assert all(torch.equal(a, b) for a, b in zip(own, shipped.values(), strict=False))
        with torch.inference_mode():
            expected = reference.forward_head(reference.forward_features(images), pre_logits=True)
            assert torch.equal(backbone.network(images), expected)
    assert len(list((cache_root() / "weights").glob("tf_efficientnet_lite0-*.safetensors"))) == 1


def test_a_damaged_conversion_is_made_again():
    build_backbone("tf_efficientnet_lite0", "imagenet")
    (converted,) = (cache_root() / "weights").glob("tf_efficientnet_lite0-*.safetensors")
    whole = converted.read_bytes()
    converted.write_bytes(whole[:1000])
    build_backbone("tf_efficientnet_lite0", "imagenet")
    assert converted.read_bytes() == whole


def test_another_shipped_file_is_not_taken_for_it(monkeypatch, tmp_path):
    shipped = torch.load(module._shipped(), weights_only=True)
    for name, content in {
        "short": dict(list(shipped.items())[:-1]),
        "shape": {k: v[..., :1] if k == "_conv_stem.weight" else v for k, v in shipped.items()},
    }.items():
        torch.save(content, tmp_path / f"{name}.pth")
        monkeypatch.setattr(module, "_shipped", lambda name=name: tmp_path / f"{name}.pth")
        with pytest.raises(MaclError, match=r"tensors, expected|_conv_stem.weight"):
            build_backbone("tf_efficientnet_lite0", "imagenet")


# -- a file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "encoder.backbone.network."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_fills_the_network_whatever_its_prefix(tmp_path, state, prefix, suffix):
    content = {prefix + key: value.clone() for key, value in state.items()}
    if prefix:
        content["head.layers.0.weight"] = torch.zeros(2)  # beside the backbone: not ours
    path = tmp_path / f"weights{suffix}"
    save_file(content, path) if suffix == ".safetensors" else torch.save(content, path)
    assert same(build_backbone("resnet18", str(path)).network, state)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_checkpoint_with_a_state_dict_inside(tmp_path, state, key):
    torch.save({"epoch": 3, key: state, "optimizer": {"lr": 0.1}}, tmp_path / "checkpoint.pt")
    assert same(build_backbone("resnet18", str(tmp_path / "checkpoint.pt")).network, state)


def test_older_files_without_batch_counts(tmp_path, state):
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "old.pth")
    assert same(build_backbone("resnet18", str(tmp_path / "old.pth")).network, state)


@pytest.mark.parametrize("where", ["value", "whole", "plain pickle"])
def test_code_in_a_file_is_not_run(tmp_path, untouched, where):
    made, path = tmp_path / "made", tmp_path / "hostile.pth"
    if where == "plain pickle":
        path.write_bytes(pickle.dumps(Opens(made)))
    else:
        torch.save(Opens(made) if where == "whole" else {"conv1.weight": Opens(made)}, path)
    with pytest.raises(MaclError, match="nothing in it was run"):
        load_weights(untouched, "resnet18", str(path))
    assert not made.exists()
    with contextlib.suppress(RuntimeError):  # "corrupt file?", it asks after running it
        torch.load(path, weights_only=False)
    assert made.exists(), "the file was harmless, and the test empty"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.pth", None, "no weights file"),
        ("empty.pth", b"", "damaged"),
        ("text.pt", b"not a file of tensors", "damaged"),
        ("text.safetensors", b"not a file of tensors", "not a readable safetensors file"),
        ("weights.h5", b"", "need .safetensors, .pth or .pt"),
    ],
)
def test_files_that_hold_no_weights(tmp_path, untouched, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(MaclError, match=message):
        load_weights(untouched, "resnet18", str(tmp_path / name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {}, "holds no tensors by name"),
        (lambda s: {"a": torch.zeros(1)}, r"no tensor for conv1.weight, bn1.weight, bn1.bias and \d+ more"),
        (lambda s: {k: v for k, v in s.items() if k != "bn1.bias"}, "no tensor for bn1.bias;"),
        (lambda s: {**s, "layer9.0.weight": torch.zeros(1)}, "it has also layer9.0.weight;"),
        (lambda s: {**s, "conv1.weight": torch.zeros(64, 3, 3, 3)}, r"conv1.weight \(64, 3, 3, 3\) instead"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, state, untouched, change, message):
    before = {key: value.clone() for key, value in untouched.state_dict().items()}
    torch.save(change(state), tmp_path / "other.pth")
    with pytest.raises(MaclError, match=message):
        load_weights(untouched, "resnet18", str(tmp_path / "other.pth"))
    assert same(untouched, before), "half of a file was taken"


# -- downloaded ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", SMALL])
def test_offline_is_one_sentence_with_the_ways_out(offline, name):
    with pytest.raises(MaclError) as caught:
        build_backbone(name, "imagenet")
    message = str(caught.value)
    assert "\n" not in message
    for part in (name, "not on this machine", "tf_efficientnet_lite0", "local weights file", "weights none"):
        assert part in message


def test_what_was_downloaded_before_needs_no_net(offline, monkeypatch, state):
    cached = offline / "hub" / "checkpoints"
    cached.mkdir(parents=True)
    torch.save(state, cached / module.TORCHVISION["resnet18"])
    assert same(build_backbone("resnet18", "imagenet").network, state)

    torch.manual_seed(1)
    small = timm.create_model(SMALL).state_dict()
    save_file(small, offline / "model.safetensors")
    found = lambda repository, file: str(offline / file) if SMALL in repository else None  # noqa: E731
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", found)
    assert same(build_backbone(SMALL, "imagenet").network, small)


def test_a_damaged_download_says_what_to_delete(offline):
    path = offline / "hub" / "checkpoints" / module.TORCHVISION["resnet18"]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half of it")
    with pytest.raises(MaclError, match=r"resnet18-f37072fd.pth is damaged: delete it"):
        build_backbone("resnet18", "imagenet")


def test_a_download_is_checked_and_kept(tmp_path, monkeypatch, state):
    served = tmp_path / "served"
    served.mkdir()
    torch.save(state, served / "weights.pth")
    digest = hashlib.sha256((served / "weights.pth").read_bytes()).hexdigest()[:8]
    good, bad = f"resnet18-{digest}.pth", "resnet18-00000000.pth"
    (served / good).write_bytes((served / "weights.pth").read_bytes())
    (served / bad).write_bytes((served / "weights.pth").read_bytes())
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setattr(module, "TORCHVISION_URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
        monkeypatch.setitem(module.TORCHVISION, "resnet18", bad)
        with pytest.raises(MaclError, match="invalid hash value"):
            build_backbone("resnet18", "imagenet")
        assert not (tmp_path / "hub" / "checkpoints" / bad).exists()
        monkeypatch.setitem(module.TORCHVISION, "resnet18", good)
        assert same(build_backbone("resnet18", "imagenet").network, state)
        assert (tmp_path / "hub" / "checkpoints" / good).is_file()
    finally:
        server.shutdown()
        server.server_close()


def test_the_table_of_files_is_torchvisions():
    for name, file in module.TORCHVISION.items():
        assert models.get_model_weights(name).DEFAULT.url == module.TORCHVISION_URL + file


def test_a_model_without_weights_of_its_own(monkeypatch):
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: None)
    with pytest.raises(MaclError, match="timm has no ImageNet weights"):
        module._from_timm(SMALL)


# -- keys ---------------------------------------------------------------------------------------------------


def test_the_key_follows_the_content(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"one")
    first = weights_key("resnet18", str(path))
    path.write_bytes(b"another")
    second = weights_key("resnet18", str(path))
    (tmp_path / "copy.pth").write_bytes(b"another")
    assert first != second == weights_key("resnet18", str(tmp_path / "copy.pth"))
    known = {weights_key(n, "imagenet") for n in ("resnet18", "resnet34", "tf_efficientnet_lite0", SMALL)}
    assert len(known | {weights_key("resnet18", "none")}) == 5
    with pytest.raises(MaclError, match="no weights file"):
        weights_key("resnet18", str(tmp_path / "gone.pth"))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "nothing", "name too long", "zero byte"])
def test_what_is_no_file_is_a_message_and_is_never_read(kind: str, tmp_path, untouched) -> None:
    path = tmp_path / "w.safetensors"
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "name too long":
        path = tmp_path / ("w" * 300)
    elif kind == "zero byte":
        path = tmp_path / "w\0"
    for ask in (
        lambda: weights_key("resnet18", str(path)),
        lambda: load_weights(untouched, "resnet18", str(path)),
    ):
        with pytest.raises(MaclError, match="give imagenet, none, or the path of a"):
            ask()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("trainable", ["head", "all"])
@pytest.mark.parametrize("weights", ["/dev/zero", "pipe", ""])
def test_a_run_with_weights_that_are_no_file_fails_in_one_sentence(
    weights: str, trainable: str, tiny, tmp_path
) -> None:
    if weights == "pipe":
        os.mkfifo(tmp_path / "pipe")
    given = weights if weights.startswith("/") else str(tmp_path / weights)
    run = runs.create(config(tiny, weights=given, trainable=trainable), tmp_path)
    assert loop.run(run.path) == "failed"
    assert run.error == f"{given} is no file: give imagenet, none, or the path of a .safetensors or .pth file"


def test_weights_that_were_written_over_are_others_though_time_and_size_are_the_same(tmp_path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"one")
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    first = weights_key("resnet18", str(path))
    path.write_bytes(b"two")
    os.utime(path, ns=times)
    assert weights_key("resnet18", str(path)) != first
