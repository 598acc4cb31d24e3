"""ONNX graphs as they are read: one view of a graph, and each fact about an operator once.

Opening, checking and saving model files belongs here; changing a model belongs to ``transforms``.
May import ``core`` alone.
"""
