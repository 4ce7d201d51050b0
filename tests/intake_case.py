"""A real database with an intake on it, and short ways to say who is there and who calls."""
from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import attrs
import orjson
import psycopg2
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from interactd.auth.tokens import digest
from interactd.changes import Hub, Notice
from interactd.config import Config
from interactd.events.event import Event, Outcome
from interactd.events.intake import Intake
from interactd.events.numbers import columns
from tests.postgres import fresh_database

CALL = "call-incoming"


def now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


@define
class Owner:
    """A user with a trigger device."""

    id: int
    token: str
    device: int
    region: str | None = None
    area_code: str | None = None


@define
class Heard:
    """The notices the hub was told."""

    notices: list[Notice] = field(factory=list)

    def frames(self) -> list[dict[str, Any]]:
        """Their frames."""
        return [orjson.loads(notice.frame) for notice in self.notices]


class IntakeCase(TestCase):
    """`self.intake` runs on `self.dsn`; `self.sql` is a connection of the test's own, committing at once."""

    timeout = 60
    settings: dict[str, dict[str, Any]] = {}

    async def setUp(self) -> None:  # type: ignore[override]
        self.dsn = fresh_database(self)
        self.sql = self.connection()
        self.heard = Heard()
        self.intake = self.made()
        await self.intake.open()

    def made(self, dsn: str | None = None, clock: Any = reactor, **limits: Any) -> Intake:
        """An intake on the database, stopped after the test."""
        hub = Hub()
        hub.subscribe(Notice, self.heard.notices.append)
        config = Config()
        for section, values in {"limits": {"events_per_second": 1e6, "events_burst": 10**6, **limits}, **self.settings}.items():
            config = attrs.evolve(config, **{section: attrs.evolve(getattr(config, section), **values)})
        intake = Intake(clock, dsn or self.dsn, config, hub)
        self.addCleanup(lambda: Deferred.fromCoroutine(intake.stopService()))
        return intake

    def connection(self, autocommit: bool = True) -> Any:
        """A psycopg2 connection, closed after the test."""
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = autocommit
        self.addCleanup(connection.close)
        return connection

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        with self.sql.cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, sql: str, *values: Any) -> Any:
        """The only value of a statement."""
        ((value,),) = self.rows(sql, *values)
        return value

    def company(self, region: str | None = None, area_code: str | None = None) -> int:
        """A company's id."""
        return int(self.one("INSERT INTO companies (name, region, area_code) VALUES ('Acme', %s, %s) RETURNING id", region, area_code))

    def owner(self, name: str = "ann", company: int | None = None, *, switchboard: bool = False, roles: Iterable[str] = ("user",),
              devices: Iterable[str] = ("desk",)) -> Owner:
        """A user with a trigger device `phone` and receiving devices."""
        user = self.one("INSERT INTO users (email, company_id) VALUES (%s, %s) RETURNING id", f"{name}@example.org", company)
        for role in roles:
            self.rows("INSERT INTO user_roles VALUES (%s, %s)", user, role)
        for device in devices:
            self.rows("INSERT INTO devices (user_id, device_id, canonical) VALUES (%s, %s, %s)", user, device, device)
        region, area_code = self.rows("SELECT region, area_code FROM companies WHERE id = %s", company)[0] if company else (None, None)
        return Owner(user, *self.phone(user, "phone", switchboard), region, area_code)

    def phone(self, user: int, name: str, switchboard: bool = False) -> tuple[str, int]:
        """Another trigger device: its token and id."""
        token = f"token-{name}-{user}"
        device = self.one("INSERT INTO trigger_devices (user_id, device_id, salt, key_id, token_hash, switchboard) VALUES (%s, %s, '', '', %s, %s) "
                          "RETURNING id", user, name, digest(token), switchboard)
        return token, device

    def contact(self, owner: Owner, name: str, *values: str, kind: str = "phone", **more: Any) -> int:
        """A contact with these numbers; an organization if the name ends with `Ltd`. `more` are columns."""
        organization = name.endswith("Ltd")
        more |= {"organization_name": name} if organization else {"first_name": name}
        names = ", ".join(more)
        contact = self.one(f"INSERT INTO contacts (user_id, contact_type, seq, {names}) VALUES (%s, %s, 0{', %s' * len(more)}) RETURNING id",
                           owner.id, "organization" if organization else "person", *more.values())
        for value in values:
            self.info(owner, value, contact, kind)
        return int(contact)

    def info(self, owner: Owner, value: str, contact: int | None = None, kind: str = "phone", excluded: bool = False) -> int:
        """A basicInfo, with its canonical form."""
        form = columns(kind, value, owner.region or "DE", owner.area_code or "")
        return int(self.one("INSERT INTO basic_infos (user_id, contact_id, type, value, excluded, canon, ext, nsn, tail, canon_version) "
                            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id", owner.id, contact, kind, value, excluded, *form.values()))

    def belongs(self, owner: Owner, person: int, organization: int) -> None:
        """The person is one of the organization's."""
        self.rows("INSERT INTO contact_links VALUES (%s, %s, %s)", owner.id, person, organization)

    def event(self, owner: Owner | str, data: str | None = "+49 2332 667998", kind: str = CALL, *, key: str | None = None,
              body_hash: bytes | None = None, position: int | None = None, **values: Any) -> Event:
        """An event of the owner's phone (or of a token)."""
        token = owner if isinstance(owner, str) else owner.token
        return Event(token, {"type": kind, "data": data, **values}, key, body_hash or (b"body" if key else None), position)

    async def put(self, owner: Owner | str, data: str | None = "+49 2332 667998", kind: str = CALL, **values: Any) -> Outcome:
        """The outcome of such an event."""
        return await self.intake.put(self.event(owner, data, kind, **values))

    async def rung(self, owner: Owner, data: str | None, kind: str = CALL, **values: Any) -> dict[str, Any]:
        """The notification of an event that is stored."""
        outcome = await self.put(owner, data, kind, **values)
        self.assertEqual((outcome.status, outcome.devmsg), (201, "success"), outcome.error)
        return self.heard.frames()[-1]

    def entity(self, outcome: Outcome) -> dict[str, Any]:
        """The entity in an answer."""
        assert outcome.entity is not None
        result: dict[str, Any] = orjson.loads(outcome.entity)
        return result

    def stored(self) -> int:
        """How many interactions there are."""
        return int(self.one("SELECT count(*) FROM interactions"))
