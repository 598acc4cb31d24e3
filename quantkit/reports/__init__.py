"""What people read about a run: an HTML page, a Markdown summary, a JUnit file, annotations in CI.

``content/`` decides what is said, ``charts/`` draws, and the files here write a format each.
May import ``core``, ``graph``, ``gates``, ``measure`` and ``tasks``.
"""
