"""Daemons, a PostgreSQL and a Redis of their own, to be killed: users, their phones and devices, and what is in the database."""
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
from contextlib import suppress
from itertools import count
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


LISTENING = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND query ~ '^(LISTEN interactd|SELECT pg_notify)'"""


class Node:
    """A daemon at a port of its own."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.port = free_port()
        self._home = home
        self._environ = environ
        self._start()

    def restart(self, number: signal.Signals) -> None:
        """It gets a signal, ends, and is started again."""
        self._process.send_signal(number)
        self._process.wait()
        self._start()

    def freeze(self, frozen: bool) -> None:
        """It does nothing at all and does not know it, or goes on."""
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def kill(self) -> None:
        """It is gone."""
        self._process.kill()
        self._process.wait()

    def _start(self) -> None:
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "INTERACTD_STATE_DIRECTORY": str(self._home), **self._environ}
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile=", "interactd", "--listen",
                   str(self.port)]
        with open(f"{self._home}.log", "ab") as log:
            self._process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _await(lambda: _answers(self.port), self._process)


class Redis:
    """The bus, where it is not PostgreSQL."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self._command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(home)]
        self.start()

    def start(self) -> None:
        """It answers."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        _await(lambda: _answers(self.port), self._process)

    def kill(self) -> None:
        """It is gone."""
        self._process.kill()
        self._process.wait()

    def cut(self) -> None:
        """It hangs up on everybody."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(b"CLIENT KILL TYPE pubsub\r\nCLIENT KILL TYPE normal\r\n")
            connection.recv(100)


class World:
    """Everything that can be broken."""

    def __init__(self, users: range, devices: int, nodes: int = 1, bus: str = "postgresql") -> None:
        self.users = users
        self.home = Path(tempfile.mkdtemp(prefix="interactd-faults-", dir=roomy()))
        self.home.chmod(0o755)
        self.redis: Redis | None = None
        self.nodes: list[Node] = []
        self._turns = count()
        self.account = account_for("")
        self.layout = cluster.prepare(self.home / "pg", self.account)
        subprocess.run(detached(self.layout.initdb, self.account), env=self.layout.environment, check=True, stdout=subprocess.DEVNULL)
        self.layout.fresh.rename(self.layout.data)
        self.server = self._serve()
        atexit.register(self.close)
        execute(cluster.url(self.layout, "postgres", cluster.SUPERUSER), f"CREATE ROLE {cluster.ROLE} LOGIN CREATEDB")
        execute(cluster.url(self.layout, "postgres"), "CREATE DATABASE faults")
        self.dsn = cluster.url(self.layout, "faults")
        migrate(self.dsn)
        execute(self.dsn, SEED.format(users=len(users), devices=devices))
        with psycopg2.connect(self.dsn) as connection, connection.cursor() as cursor:
            ring.give(cursor, users)
        connection.close()
        ring.write(self.home / "keys")
        environ = {f"INTERACTD_{name}": value for name, value in SETTINGS.items()}
        environ |= {"INTERACTD_DATABASE_URL": self.dsn, "INTERACTD_AUTH_TRIGGER_KEYS_FILE": str(self.home / "keys")}
        if bus == "redis":
            self.redis = Redis(self.home)
            environ["INTERACTD_BUS_URL"] = f"redis://127.0.0.1:{self.redis.port}/0"
        for n in range(nodes):
            self.nodes.append(Node(self.home / f"node{n}", environ))

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

    def next_port(self) -> int:
        """Of the node whose turn it is, as a load balancer would say that looks after nobody's health."""
        return self.nodes[next(self._turns) % len(self.nodes)].port

    def anyone(self) -> Node:
        """One of the nodes."""
        return random.choice(self.nodes)

    def cut_bus(self) -> None:
        """The connections that carry hints are ended by the server."""
        if self.redis is not None:
            self.redis.cut()
        else:
            execute(self.dsn, LISTENING)

    def restart_database(self, number: signal.Signals) -> None:
        """PostgreSQL gets a signal, ends, and is started again."""
        os.kill(cluster.server_pid(self.layout.data) or self.server.pid, number)
        self.server.wait()
        self.server = self._serve()

    def close(self) -> None:
        """Nothing is left."""
        if not self.home.exists():
            return
        for process in (*self.nodes, *([self.redis] if self.redis is not None else [])):
            process.kill()
        os.kill(cluster.server_pid(self.layout.data) or self.server.pid, signal.SIGINT)
        self.server.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def _serve(self) -> subprocess.Popen[bytes]:
        server = subprocess.Popen(detached(self.layout.postgres, self.account), env=self.layout.environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _await(lambda: cluster.is_ready(self.layout.data), server)
        return server


def _answers(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    return False


def _await(ready: Any, process: subprocess.Popen[bytes]) -> None:
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended")
        time.sleep(0.02)
