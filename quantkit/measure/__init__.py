"""Accuracy with intervals, fidelity to FP32, latency as a distribution."""
