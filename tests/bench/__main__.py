"""All benchmarks, each in a process of its own: `make bench`. Exit code 1 if a bar is missed.

At the end one table of all figures beside their bars, which `--to FILE` (default: bench.json) keeps as JSON
with the facts of the machine; it is written anew after each benchmark, so that what was measured outlives an
interruption. `python -m tests.bench --smoke` only goes through all of them, in a minute or two, and writes
nothing unless told where.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from core.background.cores import cores
from core.files import write_atomic
from core.report import aligned
from tests.bench import FIGURES, SMOKE

BENCHES = (
    "losses",
    "mechanism",
    "metrics",
    "prepare",
    "bands",
    "bigearthnet",
    "step",
    "cached",
    "gpu",
    "demo",
    "retrieval",
    "archive",
    "archive_page",
    "archive_embed",
    "embeddings",
    "pages",
    "many_runs",
    "scale",
    "quickstart",
    "sensitivity",
    "same_loss",
    "mirror",
)


COLUMNS = ("benchmark", "name", "value", "unit", "bar", "met")


def facts() -> dict[str, Any]:
    """What a figure depends on beside the program."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),  # before the first benchmark
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "date": time.strftime("%Y-%m-%d %H:%M:%S%z"),
    }


def run(name: str, options: list[str]) -> tuple[list[dict[str, Any]], bool]:
    """The figures of one benchmark, and whether it has ended well."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.jsonl"
        command = [sys.executable, "-m", f"tests.bench.{name}", *options]
        code = subprocess.run(command, check=False, env={**os.environ, FIGURES: str(file)}).returncode
        figures = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    about = {
        "benchmark": name,
        "command": " ".join(["python", *command[1:]]),
        "load_after": os.getloadavg()[0],
    }
    return [about | figure for figure in figures or [{"name": "see above"}]], code == 0


def table(figures: list[dict[str, Any]]) -> str:
    """All figures beside their bars."""
    words = {True: "yes", False: "NO", None: ""}
    lines = [list(COLUMNS)]
    for figure in figures:
        value = f"{figure['value']:.4g}" if "value" in figure else ""
        texts = [str(figure.get(key, "")) for key in ("unit", "bar")]
        lines.append([figure["benchmark"], figure["name"], value, *texts, words[figure.get("met")]])
    return aligned(lines, left=2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=None if SMOKE else Path("bench.json"))
    given, options = parser.parse_known_args()
    about, figures, missed = facts(), [], []
    for name in BENCHES:
        print(f"== {name}", flush=True)
        measured, well = run(name, options)
        figures += measured
        missed += [] if well else [name]
        if given.to:
            whole = {"machine": about, "smoke": SMOKE, "missed": missed, "figures": figures}
            write_atomic(given.to, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    print(f"\n{table(figures)}\n")
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(f"bars missed in: {', '.join(missed)}" if missed else "all bars held")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
