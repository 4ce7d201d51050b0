"""What holds for the whole schema."""
from __future__ import annotations

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from tests.postgres import fresh_database

# A reference of several columns is not checked at all where one of them is NULL: so the owner's never may be.
OPEN_KEYS = """
SELECT c.conrelid::regclass::text, c.conname, a.attname FROM pg_constraint c CROSS JOIN unnest(c.conkey) k
  JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k
WHERE c.contype = 'f' AND cardinality(c.conkey) > 1 AND a.attname IN ('user_id', 'company_id') AND NOT a.attnotnull"""
OWNERLESS_KEYS = """
SELECT c.conrelid::regclass::text, c.conname FROM pg_constraint c
WHERE c.contype = 'f' AND cardinality(c.conkey) > 1 AND NOT EXISTS (SELECT 1 FROM unnest(c.conkey) k
  JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k AND a.attname IN ('user_id', 'company_id'))"""


class TenancyTests(SynchronousTestCase):
    """References between an owner's rows carry the owner (contract section 2)."""

    def setUp(self) -> None:
        self.connection = psycopg2.connect(fresh_database(self))
        self.addCleanup(self.connection.close)
        self.cursor = self.connection.cursor()

    def rows(self, sql: str) -> list[tuple[str, ...]]:
        """The rows of a statement."""
        self.cursor.execute(sql)
        return self.cursor.fetchall()

    def test_no_composite_key_has_an_owner_that_may_be_null(self) -> None:
        self.assertEqual(self.rows(OPEN_KEYS), [])
        self.assertEqual(self.rows(OWNERLESS_KEYS), [])

    def test_such_a_key_would_be_found(self) -> None:
        self.cursor.execute("CREATE TABLE leak (user_id bigint, contact_id bigint, "
                            "FOREIGN KEY (user_id, contact_id) REFERENCES contacts (user_id, id))")
        self.assertEqual(self.rows(OPEN_KEYS), [("leak", "leak_user_id_contact_id_fkey", "user_id")])
        self.cursor.execute("CREATE TABLE hole (a bigint NOT NULL, b bigint NOT NULL, FOREIGN KEY (a, b) REFERENCES contacts (user_id, id))")
        self.assertEqual(self.rows(OWNERLESS_KEYS), [("hole", "hole_a_b_fkey")])
