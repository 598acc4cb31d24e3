"""Graphs that several test modules build, and what they look at in quantized ones."""
