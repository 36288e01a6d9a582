"""Many runs with one purpose: sweeps, the live lab, benchmarks, what comes with the product."""
