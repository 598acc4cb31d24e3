"""A Q/DQ model computed layer by layer, so that any part of its rounding can be left out or changed.

``differences`` reads what a Q/DQ model rounds, ``units`` says whose rounding it is, ``segments`` divides the
floating-point model where something is rounded, and ``simulation`` runs the segments.
May import everything below ``pipeline``.
"""
