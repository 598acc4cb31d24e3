"""The content of a report as values: figures, sentences and lists.

Nothing here draws or writes HTML.
May import ``core``, ``gates``, ``measure`` and ``reports.wording``.
"""
