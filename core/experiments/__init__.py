"""Many runs with one purpose: sweeps, the live lab, benchmarks, recorded runs."""
