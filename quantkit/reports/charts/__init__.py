"""The charts of a report: matplotlib's SVG, adapted to HTML pages.

They draw values of ``reports.content``.
May import ``core``, ``measure`` and the rest of ``reports`` but its pages.
"""
