"""The stages, in order: calibrate, export, build, compare, report, gate; and convert.

Each takes values and returns values; ``run_directory.py`` and ``run_files.py`` keep them in a folder.
May import every package but ``cli``.
"""
