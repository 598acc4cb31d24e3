"""The conversion stage: converts ranges between caches, dynamic ranges, TensorsData, runs and Q/DQ models.

It starts in ``stage``; the other modules read a source and match it with a model.
May import what every stage may; see ``quantkit.pipeline``.
"""
