"""One abstraction over cuda, mps and cpu: which device, which precision, which memory layout."""

import ctypes
import platform
from functools import cache
from pathlib import Path

import torch

from core.errors import MaclError

PRECISIONS = ("auto", "bf16", "float32")


def resolve(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" takes the first available of cuda, mps, cpu.

    Args:
        name: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        MaclError: If this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise MaclError(
                f"the device {name} is not there (CUDA devices found: {count}): choose auto or cpu, "
                "or check the driver"
            )
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise MaclError("the device mps is not there (it needs an Apple GPU): choose auto or cpu")
    elif device.type != "cpu":
        raise MaclError(f"unknown device {name!r}: choose auto, cpu, cuda, cuda:1 or mps")
    return device


def alike(device: torch.device) -> list[str]:
    """Names of all available devices of this kind, by number: ["cuda:0", "cuda:1"], or ["cpu"]."""
    if device.type != "cuda":
        return [device.type]
    return [f"cuda:{index}" for index in range(max(1, torch.cuda.device_count()))]


def precision_of(device: torch.device, asked: str = "auto") -> str:
    """What `asked` ("auto", "bf16" or "float32") means on this device: "bf16" or "float32".

    "auto" is bf16 where it pays: on GPUs that have it, and on processors with AMX or AVX512-BF16
    instructions. Others emulate it, slower than float32.

    Raises:
        ValueError: If `asked` is none of the three.
        MaclError: If bf16 is asked for on a GPU without it.
    """
    if asked not in PRECISIONS:
        raise ValueError(f"need a precision of {', '.join(PRECISIONS)}, got {asked!r}")
    if asked == "float32":
        return "float32"
    if device.type == "cuda":
        supported = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
        if asked == "bf16" and not supported:
            raise MaclError(f"the device {device} cannot compute in bf16: choose the precision float32")
        return "bf16" if supported else "float32"
    if asked == "bf16":
        return "bf16"
    return "bf16" if device.type == "cpu" and _cpu_has_bf16() else "float32"


def autocast(device: torch.device, precision: str = "auto") -> torch.autocast:
    """Context for the encoder; the loss belongs outside it (z @ z.T would become bfloat16)."""
    enabled = precision_of(device, precision) == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def memory_format(device: torch.device) -> torch.memory_format:
    """Layout of images and convolutions: channels-last where the device's kernels prefer it.

    oneDNN on a CPU does (in float32 too; depthwise convolutions are several times faster), so do the tensor
    cores of CUDA; mps does not.
    """
    onednn = device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    prefers = device.type == "cuda" or onednn
    return torch.channels_last if prefers else torch.contiguous_format


def runs_ahead(device: torch.device) -> bool:
    """Whether the program goes on while the device computes, and waits only when it reads a value."""
    return device.type != "cpu"


def give_back_memory() -> None:
    """Return the GPU memory of freed tensors, so that other processes can have it."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor from main memory to the device, without waiting for CUDA; on the CPU the tensor itself.

    CUDA copies in the background only from pinned memory; otherwise it first waits for all earlier work. On
    mps a copy in the background may read memory that has been reused.
    """
    if device.type == "cuda" and torch.cuda.is_available():
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def describe(device: torch.device, precision: str = "auto") -> str:
    """For logs: "cpu, 2 threads, AMD EPYC, bf16" or "cuda:0, NVIDIA H200, bf16"."""
    computes_in = precision_of(device, precision)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return f"cuda:{index}, {torch.cuda.get_device_name(index)}, {computes_in}"
    if device.type == "mps":
        return f"mps, {platform.machine()}, {computes_in}"
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'s' if threads != 1 else ''}, {_cpu_name()}, {computes_in}"


@cache
def keep_memory() -> bool:
    """Let this process reuse the memory of freed tensors; returns whether that is possible here.

    glibc returns large blocks to the system at once and gets them back page by page, which took 10 to 60 % of
    a CPU step. With this the process stays as large as it ever was.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    m_trim_threshold, m_mmap_max = -1, -4  # <malloc.h>
    return bool(mallopt(m_mmap_max, 0) and mallopt(m_trim_threshold, 2**31 - 1))


@cache
def _cpu_has_bf16() -> bool:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")) and _onednn_has_bf16()


def _onednn_has_bf16() -> bool:
    """Whether oneDNN may use the processor's bf16 instructions: ONEDNN_MAX_CPU_ISA=AVX2 forbids it."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(available and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@cache
def has_amx() -> bool:
    """Whether the processor has AMX matrix instructions for bf16."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


@cache
def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
