"""Nodes that push, in one world whose time the test makes: Clocks for the nodes, `now()` for the database, Apple in memory."""
from __future__ import annotations

from typing import Any

import orjson
import psycopg2
from twisted.internet.task import Clock

from interactd.changes import Acknowledged, Hub, Notice
from interactd.config import Apns
from interactd.config import Live as Settings
from interactd.errors import Unavailable
from interactd.live.ledger import MARK
from interactd.push.outlet import Outlet
from interactd.push.presence import Presence
from interactd.push.records import Pair, Records
from interactd.statement import Statement, Step
from tests.apns_case import token
from tests.apns_double import Apple, Asked, Verdict

START = 1_700_000_000.0
SWEEP = 5.0
BEAT, ALIVE = 2.0, 6.0
FAKE = """CREATE SCHEMA IF NOT EXISTS fake;
CREATE OR REPLACE FUNCTION fake.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT to_timestamp(current_setting('fake.now')::float8) $$"""


class Synchronous:
    """The database as the daemon uses it, answering at once, with `now()` of the test's making."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg2.connect(dsn)
        self._connection.autocommit = True
        self.away = False
        self._prepared: set[str] = set()
        self.run(FAKE)
        self.run("SET search_path = fake, pg_catalog, public; SET plan_cache_mode = force_generic_plan")

    def run(self, sql: str, *values: Any) -> list[Any]:
        """The rows of any SQL."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def at(self, now: float) -> None:
        """What `now()` is."""
        self.run("SELECT set_config('fake.now', %s, false)", str(START + now))

    async def query(self, statement: Statement, /, **values: Any) -> list[Any]:
        """The rows of one statement."""
        if self.away:
            raise Unavailable("away")
        if statement.name not in self._prepared:
            self.run(statement.prepare)
            self._prepared.add(statement.name)
        return self.run(statement.execute, *(values[name] for name in statement.names))

    async def script(self, *steps: Step) -> list[Any]:
        """The rows of the last of several."""
        rows: list[Any] = []
        for step in steps:
            rows = await self.query(step.statement, **step.values)
        return rows

    def close(self) -> None:
        """No more."""
        self._connection.close()


class Node:
    """A process: hub, outlet and client; `listening` is who has a socket here."""

    def __init__(self, world: World, name: str, judge: Any) -> None:
        self.world = world
        self.name = name
        self.number = len(world.ever) + 1
        self.clock = Clock()
        self.clock.rightNow = world.now
        self.hub = Hub()
        self.listening: set[int] = set()
        self.others = False                     # whether it knows of other nodes
        self.apple = Apple(world.case, clock=self.clock, judge=judge)
        database: Any = world.database
        presence = Presence(lambda user, device: device in self.listening, lambda: self.others, lambda: self.number, ALIVE)
        records = Records(database, Settings(), Apns(topic="org.example.interact"), presence)
        self.outlet = Outlet(records, presence, Apns(topic="org.example.interact"), 2.0, self.clock)
        self.outlet.pool = self.apple.pool
        self.hub.subscribe(Notice, self.outlet.noticed)
        self.hub.subscribe(Acknowledged, self.outlet.acknowledged)
        self.marked: dict[Pair, float] = {}     # when an acknowledgement was written down
        self._swept = world.now
        self._signed = world.now
        self.frozen = False
        self._sign()

    def acknowledge(self, pair: Pair) -> None:
        """The device's socket has said that it has the event; the row follows a tenth of a second later, as in the ledger."""
        self.hub.publish(Acknowledged(1, pair[1], pair[0]))
        self.clock.callLater(0.1, self._mark, pair, self.world.now)

    def _mark(self, pair: Pair, at: float) -> None:
        self.marked[pair] = self.world.now
        age = [self.clock.seconds() - at]
        self.world.work(self.world.database.query(MARK, interactions=[pair[0]], devices=[pair[1]], generations=[0], sent=age, acked=age,
                                                  shown=[None]))

    def _sign(self) -> None:
        self._signed = self.world.now
        self.world.database.run("INSERT INTO nodes (id, name, beat_at) OVERRIDING SYSTEM VALUE VALUES (%s, %s, now()) "
                                "ON CONFLICT (id) DO UPDATE SET beat_at = now()", self.number, self.name)

    def beat(self) -> None:
        """Its time is the world's, and all that follows from that has happened."""
        if self.frozen:
            return
        self.clock.advance(max(0.0, self.world.now - self.clock.seconds()))
        self.apple.settle()
        if self.world.now >= self._signed + BEAT:
            self._sign()
        if self.clock.seconds() >= self._swept + SWEEP:
            self._swept = self.clock.seconds()
            self.world.work(self.outlet.sweep())
            self.apple.settle()


class World:
    """The database, the time, the nodes, and what Apple was asked by all of them."""

    def __init__(self, case: Any, dsn: str) -> None:
        self.case = case
        self.now = 0.0
        self.database = Synchronous(dsn)
        case.addCleanup(self.database.close)
        self.database.at(0)
        self.nodes: list[Node] = []
        self.ever: list[Node] = []                          # the dead ones, too
        self.asked: list[tuple[float, str, Asked]] = []     # when, by which node, what
        self.judge: Any = lambda asked: (200,)
        self.user = self._one("INSERT INTO users (email) VALUES ('me' || random() || '@example.org') RETURNING id")
        self._number = 0

    def _one(self, sql: str, *values: Any) -> int:
        return int(self.database.run(sql, *values)[0][0])

    def work(self, coroutine: Any) -> None:
        """Runs what never waits."""
        from twisted.internet.defer import Deferred
        done = Deferred.fromCoroutine(coroutine)
        done.addErrback(lambda failure: failure.raiseException())
        self.case.assertTrue(done.called)

    def node(self, name: str = "") -> Node:
        """One more process."""
        node = Node(self, name or f"node{len(self.nodes)}", None)

        def judge(asked: Asked) -> Verdict:
            self.asked.append((self.now, node.name, asked))
            said: Verdict = self.judge(asked)
            return said
        node.apple.options["judge"] = judge
        self.nodes.append(node)
        self.ever.append(node)
        return node

    def device(self, **columns: Any) -> int:
        """A registered phone."""
        self._number += 1
        mine = token(self.user * 10 ** 9 + self._number)
        given = {"device_id": mine, "canonical": mine, "apns_token": mine, "registered_at": 1, **columns}
        names = ", ".join(given)
        places = ", ".join(["%s"] * len(given))
        return self._one(f"INSERT INTO devices (user_id, {names}) VALUES ({self.user}, {places}) RETURNING id", *given.values())

    def open(self, device: int, node: Node | None) -> None:
        """The device has its socket at this node now, or nowhere, and everybody can know it."""
        for each in self.nodes:
            each.listening.discard(device)
        if node is not None:
            node.listening.add(device)
        self.database.run("UPDATE devices SET listens_at = %s WHERE id = %s", node and node.number, device)

    def event(self, node: Node | None, *devices: int, kind: str = "call-incoming", due: bool = True) -> int:
        """A stored event; the node hears of it (None: nobody does)."""
        self._number += 1
        notice = orjson.dumps({"type": kind, "data": "+4930123", "interactionId": 0, "seq": self._number}).decode()
        ident = self._one("INSERT INTO interactions (user_id, type, data, time, sort_time, received, notice, created_seq, seq) "
                          "VALUES (%s, %s, '+4930123', 1, 1, 1, %s, %s, %s) RETURNING id", self.user, kind, notice, self._number, self._number)
        for device in devices:
            self.database.run("INSERT INTO deliveries (interaction_id, device_id, user_id, seq, stored_at, due_at) VALUES (%s, %s, %s, %s, now(), "
                              "CASE WHEN %s THEN now() + interval '2 s' END)", ident, device, self.user, self._number, due)
        if node is not None:
            node.hub.publish(Notice(self.user, ident, self._number, 0, devices, notice, kind))
            node.beat()
        return ident

    def advance(self, seconds: float) -> None:
        """Time passes for all that are alive, a quarter of a second at most at once."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.25)
            self.database.at(self.now)
            for node in tuple(self.nodes):
                node.beat()

    def crash(self, node: Node) -> None:
        """kill -9: nothing of it happens any more."""
        self.nodes.remove(node)
        node.frozen = True

    def row(self, pair: Pair) -> dict[str, Any]:
        """A delivery's row."""
        return dict(self.database.run("SELECT to_jsonb(d) FROM deliveries d WHERE interaction_id = %s AND device_id = %s", *pair)[0][0])

    def pushes(self, ident: int, device: int | None = None) -> list[tuple[float, str]]:
        """When and by whom Apple was asked for this event."""
        token_ = self.database.run("SELECT canonical FROM devices WHERE id = %s", device)[0][0] if device else ""
        return [(at, name) for at, name, asked in self.asked
                if asked.headers["apns-collapse-id"] == str(ident) and asked.headers[":path"].endswith(token_)]
