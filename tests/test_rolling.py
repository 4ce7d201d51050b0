"""Two nodes as processes behind HAProxy, restarted one after the other while a phone rings: every event once, in order, none lost."""
from __future__ import annotations

import http.client
import itertools
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import orjson
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, TestCase

from benchmarks.processes import free_port
from interactd.accounts import own_account
from interactd.client.conversation import Place
from interactd.client.follow import Account, Client
from tests import daemons
from tests.postgres import execute, fresh_database

SAMPLE = Path(__file__).resolve().parent.parent / "etc" / "haproxy.cfg"
SEED = """
INSERT INTO users (email) VALUES ('me@example.org');
INSERT INTO devices (user_id, device_id, canonical) SELECT id, n, n FROM users, unnest(ARRAY['desk', 'pad']) n;
INSERT INTO sessions (user_id, token_hash, scope, expires_at) SELECT id, sha256('session'), 'device app', now() + interval '1 day' FROM users;
"""


class Desk:
    """A device that follows its socket through the proxy."""

    def __init__(self, port: int, name: str) -> None:
        self.seen: list[int] = []
        self.resyncs = 0
        self.client = Client(reactor, Account(f"ws://127.0.0.1:{port}", "session", name), self._take, resync=self._resync, pace=0.05)
        self._wanted: tuple[int, Deferred[None]] | None = None
        self.run = Deferred.fromCoroutine(self.client.run())

    async def _take(self, message: dict[str, Any], place: Place) -> None:
        if "interactionId" in message:
            self.seen.append(message["interactionId"])
        if self._wanted is not None and len(self.seen) >= self._wanted[0]:
            self._wanted[1].callback(None)
            self._wanted = None

    async def _resync(self, place: Place) -> None:
        self.resyncs += 1

    def until(self, count: int) -> Deferred[None]:
        """Fires when it has seen so many."""
        done: Deferred[None] = Deferred()
        if len(self.seen) >= count:
            done.callback(None)
        else:
            self._wanted = (count, done)
        return done


class Rolling(TestCase):
    """One node after the other."""

    def setUp(self) -> None:
        program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if program is None:
            raise SkipTest("there is no haproxy")
        self.dsn = fresh_database(self)
        execute(self.dsn, SEED)
        self.ports = {name: free_port() for name in ("proxy", "one", "two")}
        self.places = {name: daemons.Place(self, own_account()) for name in ("one", "two")}      # type: ignore[arg-type]
        self.keys = self.places["one"].folder / "trigger-keys"
        self.nodes: dict[str, daemons.Running] = {}
        for name in self.places:
            self.start(name)
        config = self.places["one"].folder / "haproxy.cfg"
        text = SAMPLE.read_text().replace(":8080", f"127.0.0.1:{self.ports['proxy']}")
        config.write_text(text.replace(":8081", f":{self.ports['one']}").replace(":8082", f":{self.ports['two']}"))
        proxy = subprocess.Popen([program, "-db", "-q", "-f", str(config)])
        self.addCleanup(proxy.wait)
        self.addCleanup(proxy.terminate)
        self.stamps = itertools.count(1_700_000_000_000)
        made = self._made("/v2/triggerDevices", {"authToken": "session"}, {"deviceId": "phone"})
        self.token = made["entity"]["triggerToken"]

    def start(self, name: str) -> None:
        """The node answers."""
        place = self.places[name]
        place.environ.update(INTERACTD_DATABASE_URL=self.dsn, INTERACTD_AUTH_TRIGGER_KEYS_FILE=str(self.keys))
        self.nodes[name] = node = place.twistd(f"--listen=tcp:{self.ports[name]}:interface=127.0.0.1")
        node.until("interactd .* answers at")
        node.drain()

    def stop(self, name: str, number: signal.Signals) -> None:
        """The node is gone."""
        self.nodes[name].stop(number)

    def ring(self, count: int) -> list[int]:
        """Events through the proxy, each asked for until it is answered: their ids."""
        calls = [{"type": "call-incoming", "data": "+49301234", "time": next(self.stamps)} for _ in range(count)]
        return [int(self._made("/v2/interactions", {"triggerToken": self.token}, call)["entity"]["id"]) for call in calls]

    def _made(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Any:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.ports["proxy"], timeout=10)
            try:
                connection.request("PUT", path, orjson.dumps(body), headers)
                reply = connection.getresponse()
                said = reply.read()
            except (OSError, http.client.HTTPException):
                continue
            finally:
                connection.close()
            if reply.status == 201:
                return orjson.loads(said)
            self.assertIn(reply.status, (502, 503, 504), said)

    async def test_restarts(self) -> None:
        """SIGTERM to each node in turn, then kill -9, with events before, while and after."""
        stored = await deferToThread(self.ring, 1)          # the proxy knows its nodes
        desks = [Desk(self.ports["proxy"], name) for name in ("desk", "pad")]
        while any(desk.client.place is None for desk in desks):
            stored += await deferToThread(self.ring, 1)
        begun = len(stored)
        for name, number in (("one", signal.SIGTERM), ("two", signal.SIGTERM), ("one", signal.SIGKILL)):
            ringing = deferToThread(self.ring, 40)
            await deferToThread(self.stop, name, number)
            stored += await ringing
            ringing = deferToThread(self.ring, 20)
            await deferToThread(self.start, name)
            stored += await ringing
        stored += await deferToThread(self.ring, 5)
        for desk in desks:
            while stored[-1] not in desk.seen:
                await desk.until(len(desk.seen) + 1)
            late = [ident for ident in stored[begun:] if ident not in desk.seen]
            self.assertEqual(late, [], "these were not told")
            self.assertEqual(desk.seen, sorted(set(desk.seen)), "each once and in order")
            self.assertEqual(desk.resyncs, 0)
            self.assertGreater(desk.client.connections, 1)
            desk.client.stop()
            await desk.run
        self.assertEqual(len(set(stored)), len(stored))
        self.assertEqual(execute(self.dsn, "SELECT count(*) FROM interactions"), [(len(stored),)])
