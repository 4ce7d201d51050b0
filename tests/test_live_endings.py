"""When a socket ends, and with which code."""
from __future__ import annotations

import orjson
from twisted.internet import reactor

from interactd.auth.sessions import Sessions
from interactd.changes import Ended, Notice
from interactd.db import Database
from interactd.live.crowd import GRACE
from interactd.live.registry import Registry
from interactd.live.service import Live
from interactd.live.session import Entry, Plain
from tests.live_case import Client, LiveCase


class Replaced(LiveCase):
    """A newer socket of the same device."""

    settings = {"INTERACTD_LIVE_SOCKETS_PER_USER": "2"}

    async def test_the_newer_one_speaks(self) -> None:
        """The older is closed with 4409 and hears nothing more; each opening raises the generation."""
        older = await self.listen()
        newer = await self.listen()
        self.tell(self.me, self.phone)
        self.assertEqual((await newer.next())["type"], "call-incoming")
        self.assertEqual(await self.ended(older), 4409)
        self.assertEqual(list(older.messages), [])
        self.assertEqual(self.sql("SELECT generation FROM devices WHERE id = %s", self.phone), [(2,)])

    async def test_so_many_sockets_a_user(self) -> None:
        """One more closes the oldest; another user's stay."""
        other = self.person("other@example.org")
        self.device(other, "theirs")
        clients = [await self.listen(other, "theirs")]
        for name in ("a", "b", "c"):
            self.device(self.me, name)
            clients.append(await self.listen(device=name))
        self.assertEqual(await self.ended(clients[1]), 4409)
        for client in (clients[0], clients[2], clients[3]):
            await client.settled()
            self.assertIsNone(client.code)

    async def test_at_another_node(self) -> None:
        """A generation raised elsewhere ends the socket here within 5 s."""
        client = await self.listen()
        self.sql("UPDATE devices SET generation = generation + 1 WHERE id = %s", self.phone)
        self.clock.advance(5)
        self.assertEqual(await self.ended(client), 4409)

    def test_two_openings_that_cross(self) -> None:
        """The one with the newest generation stays, whichever comes last."""
        registry = Registry(2)
        older, newer = (Plain(None, Entry(1, 1, 1, generation, None, False), None) for generation in (1, 2))  # type: ignore[arg-type]
        self.assertEqual(registry.add(newer), [])
        self.assertEqual(registry.add(older), [older])
        self.assertIs(registry.of(1)[1], newer)


class Ends(LiveCase):
    """Sessions and devices that are good no more."""

    async def test_logout(self) -> None:
        """The sockets of that session close at once, those of another stay."""
        self.device(self.me, "tablet")
        phone = await self.listen()
        tablet = await self.connect(f"?deviceId=tablet&authToken={self.token(self.me.id)}")
        await self.post("/v2/logout", None, {"authToken": self.me.token})
        self.assertEqual(await self.ended(phone), 4401)
        await tablet.settled()
        self.assertIsNone(tablet.code)

    async def test_all_sessions_but_one(self) -> None:
        """As after a change of the password."""
        self.device(self.me, "tablet")
        phone = await self.listen()
        tablet = await self.connect(f"?deviceId=tablet&authToken={self.token(self.me.id)}")
        kept = self.live.registry.of(self.me.id)[self.phone].entry.session_id
        self.parts.app.hub.publish(Ended(self.me.id, None, (), kept))
        self.assertEqual(await self.ended(tablet), 4401)
        await phone.settled()
        self.assertIsNone(phone.code)

    async def test_a_deleted_device(self) -> None:
        """And one made inactive: 4403, at once."""
        tablet = self.device(self.me, "tablet")
        clients = await self.listen(), await self.listen(device="tablet")
        self.assertEqual((await self.delete(f"/v2/devices/{self.phone}", self.me)).status, 200)
        self.assertEqual(await self.ended(clients[0]), 4403)
        self.assertEqual((await self.post(f"/v2/devices/{tablet}", self.me, {"active": False})).status, 200)
        self.assertEqual(await self.ended(clients[1]), 4403)

    async def test_a_phone_that_changed_hands(self) -> None:
        """Its former owner's socket on it closes; the others hear of it, those of the seed's form excepted."""
        token = "ab" * 32
        self.device(self.me, "new")
        registered = await self.put("/v2/devices", self.me, {"deviceId": token})
        old, plain = await self.listen(device=token), await self.listen()
        new = await self.connect(f"?deviceId=new&authToken={self.me.token}", protocols=("interactd.1",))
        await self.put("/v2/devices", self.person("other@example.org"), {"deviceId": token})
        self.assertEqual(await self.ended(old), 4403)
        await new.next()
        self.assertEqual(await new.next(), {"deviceMoved": registered.entity["id"], "seq": 1, "prev": 1})
        await plain.settled()
        self.assertEqual(list(plain.messages), [])

    async def test_another_users_end_is_not_ours(self) -> None:
        """Not even with our numbers in it."""
        client = await self.listen()
        session = self.live.registry.of(self.me.id)[self.phone].entry.session_id
        self.parts.app.hub.publish(Ended(self.me.id + 1, (session,), (self.phone,)))
        await client.settled()
        self.assertIsNone(client.code)

    async def test_hints_that_were_lost(self) -> None:
        """A session or a device that went without a word ends its socket within 5 s; the others' sessions are renewed."""
        other, third = self.person("other@example.org"), self.person("third@example.org")
        self.device(other, "theirs")
        gone = self.device(third, "gone")
        mine, theirs, deleted = await self.listen(), await self.listen(other, "theirs"), await self.listen(third, "gone")
        self.sql("DELETE FROM sessions WHERE user_id = %s", other.id)
        self.sql("DELETE FROM devices WHERE id = %s", gone)
        self.sql("UPDATE sessions SET used_at = now() - interval '1 hour'")
        self.clock.advance(5)
        self.assertEqual((await self.ended(theirs), await self.ended(deleted)), (4401, 4403))
        await mine.settled()
        self.assertIsNone(mine.code)
        self.assertEqual(self.sql("SELECT used_at > now() - interval '1 minute' FROM sessions WHERE user_id = %s", self.me.id), [(True,)])

    async def test_the_database_is_away(self) -> None:
        """Nobody is closed for what can not be asked, and the marks are kept until they can be written."""
        app, away = self.parts.app, Database(reactor, self.dsn)
        sessions = Sessions(away, app.hub, app.credentials, app.config, self.clock.seconds)
        self.live = Live(away, app.hub, sessions, self.config.live, self.clock)
        self.live.startService()
        entry = Entry(self.me.id, 1, self.phone, 0, None, False)
        ended: list[int] = []
        line = type("Line", (), {"stalled": False, "end": lambda _, code, reason: ended.append(code)})()
        self.live.registry.add(Plain(line, entry, self.live.desk))
        notice = self.event(self.me, self.phone)
        self.live.ledger.sent(notice.interaction_id, entry)
        self.clock.advance(5)
        self.assertEqual((ended, self.marks(notice)), ([], (False, False)))
        await away.open()
        self.addCleanup(away.stopService)
        await self.live.ledger.flush()
        self.assertEqual((ended, self.marks(notice)), ([], (True, False)))


class Pings(LiveCase):
    """Whether a client is there."""

    async def test_every_thirty_seconds(self) -> None:
        """A client that answers stays."""
        client = await self.listen()
        for _ in range(4):
            before = len(client.pings)
            self.clock.advance(30)
            await client.settled()
            await client.settled()      # behind the client's pong
            self.assertEqual(client.pings[before:], [b"0"])
        self.assertIsNone(client.code)

    async def test_no_answer(self) -> None:
        """Twenty seconds, not less."""
        client = await self.listen()
        client.answers = False
        self.clock.advance(30)
        await client.settled()
        self.clock.advance(19)
        await client.settled()
        self.assertIsNone(client.code)
        self.clock.advance(1)
        self.assertEqual(await self.ended(client), 4408)

    async def test_gone_without_a_word(self) -> None:
        """One that does not answer the close frame either is dropped; nothing is left of it."""
        client = await self.listen()
        client.transport.pauseProducing()
        self.clock.pump([1] * 30)
        self.clock.pump([1] * 20)
        self.assertEqual((list(self.live.registry), len(self.live.sockets)), ([], 1))
        self.clock.advance(GRACE)
        await self.gone()
        client.transport.resumeProducing()

    async def gone(self) -> None:
        """Every socket has left the server."""
        while self.live.sockets:
            await self.get("/v2/devices", self.me)

    async def test_a_client_that_closes(self) -> None:
        """It is answered, and forgotten."""
        client = await self.listen()
        client.sendClose(1000)
        self.assertEqual(await self.ended(client), 1000)
        await self.gone()
        self.assertEqual(list(self.live.registry), [])


class Slow(LiveCase):
    """Clients that do not read."""

    BIG = 60_000

    async def flood(self, client: Client, until: int) -> list[Notice]:
        """A client that stops reading, and notifications until that many bytes wait for it in the daemon's own queue."""
        client.transport.pauseProducing()
        socket = self.live.registry.of(self.me.id)[self.phone].line
        notices = []
        while not (socket.stalled and socket.out.kept >= until) and socket.state == socket.STATE_OPEN:
            frame = orjson.dumps({"n": len(notices), "x": "x" * self.BIG}).decode()
            notice = Notice(self.me.id, 1_000_000 + len(notices), 1, 0, (self.phone,), frame, "call-incoming")
            notices.append(notice)
            self.live.notifier.tell(notice)
            if not socket.stalled:
                await self.get("/v2/devices", self.me)
        return notices

    async def test_too_much_waits(self) -> None:
        """256 KiB: 4408, and no more is kept."""
        client = await self.listen()
        socket = self.live.registry.of(self.me.id)[self.phone].line
        await self.flood(client, 1 << 30)
        self.assertEqual((list(self.live.registry), socket.out.kept), ([], 0))
        client.transport.resumeProducing()
        self.assertEqual(await self.ended(client), 4408)

    async def test_too_long(self) -> None:
        """Thirty seconds in which it takes nothing."""
        client = await self.listen()
        await self.flood(client, 1)
        self.clock.advance(29)
        self.assertEqual(len(list(self.live.registry)), 1)
        self.clock.advance(1)
        self.assertEqual(list(self.live.registry), [])
        client.transport.resumeProducing()
        self.assertEqual(await self.ended(client), 4408)

    async def test_one_that_reads_again(self) -> None:
        """It gets everything, in order, and stays."""
        client = await self.listen()
        notices = await self.flood(client, self.BIG)
        self.clock.advance(20)
        client.transport.resumeProducing()
        self.assertEqual([(await client.next())["n"] for _ in notices], list(range(len(notices))))
        self.clock.advance(20)
        await client.settled()
        self.assertIsNone(client.code)

    async def test_what_was_not_handed_over_stays_to_be_sent(self) -> None:
        """The ledger says sent only for what has left the daemon's queue."""
        client = await self.listen()
        await self.flood(client, self.BIG)
        notice = self.tell(self.me, self.phone)
        await self.live.ledger.flush()
        self.assertEqual(self.marks(notice), (False, False))


class Bounds(LiveCase):
    """What a client may send."""

    async def test_a_long_message(self) -> None:
        """16 KiB pass, one byte more does not, whole or in pieces."""
        client = await self.listen()
        client.say(b"x" * 16384)
        await client.settled()
        self.assertIsNone(client.code)
        client.say(b"x" * 16385)
        self.assertEqual(await self.ended(client), 4400)
        client = await self.listen()
        client.sendMessage(b"x" * 16385, fragmentSize=4096)
        self.assertEqual(await self.ended(client), 4400)

    async def test_many_messages(self) -> None:
        """Twenty a second."""
        client = await self.listen()
        for _ in range(2):
            for _ in range(19):
                client.say({})
            await client.settled()
            self.assertIsNone(client.code)
            self.clock.advance(1)
        for _ in range(21):
            client.say({})
        self.assertEqual(await self.ended(client), 4400)

    async def test_many_pings(self) -> None:
        """They are no way around it, nor are frames of nothing."""
        client = await self.listen()
        for _ in range(21):
            client.sendPing(b"x")
        self.assertEqual(await self.ended(client), 4400)
        client = await self.listen()
        client.sendMessage(b"x" * 22, fragmentSize=1)
        self.assertEqual(await self.ended(client), 4400)

    async def test_what_plain_clients_say_is_ignored(self) -> None:
        """The seed knows no message of theirs."""
        client = await self.listen()
        client.say(b"hello")
        client.sendMessage(b"\xff\x00", isBinary=True)
        self.tell(self.me, self.phone)
        self.assertEqual((await client.next())["type"], "call-incoming")


class Restart(LiveCase):
    """The daemon stops."""

    async def test_come_again(self) -> None:
        """1012 with a time to come again, in the close frame, and for interactd.1 in a message before it."""
        self.device(self.me, "new")
        plain = await self.listen()
        new = await self.connect(f"?deviceId=new&authToken={self.me.token}", protocols=("interactd.1",))
        notice = self.tell(self.me, self.phone)
        await plain.settled()
        await self.live.stopService()
        self.assertEqual((await self.ended(plain), await self.ended(new)), (1012, 1012))
        self.assertEqual([message.get("type") for message in plain.messages], ["call-incoming"])
        said = orjson.loads(new.reason or "")
        self.assertEqual(new.messages[-1], {**said, "seq": 0, "prev": 0})
        for reason in (plain.reason, new.reason):
            self.assertTrue(500 <= orjson.loads(reason or "")["reconnectAfter"] <= 1010)
        self.assertEqual(self.marks(notice), (True, True))

    async def test_one_that_does_not_go(self) -> None:
        """It is dropped after a while, so that the daemon stops."""
        client = await self.listen()
        client.transport.pauseProducing()
        stopping = self.live.stopService()
        self.assertFalse(stopping.called)
        self.clock.advance(GRACE)
        await stopping
        self.assertEqual(len(self.live.sockets), 0)
        client.transport.resumeProducing()

    async def test_a_socket_that_comes_meanwhile(self) -> None:
        """It is sent away likewise."""
        await self.live.stopService()
        client = await self.listen()
        self.assertEqual(await self.ended(client), 1012)
