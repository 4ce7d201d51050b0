"""Who hears of an event, what is written down of it, and what the sweep finds."""
from __future__ import annotations

import attrs
import orjson

from interactd.live.ledger import WRITE_AFTER
from interactd.live.session import Plain
from tests.live_case import LiveCase

HINT = "cloud synchronization recommended"


class Notices(LiveCase):
    """From the Hub to the sockets."""

    async def test_a_frame_and_its_acknowledgement(self) -> None:
        """The notification as it was stored, a ping with the delivery's id behind it, the pong marks the row."""
        client = await self.listen()
        notice = self.tell(self.me, self.phone)
        self.assertEqual(await client.next(), orjson.loads(notice.frame))
        await client.settled()
        self.assertEqual(client.pings, [b"%d" % notice.interaction_id])
        await self.live.ledger.flush()
        self.assertEqual(self.marks(notice), (True, True))

    async def test_from_the_trigger_to_the_socket(self) -> None:
        """The whole way: an event comes in, its notification goes out, to every device but the one it came from."""
        trigger = await self.put("/v2/triggerDevices", self.me, {"deviceId": "desk"})
        self.device(self.me, "desk")
        phone, desk = await self.listen(), await self.listen(device="desk")
        made = await self.put("/v2/interactions", trigger.entity["triggerToken"], {"type": "call-incoming", "data": "+49 30 1234567"})
        self.assertEqual(made.status, 201, made.json)
        told = await phone.next()
        self.assertEqual((told["type"], told["data"], told["interactionId"]), ("call-incoming", "+49 30 1234567", made.entity["id"]))
        await desk.settled()
        self.assertEqual(list(desk.messages), [])
        await phone.settled()
        await self.live.ledger.flush()
        self.assertEqual(self.sql("SELECT device_id, sent_at IS NOT NULL, acked_at IS NOT NULL FROM deliveries"), [(self.phone, True, True)])

    async def test_written_in_the_turn_of_the_event(self) -> None:
        """When `publish` returns, the frame is with the network, and one batch of bytes serves all sockets of a form."""
        tablet = self.device(self.me, "tablet")
        clients = [await self.listen(), await self.listen(device="tablet")]
        sockets = [session.line for session in self.live.registry]
        written: list[bytes] = []
        for socket in sockets:
            socket.transport.writeSomeData = lambda data: written.append(data) or len(data)
        notice = self.tell(self.me, self.phone, tablet)
        self.assertEqual(written, [Plain.encoded(notice)] * 2)
        self.assertIs(written[0], written[1])
        self.assertEqual([client.code for client in clients], [None, None])

    async def test_behind_what_waits_and_whole(self) -> None:
        """What the network does not take at once waits in the transport, and the next frame waits behind it."""
        client = await self.listen()
        transport = next(iter(self.live.registry)).line.transport
        taken = [5, 0, 0]
        send = transport.writeSomeData
        transport.writeSomeData = lambda data: send(data[:taken.pop(0)]) if taken else send(data)
        notices = [self.event(self.me, self.phone) for _ in range(3)]
        for notice in notices:
            self.parts.app.hub.publish(notice)
        self.assertEqual(len(taken), 2)
        self.assertEqual([(await client.next())["interactionId"] for _ in notices], [notice.interaction_id for notice in notices])

    async def test_nobody_else_hears(self) -> None:
        """Neither another user, nor another device of the user, nor whoever names a device that is not the user's."""
        other = self.person("other@example.org")
        theirs = self.device(other, "theirs")
        self.device(self.me, "tablet")
        mine, tablet, foreign = await self.listen(), await self.listen(device="tablet"), await self.listen(other, "theirs")
        notice = self.event(self.me, self.phone)
        self.parts.app.hub.publish(attrs.evolve(notice, device_ids=(self.phone, theirs)))
        self.assertEqual((await mine.next())["type"], "call-incoming")
        for client in (tablet, foreign):
            await client.settled()
            self.assertEqual(list(client.messages), [])

    async def test_one_pong_for_several_frames(self) -> None:
        """A client may answer the last ping only; it has read what came before."""
        client = await self.listen()
        client.answers = False
        first, second = self.tell(self.me, self.phone), self.tell(self.me, self.phone)
        await client.settled()
        await self.live.ledger.flush()
        self.assertEqual((self.marks(first), self.marks(second)), ((True, False), (True, False)))
        client.sendPong(b"%d" % second.interaction_id)
        await client.settled()
        await self.live.ledger.flush()
        self.assertEqual((self.marks(first), self.marks(second)), ((True, True), (True, True)))

    async def test_a_pong_that_nobody_asked_for(self) -> None:
        """It acknowledges nothing: neither what was not sent here, nor by words."""
        client = await self.listen()
        client.answers = False
        sent, other = self.tell(self.me, self.phone), self.event(self.me, self.phone)
        for payload in (b"%d" % other.interaction_id, b"hello", b"", b"9" * 30):
            client.sendPong(payload)
        await client.settled()
        await self.live.ledger.flush()
        self.assertEqual((self.marks(sent), self.marks(other)), ((True, False), (False, False)))

    async def test_marks_are_written_together_later(self) -> None:
        """Nothing is written in the turn of the event, all of it in one statement after a moment, with the times they had."""
        client = await self.listen()
        notices = [self.tell(self.me, self.phone) for _ in range(3)]
        await client.settled()
        self.assertEqual([self.marks(notice) for notice in notices], [(False, False)] * 3)
        self.clock.advance(WRITE_AFTER)
        await self.live.ledger.flush()
        self.assertEqual([self.marks(notice) for notice in notices], [(True, True)] * 3)
        self.assertEqual(self.sql("SELECT count(DISTINCT sent_at) FROM deliveries"), [(1,)])
        self.assertEqual(self.sql("SELECT bool_and(sent_at < now() - interval '0.09 s') FROM deliveries"), [(True,)])

    async def test_the_first_acknowledgement_is_written_at_once(self) -> None:
        """A node that is killed right behind it has written it; the next ones within the moment wait for each other."""
        client = await self.listen()
        waiting = []
        for _ in range(2):
            self.tell(self.me, self.phone)
            await client.settled()
            self.clock.advance(0)
            waiting.append(len(self.live.ledger._marks))
        self.assertEqual(waiting, [0, 1])
        self.clock.advance(WRITE_AFTER)
        await self.live.ledger.flush()

    async def test_an_older_generation_marks_nothing(self) -> None:
        """What is told to a socket whose device has a newer one elsewhere stays to be sent."""
        client = await self.listen()
        self.sql("UPDATE devices SET generation = generation + 1 WHERE id = %s", self.phone)
        notice = self.tell(self.me, self.phone)
        await client.settled()
        await self.live.ledger.flush()
        self.assertEqual(self.marks(notice), (False, False))

    async def test_late(self) -> None:
        """A late event says so."""
        client = await self.listen()
        self.tell(self.me, self.phone, late=True)
        self.assertTrue((await client.next())["late"])


class Types(LiveCase):
    """`[live] plain-types`."""

    settings = {"INTERACTD_LIVE_PLAIN_TYPES": "call-incoming,call-outgoing,sms-incoming,sms-outgoing"}

    async def test_plain_sockets_only(self) -> None:
        """A plain socket gets these types, interactd.1 gets all; what was not sent is not marked."""
        self.device(self.me, "new")
        plain = await self.listen()
        new = await self.follow("new")
        devices = [device for device, in self.sql("SELECT id FROM devices ORDER BY id")]
        mail = self.tell(self.me, *devices, kind="email-incoming")
        self.tell(self.me, *devices, kind="sms-incoming")
        self.assertEqual([(await plain.next())["type"]], ["sms-incoming"])
        self.assertEqual([(await self.told(new))["type"], (await self.told(new))["type"]], ["email-incoming", "sms-incoming"])
        await self.live.notifier.sweep(self.live.registry)
        await plain.settled()
        self.assertEqual(list(plain.messages), [])
        self.assertFalse(self.marks(mail, self.phone)[0])


class Sweeps(LiveCase):
    """Deliveries that stayed stored."""

    async def test_after_a_crash(self) -> None:
        """Stored and never told: sent when the device comes, with its place in the ledger, once."""
        first, second = self.event(self.me, self.phone), self.event(self.me, self.phone)
        client = await self.listen()
        self.assertEqual((await client.next())["message"], HINT)
        self.assertEqual([await client.next(), await client.next()], [orjson.loads(first.frame), orjson.loads(second.frame)])
        await self.sweep()
        await client.settled()
        self.assertEqual(list(client.messages), [])
        await self.live.ledger.flush()
        self.assertEqual((self.marks(first), self.marks(second)), ((True, True), (True, True)))

    async def sweep(self) -> None:
        """The sweep is due, and done."""
        self.clock.advance(self.config.live.sweep_every)
        while self.live._works:
            await next(iter(self.live._works))

    async def test_every_five_seconds(self) -> None:
        """A notification lost between commit and Hub reaches the open socket by the next sweep."""
        client = await self.listen()
        notice = self.event(self.me, self.phone)
        self.clock.advance(self.config.live.sweep_every - 0.1)
        await client.settled()
        self.assertEqual(list(client.messages), [])
        await self.sweep()
        self.assertEqual(await client.next(), orjson.loads(notice.frame))

    async def test_swept_and_then_told(self) -> None:
        """A notification that overtakes its own telling is not sent twice."""
        client = await self.listen()
        notice = self.event(self.me, self.phone)
        await self.sweep()
        self.parts.app.hub.publish(notice)
        await client.settled()
        self.assertEqual(len(client.messages), 1)

    async def test_told_while_the_sweep_reads(self) -> None:
        """What goes out while the rows are on their way is not sent again."""
        client = await self.listen()
        notice = self.event(self.me, self.phone)
        sweeping = self.live._work(self.live.notifier.sweep(list(self.live.registry)))
        self.parts.app.hub.publish(notice)
        await sweeping
        await client.settled()
        self.assertEqual(len(client.messages), 1)

    async def test_after_the_ring_time(self) -> None:
        """Received more than 60 s ago: it does not ring any more."""
        old, fresh = self.event(self.me, self.phone, age=61_000), self.event(self.me, self.phone, age=50_000)
        client = await self.listen()
        said = [await self.told(client), await self.told(client)]
        self.assertEqual(said, [{**orjson.loads(old.frame), "late": True}, orjson.loads(fresh.frame)])

    async def test_what_is_over_is_not_sent(self) -> None:
        """Failed deliveries, and those of another day."""
        failed, old = self.event(self.me, self.phone), self.event(self.me, self.phone)
        self.sql("UPDATE deliveries SET failed_at = now(), failed = 'moved' WHERE interaction_id = %s", failed.interaction_id)
        self.sql("UPDATE deliveries SET stored_at = now() - interval '25 hours' WHERE interaction_id = %s", old.interaction_id)
        client = await self.listen()
        await self.sweep()
        await client.settled()
        self.assertEqual([message.get("message") for message in client.messages], [HINT])


class Hints(LiveCase):
    """The first word."""

    async def test_nothing_changed(self) -> None:
        """A device that has everything is told nothing."""
        client = await self.listen()
        await client.settled()
        self.assertEqual(list(client.messages), [])

    async def test_something_changed(self) -> None:
        """The time of the device's last sync."""
        self.sql("UPDATE devices SET synced_seq = 5, synced_at = 1360190188000 WHERE id = %s", self.phone)
        for seq, hinted in ((5, False), (6, True)):
            self.sql("INSERT INTO deals (user_id, name, seq) VALUES (%s, 'x', %s)", self.me.id, seq)
            client = await self.listen()
            await client.settled()
            self.assertEqual(list(client.messages), [{"message": HINT, "lastSyncTime": 1360190188000}] if hinted else [])

    async def test_a_restored_server(self) -> None:
        """What the device has is of another epoch, whatever the numbers say."""
        self.sql("UPDATE devices SET synced_seq = 5, synced_at = 7, synced_epoch = 'before' WHERE id = %s", self.phone)
        self.assertEqual(await (await self.listen()).next(), {"message": HINT, "lastSyncTime": 7})

    async def test_a_deletion_is_a_change(self) -> None:
        """Of something the device knows."""
        self.sql("INSERT INTO tombstones (user_id, entity_type, entity_id, seq) VALUES (%s, 'note', 7, 1)", self.me.id)
        self.assertEqual(await (await self.listen()).next(), {"message": HINT, "lastSyncTime": 0})
