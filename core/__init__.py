"""Losses, data, training, retrieval and metrics; imported by the app and the command line alike."""

import os

# Before torch loads OpenMP: its threads spin while they wait, and on a machine whose cores are shared (with a
# browser, another run) a training then takes many times as long. Measured: 165 steps of a head in 25 s
# spinning and 3.4 s passive, with three other processes on two cores; the same speed when nothing else runs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
