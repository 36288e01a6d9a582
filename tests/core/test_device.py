"""Devices and precisions: what is asked for, what is there, and what a log says about it."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from core import device as devices
from core.errors import MaclError


@pytest.fixture
def capable(monkeypatch):
    """Sets what the processor can do."""

    def set_to(**able: bool) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
        monkeypatch.setattr("platform.machine", lambda: "x86_64")
        monkeypatch.setattr(devices, "_onednn_has_bf16", lambda: True)
        devices._cpu_has_bf16.cache_clear()

    yield set_to
    monkeypatch.undo()
    devices._cpu_has_bf16.cache_clear()


def test_the_cpu_is_always_there_and_auto_takes_the_best():
    assert devices.resolve("cpu") == torch.device("cpu")
    there = (torch.cuda.is_available() and "cuda") or (torch.backends.mps.is_available() and "mps") or "cpu"
    assert devices.resolve("auto").type == there


@pytest.mark.parametrize("name", ["cuda:77", "gpu", "meta", "cuda:x", ""])
def test_a_device_that_is_not_there_is_one_sentence(name):
    with pytest.raises(MaclError, match="choose auto") as caught:
        devices.resolve(name)
    assert name in str(caught.value)


def test_missing_gpus_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(MaclError, match="CUDA devices found: 0"):
        devices.resolve("cuda")
    with pytest.raises(MaclError, match="Apple"):
        devices.resolve("mps")
    assert devices.resolve("auto").type == "cpu"


@pytest.mark.parametrize(
    ("able", "expected"),
    [({"amx_bf16": True}, "bf16"), ({"avx512_bf16": True}, "bf16"), ({"avx512_f": True}, "float32")],
)
def test_auto_is_bf16_only_where_the_processor_computes_it(capable, able, expected):
    capable(**able)
    cpu = torch.device("cpu")
    assert devices.precision_of(cpu) == expected
    assert devices.precision_of(cpu, "float32") == "float32"
    assert devices.precision_of(cpu, "bf16") == "bf16"
    with devices.autocast(cpu):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if expected == "bf16" else torch.float32)


def test_auto_is_float32_where_the_kernels_may_not_use_what_the_processor_has():
    asks = "import torch; from core import device; print(device.precision_of(torch.device('cpu')))"
    limited = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", asks], capture_output=True, text=True, env=limited, check=True
    )
    assert done.stdout == "float32\n"


def test_bf16_on_a_gpu_without_it_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    cuda = torch.device("cuda")
    assert devices.precision_of(cuda) == "float32"
    with pytest.raises(MaclError, match="precision float32"):
        devices.precision_of(cuda, "bf16")


def test_what_is_on_its_device_is_sent_nowhere():
    tensor = torch.arange(3)
    assert devices.send(tensor, torch.device("cpu")) is tensor
    assert not devices.runs_ahead(torch.device("cpu"))
    assert devices.runs_ahead(torch.device("cuda"))


def test_an_unknown_precision_is_a_programming_error():
    with pytest.raises(ValueError, match="need a precision"):
        devices.precision_of(torch.device("cpu"), "fp8")


def test_layouts():
    assert devices.memory_format(torch.device("cuda")) == torch.channels_last
    assert devices.memory_format(torch.device("mps")) == torch.contiguous_format


def test_a_log_line_names_threads_processor_and_precision():
    line = devices.describe(torch.device("cpu"), "float32")
    assert line.startswith(f"cpu, {torch.get_num_threads()} thread")
    assert line.endswith(", float32")
    assert len(line.split(", ")) == 4


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_kept_memory_is_not_fetched_again_page_by_page():
    code = """
import resource, torch
from core.device import keep_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(4_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
torch.ones(4_000_000)
without = faults()
assert keep_memory()
faults()
print(without, faults())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    without, kept = map(int, done.stdout.split())
    assert without > 100
    assert kept < without / 10
