"""What a report says: figures, sentences and lists, as values.

Nothing here draws or writes HTML.
May import ``core``, ``gates``, ``measure`` and ``reports.wording``.
"""
