"""A whole API on a real port and a real database, for tests that speak HTTP."""
from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import orjson
from attrs import frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from interactd import configfile as configuration
from interactd.api.app import Api
from interactd.assembly import Parts, build
from interactd.auth.tokens import digest
from tests.postgres import execute, fresh_database


@implementer(IBodyProducer)
class _Body:
    def __init__(self, data: bytes) -> None:
        self.data, self.length = data, len(data)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self.data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """It is written already."""

    def stopProducing(self) -> None:
        """It is written already."""


@frozen
class Reply:
    """An answer: status, JSON (None when it is none), headers, bytes."""

    status: int
    json: Any
    headers: Headers
    raw: bytes

    @property
    def entity(self) -> Any:
        """What was created or updated."""
        return self.json["entity"]


@frozen
class Person:
    """A user with a token of the scope `device app`."""

    id: int
    email: str
    token: str
    company: int | None = None


class ApiCase(TestCase):
    """`self.put`, `self.get`, `self.post`, `self.delete` against a running API; `self.person()` makes users."""

    settings: dict[str, str] = {}

    async def setUp(self) -> None:
        self.dsn = fresh_database(self)
        state = Path(self.mktemp())
        state.mkdir()
        environ = {"INTERACTD_STATE_DIRECTORY": str(state), "INTERACTD_AUTH_ARGON2_MEMORY_KIB": "1024",
                   "INTERACTD_DATABASE_POOL": "3", "INTERACTD_DATABASE_EVENT_POOL": "2", **self.settings}
        self.config = configuration.load(None, environ={k: v for k, v in environ.items()})
        self.parts: Parts = await build(reactor, self.config, self.dsn)
        self.addCleanup(self.parts.stop)
        self.api: Api = self.parts.api
        port = reactor.listenTCP(0, self.api.site(), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        pool = HTTPConnectionPool(reactor, persistent=True)
        pool.maxPersistentPerHost = 1000
        self.addCleanup(pool.closeCachedConnections)
        self.agent = Agent(reactor, pool=pool)

    def sql(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement, past the API."""
        return execute(self.dsn, text, *values)

    def person(self, email: str = "", company: int | None = None, roles: tuple[str, ...] = (), scope: str = "device app") -> Person:
        """A new user, logged in."""
        email = email or secrets.token_hex(6) + "@example.org"
        ident = self.sql("INSERT INTO users (email, company_id) VALUES (%s, %s) RETURNING id", email, company)[0][0]
        for role in roles:
            self.sql("INSERT INTO user_roles VALUES (%s, %s)", ident, role)
        return Person(ident, email, self.token(ident, scope), company)

    def token(self, user: int, scope: str = "device app") -> str:
        """A token of a new session."""
        token = secrets.token_urlsafe(32)
        self.sql("INSERT INTO sessions (user_id, token_hash, scope, expires_at) VALUES (%s, %s, %s, now() + interval '1 day')",
                 user, digest(token), scope)
        return token

    def company(self, name: str = "ACME") -> int:
        """A new company's id."""
        return int(self.sql("INSERT INTO companies (name) VALUES (%s) RETURNING id", name)[0][0])

    async def ask(self, verb: str, path: str, who: Person | str | None = None, body: Any = None, **headers: str) -> Reply:
        """One request; `who` a person or a trigger token's text behind `trigger:`; `body` bytes or what becomes JSON."""
        fields = {"Content-Type": ["application/json"], **{name.replace("_", "-"): [said] for name, said in headers.items()}}
        if isinstance(who, Person):
            fields["authToken"] = [who.token]
        elif who:
            fields["triggerToken"] = [who]
        data = None if body is None else _Body(body if isinstance(body, bytes) else orjson.dumps(body))
        answer = await self.agent.request(verb.encode(), f"http://127.0.0.1:{self.port}{path}".encode(), Headers(fields), data)
        raw = await readBody(answer)
        try:
            parsed = orjson.loads(raw)
        except orjson.JSONDecodeError:
            parsed = None
        return Reply(answer.code, parsed, answer.headers, raw)

    async def put(self, path: str, who: Person | str | None, body: Any = None, **headers: str) -> Reply:
        """PUT."""
        return await self.ask("PUT", path, who, body, **headers)

    async def get(self, path: str, who: Person | str | None = None, **headers: str) -> Reply:
        """GET."""
        return await self.ask("GET", path, who, None, **headers)

    async def post(self, path: str, who: Person | str | None, body: Any = None, **headers: str) -> Reply:
        """POST."""
        return await self.ask("POST", path, who, body, **headers)

    async def delete(self, path: str, who: Person | str | None = None, **headers: str) -> Reply:
        """DELETE."""
        return await self.ask("DELETE", path, who, None, **headers)

    def refused(self, reply: Reply, status: int, code: int) -> None:
        """The answer is this error."""
        self.assertEqual((reply.status, reply.json.get("error")), (status, code), reply.json)
