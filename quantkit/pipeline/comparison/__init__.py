"""The comparison stage: measures artifacts on evaluation data, and makes the rows of ``comparison.json``.

It prepares the candidates, evaluates them, times them, and makes rows.
May import what every stage may; see ``quantkit.pipeline``.
"""
