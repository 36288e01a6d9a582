"""Losses, data, training, retrieval and metrics; imported by the app and the command line alike."""

import os

# Must be set before torch loads OpenMP. Its threads spin while they wait; where cores are shared (with a
# browser, another run) training then takes many times as long. Measured: 165 steps of a head in 25 s spinning
# and 3.4 s passive, with three other processes on two cores; the same speed when nothing else runs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
