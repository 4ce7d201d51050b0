"""`python -m interactd.reference [FOLDER]` writes the generated documents, by default into docs/."""
from __future__ import annotations

import json
import sys
from pathlib import Path

from interactd.api.openapi import document
from interactd.calls import CALLS
from interactd.migrate import migrations
from interactd.reference.api_text import api_text
from interactd.reference.sql_text import sql_text
from interactd.reference.statements import statements


def documents() -> dict[str, str]:
    """Each document's text by its file's name."""
    described = document(CALLS)
    return {"api.md": api_text(described), "openapi.json": json.dumps(described, indent=1, ensure_ascii=False) + "\n",
            "sql.md": sql_text(statements(), migrations())}


def main() -> None:
    """Writes them."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    for name, text in documents().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
