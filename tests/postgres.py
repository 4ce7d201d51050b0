"""One real PostgreSQL per test process, and a freshly migrated database for every test that asks for one.

`INTERACTD_TEST_DSN` names another server to use instead (a role that may create databases).
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import TestCase

import psycopg2

from interactd import cluster
from interactd.accounts import account_for, detached
from interactd.migrate import migrate
from tests.leaks import folder, keep_files

_ROOM = 2 << 30         # the memory file system is used if it has this much left: fsync costs nothing there
_names = (f"interactd_test_{os.getpid()}_{number}" for number in itertools.count())

# The server ends with the test process however that dies: its standard input closes, and this shell stops PostgreSQL.
_GUARD = '"$@" </dev/null & child=$!; cat >/dev/null; kill -INT $child; wait $child'


class Server:
    """A PostgreSQL server, its address and a migrated database to copy."""

    def __init__(self, address: str, keeper: str | None = None) -> None:
        """`address` is a psycopg2 URL of a database of the server whose role may create databases.

        `keeper` is one whose role may also end an autovacuum worker, which otherwise keeps a database from being dropped.
        """
        self.address = address
        self.keeper = keeper or address
        self.template = next(_names)
        self._run(f"CREATE DATABASE {self.template}")
        migrate(self.url(self.template))

    def url(self, database: str) -> str:
        """The address of one of the server's databases."""
        front, _, query = self.address.partition("?")
        return f"{front.rpartition('/')[0]}/{database}" + (f"?{query}" if query else "")

    def empty(self) -> str:
        """The address of a new database with nothing in it."""
        name = next(_names)
        self._run(f"CREATE DATABASE {name}")
        return self.url(name)

    def copy(self) -> str:
        """The address of a new database, a copy of the migrated one."""
        name = next(_names)
        self._run(f"CREATE DATABASE {name} TEMPLATE {self.template}")
        return self.url(name)

    def drop(self, address: str) -> None:
        """Remove a database, whoever is still connected."""
        execute(self.keeper, f"DROP DATABASE IF EXISTS {address.partition('?')[0].rpartition('/')[2]} WITH (FORCE)")

    def _run(self, sql: str) -> None:
        execute(self.address, sql)


def execute(address: str, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Run one statement on its own connection and answer its rows."""
    connection = psycopg2.connect(address)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def _start() -> Server:
    elsewhere = os.environ.get("INTERACTD_TEST_DSN")
    if elsewhere:
        server = Server(elsewhere)
        atexit.register(server.drop, server.url(server.template))
        return server
    account = account_for("")
    home = Path(tempfile.mkdtemp(prefix="interactd-test-", dir=roomy()))
    home.chmod(0o755)
    layout = cluster.prepare(home / "pg", account)
    subprocess.run(detached(layout.initdb, account), env=layout.environment, check=True, stdout=subprocess.DEVNULL)
    layout.fresh.rename(layout.data)
    guarded = ["/bin/sh", "-c", _GUARD, "sh", *layout.postgres]
    process = subprocess.Popen(detached(guarded, account), env=layout.environment, stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder()
    atexit.register(_stop, process, home, layout.log, os.getpid())
    _await_ready(layout, process)
    keeper = cluster.url(layout, "postgres", cluster.SUPERUSER)
    execute(keeper, f"CREATE ROLE {cluster.ROLE} LOGIN CREATEDB")
    return Server(cluster.url(layout, "postgres"), keeper)


def roomy() -> str | None:
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM else None


def _await_ready(layout: cluster.Layout, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        if cluster.is_ready(layout.data):
            return
        time.sleep(0.02)
    raise RuntimeError("PostgreSQL did not start: " + "".join(f.read_text() for f in layout.log.iterdir()))


def _stop(process: subprocess.Popen[bytes], home: Path, log: Path, owner: int) -> None:
    if os.getpid() == owner:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        keep_files("postgresql.log", log)
        shutil.rmtree(home, ignore_errors=True)


_server: Server | None = None


def server() -> Server:
    """The server of this process, started at the first call."""
    global _server
    if _server is None:
        _server = _start()
    return _server


def fresh_database(case: TestCase | None = None) -> str:
    """The address (psycopg2 URL) of a migrated, empty database; dropped after `case`, or with the server at the end."""
    address = server().copy()
    if case is not None:
        case.addCleanup(server().drop, address)
    elif os.environ.get("INTERACTD_TEST_DSN"):
        atexit.register(server().drop, address)
    return address
