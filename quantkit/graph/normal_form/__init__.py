"""The form of a model that all of quantkit works on: sorted, without local functions, in FP32, with constant weights.

Each module rewrites one thing and says if it did. They import nothing but ``graph`` and ``core``.
"""
