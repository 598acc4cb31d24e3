"""What is counted of activations: values that merge exactly, in any order.

Histograms, channel statistics, extents and moving averages, by tensor.
May import ``core`` alone.
"""
