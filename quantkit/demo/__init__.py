"""The embedded demo: a small set of handwritten digits and a model trained on it.

``write.py`` makes a folder of it that every verb works in.
May import ``core`` alone.
"""
