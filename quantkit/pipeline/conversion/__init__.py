"""Ranges of one form in, another form out: caches, dynamic ranges, TensorsData, runs, Q/DQ models.

``stage`` is the way through; reading a source and matching it with a model are beside it.
May import what every stage may; see ``quantkit.pipeline``.
"""
