"""Artifacts and evaluation data in, the rows of ``comparison.json`` out.

Prepare the candidates, evaluate them, time them, and write rows.
May import what every stage may; see ``quantkit.pipeline``.
"""
