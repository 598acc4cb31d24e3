"""Measurements: accuracy with confidence intervals, fidelity to FP32, and latency as a distribution."""
