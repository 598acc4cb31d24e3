"""What every other package speaks of: frozen value types, errors, metrics, atomic files.

Values do no I/O; ``files.py`` and ``record.py`` write and read.
Imports nothing of quantkit but itself.
"""
