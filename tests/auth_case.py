"""A migrated database, accounts in it, and everything of interactd.auth put together on a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from interactd.auth.credentials import Credentials
from interactd.auth.passwords import Passwords, hash_password, hasher_for
from interactd.auth.sessions import Login, Sessions
from interactd.auth.throttle import Throttle
from interactd.changes import Hub
from interactd.config import Auth, Config, Limits, State
from interactd.db import Database
from interactd.errors import ApiError
from tests.postgres import execute, fresh_database

CHEAP = Auth(argon2_memory_kib=64, argon2_time_cost=1)
ADDRESS = "192.0.2.1"
PASSWORD = "correct horse"


class Counting(PasswordHasher):
    """A hasher that keeps the hashes it was asked to verify against, and calls `begun` on the reactor thread before it does."""

    def __init__(self, auth: Auth) -> None:
        plain = hasher_for(auth)
        super().__init__(plain.time_cost, plain.memory_cost, plain.parallelism)
        self.verified: list[Any] = []
        self.begun: Callable[[], None] | None = None

    def verify(self, hash: Any, password: Any) -> Any:
        self.verified.append(hash)
        if self.begun is not None:
            reactor.callFromThread(self.begun)
        return super().verify(hash, password)


class Node:
    """One process of interactd: what it has in memory, on the case's database and clock."""

    def __init__(self, case: AuthCase) -> None:
        self.hub = Hub()
        self.throttle = Throttle(case.config.auth.login_attempts, case.config.auth.login_window)
        self.credentials = Credentials(case.db, case.passwords, self.throttle, case.clock.seconds)
        self.sessions = Sessions(case.db, self.hub, self.credentials, case.config, case.clock.seconds)


class AuthCase(TestCase):
    """Two nodes on one database; `login` and `user` make what a test needs."""

    async def setUp(self) -> None:
        self.address = fresh_database(self)
        self.config = Config(auth=CHEAP, limits=Limits(sessions=3), state=State(directory=Path(self.mktemp())))
        self.config.state.directory.mkdir()
        self.clock = Clock()
        self.db = Database(reactor, self.address, size=3)
        await self.db.open()
        self.addCleanup(self.db.stopService)
        self.hasher = Counting(CHEAP)
        self.passwords = Passwords(CHEAP, reactor, self.hasher)
        self.passwords.startService()
        self.addCleanup(self.passwords.stopService)
        self.node = Node(self)
        self.other = Node(self)

    def waiting(self) -> bool:
        """Whether a connection to this database waits for a lock."""
        return bool(self.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"))

    def sql(self, text: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows of a statement on a connection of its own."""
        return execute(self.address, text, *parameters)

    def user(self, email: str = "ann@example.com", *, password: str | None = PASSWORD, active: bool = True,
             must_change: bool = False) -> int:
        """The id of a new account."""
        secret = password and hash_password(CHEAP, password)
        return int(self.sql("INSERT INTO users (email, password_hash, active, must_change) VALUES (%s, %s, %s, %s) RETURNING id",
                            email, secret, active, must_change)[0][0])

    async def login(self, email: str = "ann@example.com", password: str = PASSWORD, *, scope: str = "device app",
                    address: str = ADDRESS, node: Node | None = None) -> Login:
        """A login at the first node, or another."""
        return await (node or self.node).sessions.login(email, password, scope, address, "test/1")

    async def refused(self, work: Coroutine[Any, Any, Any], kind: type[ApiError], detail: int) -> ApiError:
        """The error of this class and detail that `work` ends with."""
        error: ApiError = await self.assertFailure(Deferred.fromCoroutine(work), kind)
        self.assertEqual(error.detail, detail)
        return error
