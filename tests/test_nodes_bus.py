"""The bus between nodes: what is published at one is hinted at the others, over PostgreSQL and over Redis, whatever breaks."""
from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from benchmarks.processes import free_port
from interactd.changes import Changed, DeviceMoved, Elsewhere, Ended, Hub, Notice
from interactd.db import Database
from interactd.keys import RedisAddress
from interactd.nodes import bus as bus_module
from interactd.nodes.bus import Bus
from interactd.nodes.census import Census
from interactd.nodes.hints import MOST, Gathered, Hint, read
from interactd.nodes.link import Carrier
from interactd.nodes.postgres import Postgres
from interactd.nodes.redis import Redis
from tests.postgres import execute, fresh_database


class Hints(TestCase):
    """Messages as text."""

    def test_there_and_back(self) -> None:
        """What was gathered arrives whole, however much it is, in messages that fit into a NOTIFY."""
        top = 2 ** 63 - 1
        gathered = Gathered(set(range(top - 1000, top)), {7}, {(top - n, top) for n in range(400)})
        hints = [hint.text() for hint in gathered.hints(top)]
        self.assertLess(max(map(len, hints)), 8000)
        again = [read(text) for text in hints]
        self.assertEqual({user for hint in again for user in hint.told}, gathered.told)
        self.assertEqual({user for hint in again for user in hint.ended}, gathered.ended)
        self.assertEqual({pair for hint in again for pair in hint.moved}, gathered.moved)
        self.assertEqual(max(len(hint.told) for hint in again), MOST)
        self.assertEqual(list(Gathered().hints(1)), [])
        self.assertEqual(read(Hint(3).text()), Hint(3))

    def test_nonsense(self) -> None:
        """What is no hint is refused, whatever it is."""
        for text in ("", "x", "1", "[]", "{}", '{"from": "1"}', '{"from": true}', '{"from": 1, "told": 5}', '{"from": 1, "told": ["a"]}',
                     '{"from": 1, "moved": [[1]]}', '{"from": 1, "moved": [[1, null]]}', '{"from": 1, "ended": {"a": 1}}', "[" * 2000):
            self.assertRaises(ValueError, read, text)


class Ear:
    """What a Hub told, and Deferreds for what it will tell."""

    def __init__(self, hub: Hub) -> None:
        self.heard: list[Any] = []
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        for kind in (Elsewhere, DeviceMoved):
            hub.subscribe(kind, self._hear)

    def _hear(self, event: Any) -> None:
        self.heard.append(event)
        for pair in tuple(self._waiting):
            if pair[0]():
                self._waiting.remove(pair)
                reactor.callLater(0, pair[1].callback, None)       # type: ignore[attr-defined]

    def until(self, true: Callable[[], bool]) -> Deferred[None]:
        """Fires when it is true, asked at each event."""
        done: Deferred[None] = Deferred()
        if true():
            done.callback(None)
        else:
            self._waiting.append((true, done))
        return done

    def told(self) -> set[int]:
        """Users whose events others told of."""
        return {user for event in self.heard if isinstance(event, Elsewhere) for user in event.told}

    def ended(self) -> set[int]:
        """Users whose sessions others told of."""
        return {user for event in self.heard if isinstance(event, Elsewhere) for user in event.ended}

    def breaks(self) -> int:
        """How often everything had to be looked at."""
        return sum(isinstance(event, Elsewhere) and event.everybody for event in self.heard)


class Node:
    """A Hub with its bus, as in a daemon."""

    def __init__(self, case: BusCase, carrier: Carrier) -> None:
        self.case = case
        self.hub = Hub()
        self.ear = Ear(self.hub)
        self.database = Database(reactor, case.dsn, 1)
        self.census = Census(self.database, reactor)        # type: ignore[arg-type]
        self.bus = Bus(self.hub, self.census, carrier, reactor)     # type: ignore[arg-type]

    async def start(self) -> Node:
        """It is one of the nodes, and hears."""
        await self.database.open()
        self.case.addCleanup(self.database.stopService)
        await self.census.enter()
        self.census.startService()
        self.case.addCleanup(self.census.stopService)
        self.bus.startService()
        self.case.addCleanup(lambda: self.bus.running and Deferred.fromCoroutine(self.bus.stopService()))
        await self.ear.until(lambda: self.ear.breaks() > 0)
        return self


class BusCase(TestCase):
    """Nodes on one database."""

    timeout = 60

    carrier: Callable[[], Carrier]          # what carries the bus of one more node

    def setUp(self) -> None:
        self.dsn = fresh_database(self)

    async def pair(self) -> tuple[Node, Node]:
        """Two nodes that know of each other."""
        one, other = await Node(self, self.carrier()).start(), await Node(self, self.carrier()).start()
        await one.census.beat()
        return one, other


def notice(user_id: int) -> Notice:
    """An event of this user."""
    return Notice(user_id, 1, 1, 0, (), "{}", "call-incoming")


class Everywhere:
    """What holds on every carrier."""

    async def test_hints(self) -> None:
        """Events, ends and moves are hinted to the other node; nothing comes back to the one that told."""
        one, other = await self.pair()
        for user in (1, 2, 1):
            one.hub.publish(notice(user))
        one.hub.publish(Changed(3, 1, "update", "interaction", 5))
        one.hub.publish(Changed(4, 1, "update", "contact", 5))
        one.hub.publish(Changed(5, 1, "update", "user", 6))
        one.hub.publish(Ended(7))
        one.hub.publish(DeviceMoved(8, 9))
        await other.ear.until(lambda: DeviceMoved(8, 9) in other.ear.heard)
        self.assertEqual((other.ear.told(), other.ear.ended()), ({1, 2, 3}, {6, 7}))
        other.hub.publish(notice(10))
        await one.ear.until(lambda: 10 in one.ear.told())
        self.assertEqual(one.ear.told(), {10})
        self.assertEqual(one.ear.heard.count(DeviceMoved(8, 9)), 1)         # its own

    async def test_many(self) -> None:
        """Ten thousand users at once arrive in a few messages."""
        one, other = await self.pair()
        for user in range(1, 10_001):
            one.hub.publish(notice(user))
        await other.ear.until(lambda: len(other.ear.told()) == 10_000)
        self.assertLess(len(other.ear.heard), 100)

    async def test_alone(self) -> None:
        """Who is alone says nothing, and begins when somebody comes, before the next beat."""
        one = await Node(self, self.carrier()).start()
        one.hub.publish(notice(1))
        self.assertIsNone(one.bus._timer)
        other = await Node(self, self.carrier()).start()
        while not one.census.others:
            await deferLater(reactor, 0.01)
        one.hub.publish(notice(2))
        await other.ear.until(lambda: 2 in other.ear.told())
        self.assertEqual(other.ear.told(), {2})
        await other.census.stopService()
        await one.census.beat()
        self.assertEqual(one.census.others, 0)

    async def test_last_words(self) -> None:
        """What was published just before the end is told."""
        one, other = await self.pair()
        one.hub.publish(Ended(5))
        await one.bus.stopService()
        await other.ear.until(lambda: 5 in other.ear.ended())

    async def test_stopped_while_it_connects(self) -> None:
        """A stop at any moment of the start leaves nothing behind."""
        for turns in range(6):
            hub = Hub()
            bus = Bus(hub, Census(Database(reactor, self.dsn, 1), reactor), self.carrier(), reactor)        # type: ignore[arg-type]
            bus.startService()
            for _ in range(turns):
                await deferLater(reactor, 0)
            await bus.stopService()


class PostgresTests(Everywhere, BusCase):
    """By LISTEN and NOTIFY."""

    def carrier(self) -> Carrier:
        """A connection of its own."""
        return Postgres(reactor, self.dsn)

    async def test_lost(self) -> None:
        """A connection that is cut is made anew, and then everything is looked at."""
        one, other = await self.pair()
        execute(self.dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                          "WHERE query LIKE 'LISTEN%' OR query LIKE 'SELECT pg_notify%'")
        await other.ear.until(lambda: other.ear.breaks() == 2)
        await one.ear.until(lambda: one.ear.breaks() == 2)
        one.hub.publish(notice(1))
        await other.ear.until(lambda: 1 in other.ear.told())

    async def test_stopped_at_once(self) -> None:
        """Who stops in the midst of connecting leaves nothing behind."""
        for _ in range(5):
            connecting = Deferred.fromCoroutine(self.carrier().connect(lambda text: None))
            await deferLater(reactor, 0, lambda: None)
            connecting.cancel()
            await self.assertFailure(connecting, CancelledError)

    async def test_nonsense(self) -> None:
        """What somebody else writes to the channel is left alone, and what follows is heard."""
        one, other = await self.pair()
        for text in ("nonsense", '{"from": "me"}', ""):
            execute(self.dsn, "SELECT pg_notify('interactd_hints', %s)", text)
        one.hub.publish(notice(1))
        await other.ear.until(lambda: 1 in other.ear.told())

    async def test_a_row_that_was_swept(self) -> None:
        """A node whose row is gone takes a new number."""
        one = await Node(self, self.carrier()).start()
        before = one.census.id
        execute(self.dsn, "DELETE FROM nodes")
        await one.census.beat()
        self.assertNotEqual(one.census.id, before)
        self.assertEqual(execute(self.dsn, "SELECT id FROM nodes"), [(one.census.id,)])


class RedisTests(Everywhere, BusCase):
    """By Redis."""

    def setUp(self) -> None:
        super().setUp()
        self.address = RedisAddress("127.0.0.1", 0, 3, "", "secret")
        self.server = self.start_server()

    def start_server(self) -> subprocess.Popen[bytes]:
        """A Redis on a port of its own, the same as before if there was one."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            raise SkipTest("there is no redis-server")
        folder = tempfile.mkdtemp(prefix="interactd-test-")
        self.addCleanup(shutil.rmtree, folder)
        if not self.address.port:
            self.address = evolve(self.address, port=free_port())
        server = subprocess.Popen([program, "--port", str(self.address.port), "--bind", "127.0.0.1", "--save", "", "--dir", folder,
                                   "--requirepass", self.address.password], stdout=subprocess.PIPE)
        self.addCleanup(self.end_server, server)
        assert server.stdout is not None
        while b"eady to accept" not in (line := server.stdout.readline()):
            self.assertTrue(line, "redis-server ended")
        return server

    def end_server(self, server: subprocess.Popen[bytes]) -> None:
        """It is gone."""
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()

    def carrier(self) -> Carrier:
        """A pair of connections."""
        return Redis(reactor, (self.address,), "")

    async def test_killed_and_back(self) -> None:
        """A Redis that dies and comes back is found again, and then everything is looked at."""
        one, other = await self.pair()
        self.end_server(self.server)
        self.start_server()
        await other.ear.until(lambda: other.ear.breaks() == 2)
        await one.ear.until(lambda: one.ear.breaks() == 2)
        one.hub.publish(notice(1))
        await other.ear.until(lambda: 1 in other.ear.told())

    async def test_the_next_one(self) -> None:
        """Where one address does not answer, or has another password, the next is taken."""
        nobody = evolve(self.address, port=free_port())
        stranger = evolve(self.address, password="wrong")
        node = Node(self, Redis(reactor, (nobody, stranger, self.address), ""))
        await node.start()
        self.assertTrue(node.bus.reached)

    async def test_frozen(self) -> None:
        """A server that answers no more is noticed by our own greetings, which do not come back."""
        self.patch(bus_module, "BEAT", 0.05)
        one, _ = await self.pair()
        self.server.send_signal(signal.SIGSTOP)
        link = one.bus._link
        assert link is not None
        await link.ended
        self.server.send_signal(signal.SIGCONT)
        await one.ear.until(lambda: one.ear.breaks() == 2)
