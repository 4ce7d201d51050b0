"""A daemon and a PostgreSQL of their own, to be killed: users, their phones and devices, and what is in the database."""
from __future__ import annotations

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks import ring
from benchmarks.processes import free_port
from interactd import cluster
from interactd.accounts import account_for, detached
from interactd.migrate import migrate
from tests.postgres import execute, roomy

ROOT = Path(__file__).resolve().parent.parent
SEED = """
INSERT INTO users (email) SELECT 'u' || g || '@example.org' FROM generate_series(1, {users}) g ORDER BY g;
INSERT INTO trigger_devices (user_id, device_id, salt, key_id, token_hash)
  SELECT id, 'phone-' || id, '', '', sha256(convert_to('tok-' || id, 'UTF8')) FROM users;
INSERT INTO devices (user_id, device_id, canonical) SELECT id, d, d FROM users, generate_series(0, {devices} - 1) n, concat('desk-', id, '-', n) d;
INSERT INTO sessions (user_id, token_hash, scope, expires_at)
  SELECT id, sha256(convert_to('session-' || id, 'UTF8')), 'device app', now() + interval '1 day' FROM users;
"""
# What takes minutes in earnest takes seconds here; the shares of one phone are as large as the load.
SETTINGS = {"LIMITS_EVENTS_PER_SECOND": "100000", "LIMITS_EVENTS_BURST": "100000", "LIVE_HEARTBEAT_EVERY": "1", "LIVE_BACKLOG_SECONDS": "1",
            "LIVE_PING_EVERY": "1", "LIVE_PING_TIMEOUT": "1", "LIVE_SWEEP_EVERY": "1", "LOG_LEVEL": "warn",
            "LIVE_UNAUTHENTICATED_PER_ADDRESS": "1000", "LIVE_REPLAY_MOST": "100000"}


class World:
    """Everything that can be broken."""

    def __init__(self, users: range, devices: int, nodes: int = 1) -> None:
        self.users = users
        self.home = Path(tempfile.mkdtemp(prefix="interactd-faults-", dir=roomy()))
        self.home.chmod(0o755)
        self.account = account_for("")
        self.layout = cluster.prepare(self.home / "pg", self.account)
        subprocess.run(detached(self.layout.initdb, self.account), env=self.layout.environment, check=True, stdout=subprocess.DEVNULL)
        self.layout.fresh.rename(self.layout.data)
        self.server = self._serve()
        execute(cluster.url(self.layout, "postgres", cluster.SUPERUSER), f"CREATE ROLE {cluster.ROLE} LOGIN CREATEDB")
        execute(cluster.url(self.layout, "postgres"), "CREATE DATABASE faults")
        self.dsn = cluster.url(self.layout, "faults")
        migrate(self.dsn)
        execute(self.dsn, SEED.format(users=len(users), devices=devices))
        with psycopg2.connect(self.dsn) as connection, connection.cursor() as cursor:
            ring.give(cursor, users)
        connection.close()
        ring.write(self.home / "keys")
        self.daemons: dict[int, subprocess.Popen[bytes]] = {}       # by port
        for _ in range(nodes):
            port = free_port()
            self.daemons[port] = self._start(port)
        atexit.register(self.close)

    def port(self) -> int:
        """The port of a node, the one or the other."""
        return random.choice(list(self.daemons))

    def session(self, user: int) -> str:
        """The token of a user's devices."""
        return f"session-{user}"

    def trigger(self, user: int) -> str:
        """The token of a user's phone."""
        return ring.trigger_token(user)

    def device(self, user: int, n: int) -> str:
        """The name of a user's device."""
        return f"desk-{user}-{n}"

    def places(self) -> dict[int, tuple[int, str]]:
        """Number and epoch of each user."""
        return {user: (seq, epoch) for user, seq, epoch in execute(self.dsn, "SELECT user_id, seq, epoch FROM counters")}

    def last_event(self) -> int:
        """The newest interaction."""
        return int(execute(self.dsn, "SELECT coalesce(max(id), 0) FROM interactions")[0][0])

    def stored(self, after: int) -> dict[int, list[tuple[int, int]]]:
        """Number and id of the interactions behind this one, by user."""
        found: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for user, seq, ident in execute(self.dsn, "SELECT user_id, created_seq, id FROM interactions WHERE id > %s ORDER BY created_seq", after):
            found[user].append((seq, ident))
        return found

    def restart(self, number: signal.Signals) -> None:
        """One of the daemons gets a signal, ends, and is started again."""
        port = self.port()
        self.daemons[port].send_signal(number)
        self.daemons[port].wait()
        self.daemons[port] = self._start(port)

    def restart_database(self, number: signal.Signals) -> None:
        """So does PostgreSQL."""
        os.kill(cluster.server_pid(self.layout.data) or self.server.pid, number)
        self.server.wait()
        self.server = self._serve()

    def close(self) -> None:
        """Nothing is left."""
        if not self.home.exists():
            return
        for daemon in self.daemons.values():
            daemon.kill()
            daemon.wait()
        os.kill(cluster.server_pid(self.layout.data) or self.server.pid, signal.SIGINT)
        self.server.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def _serve(self) -> subprocess.Popen[bytes]:
        server = subprocess.Popen(detached(self.layout.postgres, self.account), env=self.layout.environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _await(lambda: cluster.is_ready(self.layout.data), server)
        return server

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        environ = {f"INTERACTD_{name}": value for name, value in SETTINGS.items()}
        environ |= {"INTERACTD_DATABASE_URL": self.dsn, "INTERACTD_STATE_DIRECTORY": str(self.home / f"var-{port}"),
                    "INTERACTD_AUTH_TRIGGER_KEYS_FILE": str(self.home / "keys"), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile=", "interactd", "--listen",
                   str(port)]
        with open(self.home / "log", "ab") as log:
            daemon = subprocess.Popen(command, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _await(lambda: _listening(port), daemon)
        return daemon


def _listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


def _await(ready: Any, process: subprocess.Popen[bytes]) -> None:
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended")
        time.sleep(0.02)
