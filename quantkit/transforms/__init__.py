"""Models in, models out: what every Q/DQ dialect starts from, and FP16.

Preparing for Q/DQ, equalizing channels, correcting biases, converting to half precision.
May import ``core`` and ``graph``.
"""
