"""Migrations: once, in order, whole or not at all, and never on a database of a newer version."""

from __future__ import annotations

import threading

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from interactd.migrate import LOCK, Migration, migrate, migrations, pending, preparing
from interactd.refusals import SchemaError
from tests.postgres import execute, fresh_database, server

ONE = Migration(1, "0001_one.sql", "CREATE TABLE one (x int); INSERT INTO one VALUES (1)")
TWO = Migration(2, "0002_two.sql", "UPDATE one SET x = x + 1")


class MigrateTests(SynchronousTestCase):
    """`migrate` on an empty database."""

    def setUp(self) -> None:
        self.dsn = server().empty()
        self.addCleanup(server().drop, self.dsn)

    def refusal(self, *wanted: Migration) -> str:
        """Why these migrations are refused."""
        return str(self.assertRaises(SchemaError, migrate, self.dsn, wanted))

    def test_once_and_in_order(self) -> None:
        """Each is applied once; later ones when they are there."""
        self.assertEqual(migrate(self.dsn, (ONE,)), (ONE,))
        self.assertEqual(migrate(self.dsn, (ONE, TWO)), (TWO,))
        self.assertEqual(migrate(self.dsn, (ONE, TWO)), ())
        self.assertEqual(execute(self.dsn, "SELECT x FROM one"), [(2,)])

    def test_dry_run(self) -> None:
        """`pending` says what would be applied and changes nothing."""
        with preparing(self.dsn) as connection:
            self.assertEqual(pending(connection, (ONE, TWO)), (ONE, TWO))
        self.assertEqual(execute(self.dsn, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), [(0,)])

    def test_all_or_nothing(self) -> None:
        """A migration that fails leaves nothing behind; those before it stay."""
        broken = Migration(2, "0002_broken.sql", "CREATE TABLE two (x int); SELECT 1/0")
        self.assertIn("0002_broken.sql failed, nothing of it was kept: division by zero", self.refusal(ONE, broken))
        self.assertEqual(execute(self.dsn, "SELECT to_regclass('one')::text, to_regclass('two')::text"), [("one", None)])
        self.assertEqual(migrate(self.dsn, (ONE, TWO)), (TWO,))

    def test_newer_database(self) -> None:
        """A database of a newer version is refused in one sentence and left as it is."""
        migrate(self.dsn, (ONE, TWO))
        self.assertEqual(self.refusal(ONE), "the database has schema 0002_two.sql, but the newest this interactd knows is 0001_one.sql: "
                         "start the newer interactd that made it")
        self.assertEqual(execute(self.dsn, "SELECT count(*) FROM schema_versions"), [(2,)])

    def test_changed_file(self) -> None:
        """A migration that was changed after it had been applied is refused."""
        migrate(self.dsn, (ONE,))
        self.assertIn("0001_one.sql is not the text that made this database", self.refusal(Migration(1, ONE.name, ONE.sql + " ")))

    def test_two_nodes(self) -> None:
        """Of two nodes that start at once one waits until the other is done, and then has nothing to do."""
        results: list[tuple[Migration, ...]] = []
        other = threading.Thread(target=lambda: results.append(migrate(self.dsn, (ONE, TWO))))
        with preparing(self.dsn):
            other.start()
            waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = " \
                    "(SELECT oid FROM pg_database WHERE datname = current_database())"
            while execute(self.dsn, waits) == [(0,)]:
                self.assertTrue(other.is_alive(), "it did not wait")
        other.join()
        self.assertEqual(results, [(ONE, TWO)])
        self.assertEqual(migrate(self.dsn, (ONE, TWO)), ())

    def test_no_server(self) -> None:
        """A database that can not be opened is a refusal, not a traceback."""
        self.assertIn("can not be opened", str(self.assertRaises(SchemaError, migrate, self.dsn + "&connect_timeout=1&port=1")))


class SchemaTests(SynchronousTestCase):
    """The migrations of interactd."""

    def test_numbered(self) -> None:
        """They are numbered from 1 on, each differently, four digits and a name."""
        names = [migration.name for migration in migrations()]
        self.assertEqual(names[0][:4], "0001")
        self.assertEqual(len({name[:4] for name in names}), len(names))
        for name in names:
            self.assertRegex(name, r"^\d{4}_[a-z_]+\.sql$")

    def test_applied(self) -> None:
        """A fresh database has them all, under the lock that everybody takes."""
        dsn = fresh_database(self)
        self.assertEqual([row[0] for row in execute(dsn, "SELECT name FROM schema_versions ORDER BY version")], [m.name for m in migrations()])
        self.assertEqual(migrate(dsn), ())
        with preparing(dsn):
            self.assertEqual(execute(dsn, "SELECT pg_try_advisory_lock(%s)", LOCK), [(False,)])
        self.assertEqual(execute(dsn, "SELECT pg_try_advisory_lock(%s)", LOCK), [(True,)])

    def test_copies_are_separate(self) -> None:
        """What one test writes no other test sees."""
        one, other = fresh_database(self), fresh_database(self)
        execute(one, "INSERT INTO companies (name) VALUES ('x')")
        self.assertEqual(execute(other, "SELECT count(*) FROM companies"), [(0,)])

    def test_dropped(self) -> None:
        """A database is gone after its test, even if somebody is still connected."""
        dsn = server().copy()
        connection = psycopg2.connect(dsn)
        self.addCleanup(connection.close)
        server().drop(dsn)
        self.assertRaises(psycopg2.OperationalError, psycopg2.connect, dsn)
