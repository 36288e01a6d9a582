"""Every loss on every data set with every seed: one command, resumable, with one summary file.

The folder of a benchmark holds ordinary run folders and `summary.json`. What is finished there is not run
again, so the command may be killed and started any number of times, even several times at once.
"""

from core.experiments.benchmark.files import Benchmark, own, read, recorded
from core.experiments.benchmark.plan import ALL_METHODS, Method, Plan

__all__ = ["ALL_METHODS", "Benchmark", "Method", "Plan", "own", "read", "recorded"]
