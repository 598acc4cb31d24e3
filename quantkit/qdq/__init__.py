"""Q/DQ pairs: what every dialect shares.

Where pairs go, how they get into a graph, and how scales are read out of one.
May import ``core``, ``graph``, ``transforms`` and ``formats``.
"""
