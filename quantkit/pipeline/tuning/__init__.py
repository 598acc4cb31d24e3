"""The tuning stage: changes ranges, biases and exclusions until INT8 is accurate enough, and measures what each buys.

``stage`` opens and begins, ``search`` goes through ``ranges``, ``biases`` and ``floats``; ``bench`` measures, ``goals``
judges.
May import what every stage may; see ``quantkit.pipeline``.
"""
