"""TensorRT for RTX, whose parser and builder need no GPU; skipped where it is not installed."""
