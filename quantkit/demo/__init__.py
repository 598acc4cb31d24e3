"""The embedded demo: a small set of handwritten digits and a model trained on it.

``write.py`` makes a folder of it that works with every verb.
May import ``core`` alone.
"""
