"""Changes to models: the preparation that every Q/DQ dialect starts from, and conversion to FP16.

Prepares for Q/DQ, equalizes channels, corrects biases, and converts to half precision.
May import ``core`` and ``graph``.
"""
