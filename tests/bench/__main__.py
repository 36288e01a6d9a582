"""All benchmarks, each in a process of its own: `make bench`. Exit code 1 if a bar is missed.

`python -m tests.bench --smoke` only goes through all of them, in a minute or two.
"""

import subprocess
import sys

BENCHES = (
    "losses",
    "mechanism",
    "metrics",
    "prepare",
    "step",
    "gpu",
    "demo",
    "retrieval",
    "embeddings",
    "pages",
    "many_runs",
    "quickstart",
    "sensitivity",
    "same_loss",
)


def main() -> int:
    missed = []
    for name in BENCHES:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"tests.bench.{name}", *sys.argv[1:]]
        if subprocess.run(command, check=False).returncode:
            missed.append(name)
    print(f"bars missed in: {', '.join(missed)}" if missed else "all bars held")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
