"""Reading ONNX graphs: one view of a graph, and one place for each fact about an operator.

Opens, checks and saves model files; changing a model belongs to ``transforms``.
May import ``core`` alone.
"""
