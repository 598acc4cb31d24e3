"""The embedded demo: a small set of handwritten digits and a model trained on it."""
