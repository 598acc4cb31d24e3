"""The calibration stage: makes ``calibration.json`` from a model and data.

It starts in ``stage``; the other modules are the pass, its workers, checkpoints, shards and Ray.
May import what every stage may; see ``quantkit.pipeline``.
"""
