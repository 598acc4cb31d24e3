"""The reference runtime: onnxruntime on the CPU.

Makes sessions, and computes every activation of a model and the outputs of its layers.
May import ``core``, ``graph`` and ``qdq``.
"""
