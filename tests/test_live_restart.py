"""A daemon that stops: what is in work is answered, what was stored is told."""
from __future__ import annotations

import http.client

import attrs
import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from interactd.api.work import Work
from tests.api_case import ApiCase


class Stopping(ApiCase):
    """SIGTERM, from the closed port on."""

    async def test_what_is_in_work_is_answered(self) -> None:
        """An event that waits for its user's lock, and one that waits behind it, are stored and answered before anything ends."""
        me = self.person()
        trigger = (await self.put("/v2/triggerDevices", me, {"deviceId": "desk"})).entity["triggerToken"]
        connection = psycopg2.connect(self.dsn)
        self.addCleanup(connection.close)
        with connection.cursor() as cursor:
            cursor.execute("SELECT take(ARRAY[%s::bigint])", (me.id,))
        asked = [Deferred.fromCoroutine(self.put("/v2/interactions", trigger, {"type": "call-incoming", "data": number})) for number in ("1", "2")]
        while self.parts.api.work._count < 2:
            await self.get("/healthz")
        stopping = Deferred.fromCoroutine(attrs.evolve(self.parts, services=(self.parts.app.intake,)).stop())
        self.assertFalse(stopping.called)
        connection.rollback()
        for answer in asked:
            reply = await answer
            self.assertEqual(reply.status, 201, reply.json)
        await stopping
        self.assertEqual(await deferToThread(self.connection_header), "close")
        self.assertEqual(self.sql("SELECT count(*) FROM interactions"), [(2,)])

    def connection_header(self) -> str | None:
        """What an answer says of its connection."""
        client = http.client.HTTPConnection("127.0.0.1", self.port)
        client.request("GET", "/healthz")
        said = client.getresponse().getheader("Connection")
        client.close()
        return said

    async def test_not_for_ever(self) -> None:
        """A request that does not end holds up nobody."""
        work, clock = Work(), Clock()
        with work:
            done: Deferred[bool] = Deferred.fromCoroutine(work.done(clock, 10))
            clock.advance(9.9)
            self.assertFalse(done.called)
            clock.advance(0.2)
            self.assertFalse(await done)
        self.assertTrue(await work.done(reactor, 10))  # type: ignore[arg-type]
