"""TensorRT engines: built and run where TensorRT and a GPU are.

``library`` and ``cuda`` are the only way to the vendor's packages, which load when they are used.
May import ``core``, ``graph`` and ``targets.base``.
"""
