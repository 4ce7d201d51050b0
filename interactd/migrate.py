"""Bring a database to the schema this code needs, once, whichever of several nodes starts first."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from importlib import resources
from typing import Any, Iterator

import psycopg2
from attrs import frozen

from interactd.refusals import SchemaError

LOCK = 0x696E7465726163     # "interac": the advisory lock of whoever prepares a database

_KNOWN = "SELECT version, name, checksum FROM schema_versions ORDER BY version"
_CREATE = """CREATE TABLE IF NOT EXISTS schema_versions (
  version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"""
_EXISTS = "SELECT to_regclass('schema_versions') IS NOT NULL"
_APPLIED = "INSERT INTO schema_versions (version, name, checksum) VALUES (%s, %s, %s)"


@frozen
class Migration:
    """One file of interactd/schema."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> tuple[Migration, ...]:
    """All migrations of this code, in order."""
    folder = resources.files("interactd").joinpath("schema")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return tuple(Migration(int(f.name.partition("_")[0]), f.name, f.read_text(encoding="utf-8")) for f in files)


@contextmanager
def preparing(dsn: str) -> Iterator[Any]:
    """A psycopg2 connection that alone prepares the database; other nodes wait until it is closed."""
    try:
        connection = psycopg2.connect(dsn, application_name="interactd migrate")
    except psycopg2.OperationalError as failure:
        raise SchemaError(f"the database can not be opened: {str(failure).strip()}") from None
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        yield connection
    finally:
        connection.close()


def migrate(dsn: str, wanted: tuple[Migration, ...] | None = None) -> tuple[Migration, ...]:
    """Apply what is missing and answer it; SchemaError where the database is newer than the code or a file was changed."""
    with preparing(dsn) as connection:
        return apply(connection, wanted)


def apply(connection: Any, wanted: tuple[Migration, ...] | None = None) -> tuple[Migration, ...]:
    """The same on a connection from `preparing`, which goes on holding the lock."""
    missing = pending(connection, wanted)
    with connection.cursor() as cursor:
        cursor.execute(_CREATE)
        for migration in missing:
            try:
                cursor.execute("BEGIN")
                cursor.execute(migration.sql)
                cursor.execute(_APPLIED, (migration.version, migration.name, migration.checksum))
                cursor.execute("COMMIT")
            except psycopg2.Error as failure:
                cursor.execute("ROLLBACK")
                raise SchemaError(f"{migration.name} failed, nothing of it was kept: {str(failure).strip()}") from failure
    return missing


def pending(connection: Any, wanted: tuple[Migration, ...] | None = None) -> tuple[Migration, ...]:
    """What `apply` would do, without doing it."""
    ours = migrations() if wanted is None else wanted
    done = _applied(connection)
    for version, (name, checksum) in done.items():
        match = next((m for m in ours if m.version == version), None)
        if match is None:
            raise SchemaError(f"the database has schema {name}, but the newest this interactd knows is {ours[-1].name}: "
                              "start the newer interactd that made it")
        if match.checksum != checksum:
            raise SchemaError(f"{match.name} is not the text that made this database: start the interactd that did, "
                              "and put changes into a new migration")
    return tuple(m for m in ours if m.version not in done)


def _applied(connection: Any) -> dict[int, tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(_EXISTS)
        if not cursor.fetchone()[0]:
            return {}
        cursor.execute(_KNOWN)
        return {version: (name, checksum) for version, name, checksum in cursor.fetchall()}
