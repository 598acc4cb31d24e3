"""TensorRT engines, built and run on machines with TensorRT and a GPU.

Only ``library`` and ``cuda`` import the vendor's packages, which load when they are used.
May import ``core``, ``graph`` and ``targets.base``.
"""
