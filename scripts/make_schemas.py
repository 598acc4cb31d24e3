"""Writes docs/schemas: the JSON Schemas of what each verb prints with --json, and of quantkit.toml.

    python scripts/make_schemas.py [--check]

With --check nothing is written: exit code 1 if a schema is not what the code says.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from quantkit.cli.documents import DOCUMENTS
from quantkit.cli.init import DRAFT
from quantkit.config import Config

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "schemas"


def schemas() -> dict[str, str]:
    """Return the text of every schema by its file's name."""
    found = {f"{name}.json": kind.model_json_schema(mode="serialization") for name, kind in DOCUMENTS.items()}
    found["quantkit.toml.json"] = Config.model_json_schema()
    return {name: json.dumps({"$schema": DRAFT, **schema}, indent=1) + "\n" for name, schema in found.items()}


def main() -> int:
    """Write the schemas, or compare them."""
    wanted = schemas()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    if "--check" in sys.argv[1:]:
        stale = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
        print("\n".join(f"docs/schemas/{name} is stale" for name in stale))
        return int(bool(stale))
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
