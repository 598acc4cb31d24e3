"""The command line: one file a verb.

Each parses its options, calls the pipeline, and prints; ``main.py`` lists the verbs and ``options.py`` what they share.
May import everything, but only inside functions, so that ``--help`` is quick.
"""
