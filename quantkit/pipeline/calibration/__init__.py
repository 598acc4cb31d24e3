"""Model and data in, ``calibration.json`` out.

``stage`` is the way through; one pass, its workers, checkpoints, shards and Ray are beside it.
May import what every stage may; see ``quantkit.pipeline``.
"""
