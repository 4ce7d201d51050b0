"""Who may open a socket, and what refuses the others."""
from __future__ import annotations

from socket import SHUT_WR
from typing import Any

import orjson

from interactd.db import Statement
from tests.live_case import Client, LiveCase, Refused

WS = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="}
_NOTHING = Statement("nothing", "SELECT 1")
SOCKET = "/interact-server/socket"


class Handshakes(LiveCase):
    """Before the upgrade."""

    settings = {"INTERACTD_LIVE_UNAUTHENTICATED_PER_ADDRESS": "2"}

    async def refusal(self, query: str, status: int, code: int, who: Any = None, **headers: str) -> None:
        """The handshake is answered in JSON with this error."""
        self.refused(await self.get(SOCKET + query, who, **{**WS, **headers}), status, code)

    async def test_the_seeds_form(self) -> None:
        """Both paths, the token in the query or in a header."""
        for path, query, headers in ((SOCKET, f"?deviceId=phone&authToken={self.me.token}", {}),
                                     ("/v2/socket", "?deviceId=phone", {"authToken": self.me.token}),
                                     ("/v2/socket", "?deviceId=phone", {"Authorization": "Bearer " + self.me.token})):
            client = await self.connect(query, path, **headers)
            notice = self.tell(self.me, self.phone)
            self.assertEqual((await self.told(client))["data"], "+4930123")
            self.assertEqual(client.pings[-1:] or [b"%d" % notice.interaction_id], [b"%d" % notice.interaction_id])

    async def test_who_is_refused(self) -> None:
        """Each with its status and code, as JSON."""
        self.device(self.me, "old", active=False)
        other = self.person("other@example.org")
        self.device(other, "theirs")
        trigger = self.person("t@example.org", scope="trigger app")
        await self.refusal("?deviceId=phone", 401, 94010190605001)
        await self.refusal("?deviceId=phone&authToken=dead", 401, 94010190605002)
        await self.refusal("?deviceId=nobody", 404, 91080190601001, self.me)
        await self.refusal("?deviceId=theirs", 404, 91080190601001, self.me)
        await self.refusal("?deviceId=old", 403, 94020190601001, self.me)
        await self.refusal("?deviceId=phone", 403, 94020190604004, trigger)
        await self.refusal("", 400, 92020190602001, self.me)
        await self.refusal("?deviceId=phone&x=1", 400, 92010190602005, self.me)
        await self.refusal("?deviceId=phone&authToken=another", 400, 92010190602003, self.me)

    async def test_no_handshake_at_all(self) -> None:
        """A plain GET is told what is missing; what is no good handshake is refused without a new generation."""
        self.refused(await self.get(SOCKET + "?deviceId=phone", self.me), 426, 93000190601001)
        await self.refusal("?deviceId=phone", 426, 93000190601001, self.me, Sec_WebSocket_Version="8")
        await self.refusal("?deviceId=phone", 426, 93000190601001, self.me, Connection="close")
        await self.refusal("?deviceId=phone", 400, 92010190602003, self.me, Sec_WebSocket_Key="short")
        self.refused(await self.post(SOCKET, self.me), 405, 93000110001001)
        self.assertEqual(self.sql("SELECT generation FROM devices WHERE id = %s", self.phone), [(0,)])

    async def test_what_autobahn_refuses_is_json_too(self) -> None:
        """An origin that is no address."""
        reply = await self.get(SOCKET + "?deviceId=phone", self.me, **WS, Origin="http://[")
        self.refused(reply, 400, 92010190602003)

    async def test_nothing_is_kept_of_it(self) -> None:
        """An open socket holds neither its request, which has a token, nor what Autobahn copies into each connection."""
        await self.listen()
        kept = vars(next(iter(self.live.sockets)))
        self.assertNotIn(self.me.token, repr(kept))
        self.assertLess(len(kept), 30, sorted(kept))

    async def test_devices_are_found_by_their_canonical_form(self) -> None:
        """An APNs token in another spelling, and `+` that came as a blank."""
        token = "AB" * 32
        self.device(self.me, token.lower())
        self.device(self.me, "a+b")
        for said in (token, "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=", "a+b"):
            await self.listen(device=said)
        self.assertEqual(len(self.live.registry.of(self.me.id)), 2)

    async def test_a_password_that_is_due(self) -> None:
        """Nobody listens with a password that the first start invented."""
        self.sql("UPDATE users SET must_change = true WHERE id = %s", self.me.id)
        await self.refusal("?deviceId=phone", 403, 94020190604004, self.me)


class Introductions(LiveCase):
    """The token in the first message, so that no secret stands in a URL."""

    settings = {"INTERACTD_LIVE_UNAUTHENTICATED_PER_ADDRESS": "2", "INTERACTD_LIVE_UNAUTHENTICATED": "3"}

    async def arrive(self) -> Client:
        """A socket that has not said yet who it is."""
        return await self.connect("", "/v2/socket", ("interactd.1",))

    async def test_first_message(self) -> None:
        """The socket listens after it, and its place among the unauthenticated is free again."""
        for _ in range(3):
            client = await self.arrive()
            self.assertEqual(client.websocket_protocol_in_use, "interactd.1")
            client.say({"auth": self.me.token, "deviceId": "phone"})
            client.say({"shown": 7})                # before the answer
            await client.settled()
            await self.heard(client)

    async def heard(self, client: Client) -> None:
        """The client listens, once its first message has been understood."""
        while not self.live.registry.of(self.me.id):
            await client.settled()
        self.tell(self.me, self.phone)
        await self.told(client)
        client.sendClose(1000)
        await self.ended(client)
        while self.live.sockets:
            await self.parts.app.database.query(_NOTHING)

    async def test_what_is_no_introduction(self) -> None:
        """Each is closed with its code."""
        self.device(self.me, "old", active=False)
        for message, code in ((b"hello", 4400), ([], 4400), ({"auth": self.me.token}, 4400),
                              ({"auth": self.me.token, "deviceId": "phone", "x": 1}, 4400),
                              ({"auth": "dead", "deviceId": "phone"}, 4401), ({"auth": self.me.token, "deviceId": "nobody"}, 4403),
                              ({"auth": self.me.token, "deviceId": "old"}, 4403)):
            client = await self.arrive()
            client.say(message)
            self.assertEqual(await self.ended(client), code, message)
        self.assertEqual(list(self.live.registry), [])

    async def test_silence(self) -> None:
        """Ten seconds without a first message end the socket; pongs that nobody asked for do not help."""
        client = await self.arrive()
        self.clock.advance(9)
        client.sendPong(b"here")
        await client.settled()
        self.assertIsNone(client.code)
        self.clock.advance(1)
        self.assertEqual(await self.ended(client), 4401)

    async def test_too_many_unknown(self) -> None:
        """Two of one address, as configured; all who asked with a token come in."""
        first, _ = await self.arrive(), await self.arrive()
        with self.assertRaisesRegex(Refused, "429"):
            await self.arrive()
        await self.listen()
        first.sendClose(1000)
        await self.ended(first)
        while len(self.live.sockets) > 2:
            await self.parts.app.database.query(_NOTHING)
        await self.arrive()

    async def test_a_client_that_has_gone(self) -> None:
        """What it had said is read behind its end, as by a node that was frozen; the socket that it has opened since stays."""
        said = orjson.dumps({"auth": self.me.token, "deviceId": "phone"})
        early = bytes([0x81, 0x80 | len(said), 0, 0, 0, 0]) + said
        for reset in (False, True):
            old = await self.arrive()
            new = await self.listen()
            generation = self.sql("SELECT generation FROM devices WHERE id = %s", self.phone)
            old.transport.getHandle().sendall(early)
            old.transport.abortConnection() if reset else old.transport.getHandle().shutdown(SHUT_WR)
            while len(self.live.sockets) > 1:
                await self.parts.app.database.query(_NOTHING)
            await self.idle()
            self.assertEqual(self.sql("SELECT generation FROM devices WHERE id = %s", self.phone), generation)
            self.tell(self.me, self.phone)
            await self.told(new)
            new.sendClose(1000)
            await self.ended(new)
            while self.live.sockets:
                await self.parts.app.database.query(_NOTHING)

    async def test_a_session_that_ends_meanwhile(self) -> None:
        """A logout before the first message refuses it."""
        client = await self.arrive()
        await self.post("/v2/logout", None, {"authToken": self.me.token})
        client.say({"auth": self.me.token, "deviceId": "phone"})
        self.assertEqual(await self.ended(client), 4401)

    async def test_a_remembered_session_is_asked_for_again(self) -> None:
        """A session that was good a moment ago and has gone without a word opens nothing."""
        await self.get("/v2/devices", self.me)
        self.sql("DELETE FROM sessions WHERE user_id = %s", self.me.id)
        reply = await self.get(SOCKET + "?deviceId=phone", self.me, **WS)
        self.refused(reply, 401, 94010190605002)
