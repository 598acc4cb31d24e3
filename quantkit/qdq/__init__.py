"""Q/DQ pairs: what every dialect shares.

Which nodes stay in floating point, where pairs go and how they get into a graph; what a Q/DQ file says of itself, and
how ranges are read out of one.
May import ``core``, ``graph``, ``transforms`` and ``formats``.
"""
