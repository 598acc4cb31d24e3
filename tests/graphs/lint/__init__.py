"""Every graph for the linter by its name, with the rules that it breaks and the node at fault."""

from __future__ import annotations

from tests.graphs.lint import places, sound, values

CASES = sound.CASES | values.CASES | places.CASES
