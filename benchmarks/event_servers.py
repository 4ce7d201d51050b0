"""Whom bench_event compares: interactd, the peers of this folder, and peers of another folder with a database of their own."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg2
from attrs import frozen
from psycopg2.extensions import parse_dsn

from benchmarks.processes import Command
from tests.postgres import execute, server

OURS, PEER = "interactd", "fastapi, same function"
PLENTY = {"EVENTS_PER_SECOND": "1000000", "EVENTS_BURST": "1000000", "WAITING_PER_USER": "10000"}
_GROWING = ("interactions", "event_keys", "activities", "changes")


@frozen
class Compared:
    """A server, the database it works on, and how the load speaks to it (an option of load.py)."""

    command: Command
    dsn: str
    speech: str = "interactd"

    def emptied(self) -> None:
        """What grows is empty again, so that every run starts alike."""
        found = execute(self.dsn, "SELECT string_agg(quote_ident(relname), ', ') FROM pg_class WHERE relkind = 'r' AND relname = ANY (%s)",
                        list(_GROWING))
        execute(self.dsn, f"TRUNCATE {found[0][0]} CASCADE")


def compared(dsn: str, state: str, peers: Path | None) -> dict[str, Compared]:
    """By name, ours first. The access log is off: no peer writes one."""
    twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile=", "interactd", "--listen", "{port}"]
    environ = {"INTERACTD_DATABASE_URL": dsn, "INTERACTD_STATE_DIRECTORY": f"{state}/var", "INTERACTD_AUTH_TRIGGER_KEYS_FILE": f"{state}/keys",
               "INTERACTD_LOG_ACCESS_SAMPLE": "0", **{f"INTERACTD_LIMITS_{k}": v for k, v in PLENTY.items()}}
    peer = [sys.executable, "-m", "benchmarks.peers.fastapi_events", "{port}", dsn]
    found = {OURS: Compared(Command(twistd, environ), dsn), PEER: Compared(Command([*peer, "intake"]), dsn),
             "fastapi, simple statement": Compared(Command([*peer, "simple"]), dsn)}
    return found if peers is None else found | _strangers(peers, state)


def _strangers(folder: Path, state: str) -> dict[str, Compared]:
    """Peers that answer the same path but keep tables of their own (FOLDER/schema.sql), on the same PostgreSQL."""
    dsn = server().empty()
    _load(dsn, (folder / "schema.sql").read_text())
    push = folder / "push"
    environ = {"PYTHONPATH": str(folder)}
    python = {"fastapi+asyncpg": ["e2e_fastapi.py", "{port}", dsn], "starlette tuned": ["e2e_fastapi.py", "{port}", dsn, "tuned"],
              "klein+txpostgres": ["e2e_klein.py", "{port}", dsn]}
    found = {name: Compared(Command([sys.executable, *words], environ, push), dsn, "bench") for name, words in python.items()}
    if subprocess.run(["node", "-e", "require('pg'); require('ws')"], cwd=push, capture_output=True).returncode == 0:
        said = parse_dsn(dsn)
        statement = subprocess.run([sys.executable, "-c", "import db; print(db.ONE_DOLLAR)"], cwd=folder, capture_output=True, text=True, check=True)
        sql = Path(state) / "one.sql"
        sql.write_text(statement.stdout)
        words = ["node", "e2e_node.js", "http", "{port}", said["host"], said["dbname"], said["user"], os.fspath(sql)]
        found["node http+pg"] = Compared(Command(words, {}, push), dsn, "bench")
    return found


def _load(dsn: str, script: str) -> None:
    """A script of whole lines of statements, VACUUM included, each committed by itself."""
    connection: Any = psycopg2.connect(dsn)
    connection.autocommit = True
    text = "\n".join(line.partition("--")[0] for line in script.splitlines())
    with connection.cursor() as cursor:
        for statement in filter(str.strip, text.split(";")):
            cursor.execute(statement)
    connection.close()
