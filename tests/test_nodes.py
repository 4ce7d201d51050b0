"""Two daemons on one database: any socket at any of them, any event at any of them, with the bus and without it."""
from __future__ import annotations

from typing import Any

from twisted.internet import reactor

from interactd.assembly import build
from interactd.errors import Unavailable
from tests.api_case import Person
from tests.import_case import Shelf, somebody
from tests.live_case import LiveCase


class Nodes(LiveCase):
    """Sockets are at the first node, whose clock stands still: what it does, it does at a hint. The second answers all calls."""

    async def setUp(self) -> None:
        """Two nodes that know of each other."""
        await super().setUp()
        self.here = self.port
        self.second = await build(reactor, self.config, self.dsn)
        self.addCleanup(self.second.stop)
        port = reactor.listenTCP(0, self.second.api.site(), interface="127.0.0.1")      # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.there = port.getHost().port
        for parts in (self.parts, self.second):
            await self.census(parts).beat()
            self.assertEqual(self.census(parts).others, 1)
        self.port = self.there
        made = await self.put("/v2/triggerDevices", self.me, {"deviceId": "353"})
        self.trigger = made.entity["triggerToken"]

    def census(self, parts: Any) -> Any:
        """The node's place among the others."""
        return parts.app.bus._census

    async def at_first(self, numbered: bool = False, who: Person | None = None) -> Any:
        """A socket at the first node."""
        self.port = self.here
        try:
            return await (self.follow(who=who) if numbered else self.listen(who))
        finally:
            self.port = self.there

    async def silence(self) -> None:
        """No hint travels any more."""
        for parts in (self.parts, self.second):
            await parts.app.bus.stopService()

    async def ring(self, data: str = "+4930123", **values: Any) -> int:
        """An event at the second node: its id."""
        reply = await self.put("/v2/interactions", self.trigger, {"type": "call-incoming", "data": data, **values})
        self.assertEqual(reply.status, 201, reply.json)
        return int(reply.entity["id"])

    async def test_an_event(self) -> None:
        """It is told at once by the other node, in either form of the socket."""
        for numbered in (False, True):
            client = await self.at_first(numbered)
            ident = await self.ring(f"+49301234{int(numbered)}")
            self.assertEqual((await self.told(client))["interactionId"], ident)
            await client.settled()

    async def test_in_order(self) -> None:
        """A burst arrives once each and in order."""
        client = await self.at_first(True)
        idents = [await self.ring(f"+4930{1000 + each}") for each in range(20)]
        self.assertEqual([(await self.told(client))["interactionId"] for _ in idents], idents)

    async def test_an_update(self) -> None:
        """What a call changes in an interaction reaches a numbered socket."""
        client = await self.at_first(True)
        ident = await self.ring()
        await self.told(client)
        reply = await self.post(f"/v2/interactions/{ident}", self.me, {"status": "answered"})
        self.assertEqual(reply.status, 200, reply.json)
        self.assertEqual((await self.told(client))["update"]["id"], ident)

    async def test_a_logout(self) -> None:
        """It closes the socket at the other node at once."""
        client = await self.at_first()
        self.assertEqual((await self.post("/v2/logout", None, {"authToken": self.me.token})).status, 200)
        self.assertEqual(await self.ended(client), 4401)

    async def test_a_newer_socket(self) -> None:
        """It takes the place of the one at the other node."""
        client = await self.at_first()
        await self.listen()
        self.assertEqual(await self.ended(client), 4409)

    async def test_an_import(self) -> None:
        """How far it has come is told by the other node, too, and how it ended."""
        shelf = Shelf()
        shelf.put("1", somebody("Ada"))
        shelf.fails[1] = Unavailable("away")
        self.second.app.imports.systems["carddav"] = lambda username, password: shelf
        client = await self.at_first(True)
        for phase in ("failed", "done"):
            await self.post("/v2/import?cmd=importContacts", self.me, {"externalSystem": "carddav", "username": "me", "password": "x"})
            while (message := await client.next()).get("progress", {}).get("phase") != phase:
                self.assertIn(message.get("progress", {}).get("phase"), (None, "reading"))
            shelf.fails.clear()
        self.assertEqual(message["progress"]["externalSystemAccount"], "me")

    async def test_where_a_socket_is(self) -> None:
        """Its device's row names the node with its newest socket, and none when that has ended: whoever has none is pushed at once."""
        def listens() -> Any:
            return self.sql("SELECT listens_at FROM devices WHERE id = %s", self.phone)[0][0]
        await self.listen()
        client = await self.at_first()
        await self.idle()
        self.assertEqual(listens(), self.census(self.parts).id)
        newer = await self.listen()
        await self.ended(client)
        await self.idle()
        self.assertEqual(listens(), self.census(self.second).id)
        await self.at_first()
        await self.ended(newer)
        await self.post("/v2/logout", None, {"authToken": self.me.token})
        await self.ended(self.clients[-1])
        await self.idle()
        self.assertIsNone(listens())

    async def test_without_the_bus(self) -> None:
        """What no hint told is found by the next look at the rows: events of both forms, and an end."""
        plain = await self.at_first()
        await self.silence()
        ident = await self.ring()
        await plain.settled()
        self.assertFalse([message for message in plain.messages if "interactionId" in message])
        await self.swept()
        self.assertEqual((await self.told(plain))["interactionId"], ident)
        await self.post("/v2/logout", None, {"authToken": self.me.token})
        await self.swept()
        self.assertEqual(await self.ended(plain), 4401)

    async def test_a_numbered_socket_without_the_bus(self) -> None:
        """It is told what it missed, in order, before what comes next."""
        client = await self.at_first(True)
        await self.silence()
        idents = [await self.ring(f"+4930{1000 + each}") for each in range(3)]
        await self.swept()
        self.assertEqual([(await self.told(client))["interactionId"] for _ in idents], idents)

    async def test_a_bus_that_comes_back(self) -> None:
        """Everybody's rows are looked at when the bus is back after a break."""
        client = await self.at_first()
        await self.silence()
        ident = await self.ring()
        self.parts.app.bus.startService()
        self.assertEqual((await self.told(client))["interactionId"], ident)
