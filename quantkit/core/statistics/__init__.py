"""The statistics of activations, which merge exactly and in any order.

Histograms, channel statistics, extents and moving averages, by tensor.
May import ``core`` alone.
"""
