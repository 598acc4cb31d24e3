"""What a report draws: matplotlib's SVG, made fit for a page.

Takes values of ``reports.content``.
May import ``core``, ``measure`` and the rest of ``reports`` but its pages.
"""
