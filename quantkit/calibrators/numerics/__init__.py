"""What several calibrators compute with: KL divergence, rounding error, one-dimensional search.

Pure functions over counts.
May import ``core`` alone.
"""
