"""How figures are measured: intervals, paired tests, noise of outputs, latency, and the machine they belong to.

One kind of measurement, one file; what a figure means is the task's or ``core.figures``'.
May import ``core``, and ``targets`` for what a session is.
"""
