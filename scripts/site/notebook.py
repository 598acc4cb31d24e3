"""A notebook as a page: its text, its code, and the text that its cells put out."""

from __future__ import annotations

import json
from pathlib import Path


def notebook_page(path: Path) -> str:
    """Return the notebook as Markdown."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in _parts(cell)) + "\n"


def _parts(cell: dict) -> list[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    texts = ["".join(out.get("text", out.get("data", {}).get("text/plain", []))) for out in cell["outputs"]]
    return [f"```python\n{source}\n```", *(f"```text\n{text.rstrip()}\n```" for text in texts if text.strip())]
