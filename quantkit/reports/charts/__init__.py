"""The charts of a report, drawn as SVG in the colours of the page's style sheet.

They draw values of ``reports.content``.
May import ``core``, ``measure`` and the rest of ``reports`` but its pages.
"""
