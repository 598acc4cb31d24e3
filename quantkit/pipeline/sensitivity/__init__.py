"""The sensitivity stage: what each layer's rounding costs by itself, and makes ``sensitivity.json`` of it.

``stage`` opens and simulates, ``losses`` measures.
May import what every stage may; see ``quantkit.pipeline``.
"""
