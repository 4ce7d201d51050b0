"""A wipe forgets no table: whatever carries a user's id goes, or stays with the account for a reason."""
from __future__ import annotations

from interactd.entities.wiping import TABLES
from tests.api_case import ApiCase

#: the account itself, its place in the company, its numbers (which never restart); `sessions` end with it
STAYS = {"user_roles", "group_members", "counters", "sessions", "device_moves"}


class Tables(ApiCase):
    """All tables of the schema."""

    async def test_every_table(self) -> None:
        """Named for wiping, or emptied with a table that is, or staying."""
        owned = {row[0] for row in self.sql("SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE a.attname = 'user_id' "
                                            "AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace")}
        cascades = self.sql("SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint "
                            "WHERE contype = 'f' AND confdeltype = 'c' AND confrelid <> 'users'::regclass")
        gone = set(TABLES)
        while more := {table for table, parent in cascades if parent in gone} - gone:
            gone |= more
        self.assertEqual(owned - gone - STAYS, set())
        self.assertEqual(set(TABLES) - owned, set())
        self.assertGreater(len(owned), 30)
