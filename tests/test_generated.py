"""The documents that are written from the code are those of this code."""
from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from interactd.migrate import migrations
from interactd.reference.__main__ import documents
from interactd.reference.sql_text import functions
from interactd.reference.statements import statements

DOCS = Path(__file__).parent.parent / "docs"


class Generated(TestCase):
    """docs/api.md, docs/openapi.json, docs/sql.md."""

    def test_fresh(self) -> None:
        """Each is what `python -m interactd.reference` writes now."""
        stale = [name for name, text in documents().items() if not (DOCS / name).exists() or (DOCS / name).read_text(encoding="utf-8") != text]
        self.assertEqual(stale, [], "python -m interactd.reference writes them anew")

    def test_statements(self) -> None:
        """Constants, those of entities, and those that only a call's function knows are all found."""
        names = [s.name for s in statements()]
        for name in ("take", "notes_insert", "contact_notes_piece", "users_there", "wipe_notes"):
            self.assertIn(name, names)

    def test_names(self) -> None:
        """A name means one statement: it is prepared under it."""
        names = [s.name for s in statements()]
        self.assertEqual(sorted({name for name in names if names.count(name) > 1}), [])

    def test_functions(self) -> None:
        """All functions of the schema are found."""
        made = sum(m.sql.count("CREATE FUNCTION ") - m.sql.count("DROP FUNCTION ") for m in migrations())
        self.assertEqual(len(functions(migrations())), made)
