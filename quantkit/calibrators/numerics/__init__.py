"""Numerics that several calibrators share: KL divergence, rounding error, one-dimensional search.

Pure functions over counts.
May import ``core`` alone.
"""
