"""Q/DQ pairs: the parts that all dialects share.

Decides which nodes stay in floating point and where pairs go, inserts pairs into a graph, records metadata in a Q/DQ
file, and reads ranges out of one.
May import ``core``, ``graph``, ``transforms`` and ``formats``.
"""
