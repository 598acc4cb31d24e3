"""TensorRT's Q/DQ dialect: symmetric s8, placed so that the builder keeps its fusions.

``dialect`` states the rules; each of the other files implements one.
May import ``core``, ``graph``, ``transforms`` and ``qdq``. Nothing outside ``targets.tensorrt`` imports it.
"""
