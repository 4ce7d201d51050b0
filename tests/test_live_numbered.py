"""interactd.1: numbers, order, resume, acks, retracts."""
from __future__ import annotations

from typing import Any

import attrs
import orjson

from interactd import metrics
from interactd.changes import Acknowledged, Changed, Entered, Notice
from interactd.live import numbered
from interactd.live.numbered import HOLD
from interactd.live.replay import SLICE
from tests.live_case import Client, LiveCase

PROTOCOL = ("interactd.1",)


def chain(messages: list[Any]) -> list[tuple[int, int]]:
    """What must hang together."""
    return [(message["prev"], message["seq"]) for message in messages]


class NumberedCase(LiveCase):
    """`self.calls` are what the trigger device reports, the whole way through the intake."""

    async def setUp(self) -> None:
        await super().setUp()
        self.tablet = self.device(self.me, "tablet")
        made = await self.put("/v2/triggerDevices", self.me, {"deviceId": "desk"})
        self.trigger: str = made.entity["triggerToken"]

    async def ring(self, data: str = "+49 30 1234567", **more: Any) -> Any:
        """A call comes in; the interaction."""
        made = await self.put("/v2/interactions", self.trigger, {"type": "call-incoming", "data": data, **more})
        self.assertEqual(made.status, 201, made.json)
        return made.entity

    async def progress(self, interaction: Any, **columns: Any) -> Any:
        """The trigger device says how the call goes on."""
        changed = await self.post(f"/v2/interactions/{interaction['id']}", self.trigger, columns)
        self.assertEqual(changed.status, 200, changed.json)
        return changed.entity

    def many(self, count: int) -> None:
        """So many events of the user were stored for the phone, and not told."""
        self.sql("WITH made AS (INSERT INTO interactions (user_id, type, data, time, sort_time, notice, created_seq, seq) SELECT c.user_id, "
                 "'call-incoming', '1', 1, 1, json_build_object('type', 'call-incoming', 'seq', c.seq + n)::text, c.seq + n, c.seq + n "
                 "FROM counters c, generate_series(1, %s) n WHERE c.user_id = %s RETURNING id, user_id, seq) "
                 "INSERT INTO deliveries (interaction_id, device_id, user_id, seq) SELECT id, %s, user_id, seq FROM made",
                 count, self.me.id, self.phone)
        self.sql("UPDATE counters SET event_prev = seq + %s - 1, event_seq = seq + %s, seq = seq + %s WHERE user_id = %s",
                 count, count, count, self.me.id)

    def head(self) -> int:
        """The user's number."""
        return int(self.sql("SELECT seq FROM counters WHERE user_id = %s", self.me.id)[0][0])

    async def said(self, client: Client) -> list[Any]:
        """Everything that has come, once all that the client said is done."""
        await client.settled()
        await self.idle()
        await client.settled()
        told = list(client.messages)
        client.messages.clear()
        return told


class Opening(NumberedCase):
    """The first words."""

    async def test_epoch_and_number(self) -> None:
        """Where the socket stands, the seed's hint, and that every message has its place."""
        client = await self.follow(start=False)
        at = {"seq": self.head(), "prev": self.head()}
        self.assertEqual(await client.next(), {"opened": True, "epoch": self.epoch(), **at})
        await self.ring()
        again = await self.follow(start=False)
        await again.next()
        self.assertEqual((await again.next())["message"], "cloud synchronization recommended")

    async def test_silence(self) -> None:
        """A client that says nothing is told what comes, after the moment in which it might have said where it was."""
        client = await self.follow(start=False)
        await self.ring()
        self.assertEqual([set(message) for message in await self.said(client)], [{"opened", "epoch", "seq", "prev"}])
        self.clock.advance(HOLD)
        (rang,) = await self.said(client)
        self.assertEqual(rang["type"], "call-incoming")

    async def test_what_was_never_sent_comes_first(self) -> None:
        """A client that does not resume gets the deliveries that wait for it, in order."""
        first, second = await self.ring("1234"), await self.ring("12345")
        client = await self.follow(start=False)
        self.clock.advance(HOLD)
        self.assertEqual([m["interactionId"] for m in await self.said(client) if "type" in m], [first["id"], second["id"]])

    async def test_resume_in_the_first_message(self) -> None:
        """One round trip less."""
        at = self.head()
        rang = await self.ring()
        client = await self.connect("", "/v2/socket", PROTOCOL)
        client.say({"auth": self.me.token, "deviceId": "phone", "resume": at, "epoch": self.epoch()})
        self.assertEqual((await self.told(client))["interactionId"], rang["id"])
        other = await self.connect("", "/v2/socket", PROTOCOL)
        other.say({"auth": self.me.token, "deviceId": "phone", "resume": "x"})
        self.assertEqual(await self.ended(other), 4400)

    async def test_application_pings(self) -> None:
        """Every 25 s, with the number of what was said before."""
        client = await self.follow()
        rang = await self.ring()
        await self.said(client)
        for _ in range(2):
            self.clock.advance(25)
            (ping,) = await self.said(client)
            self.assertEqual((set(ping), ping["seq"], ping["prev"]), ({"ping", "seq", "prev"}, self.head(), self.head()))
        self.assertTrue(rang)

    async def test_protocol_pings_stay(self) -> None:
        """Every 30 s; one that is not answered ends the socket."""
        client = await self.follow()
        client.answers = False
        self.clock.advance(30)
        self.clock.advance(20)
        self.assertEqual(await self.ended(client), 4408)


class Order(NumberedCase):
    """Each thing once and in order, whatever arrives when."""

    async def test_numbers(self) -> None:
        """Notifications, an update and a retract hang together; of messages of one number only the last carries it."""
        at, client = self.head(), await self.follow()
        rang = await self.ring()
        await self.idle()
        await self.progress(rang, status="answered")
        await self.ring("12345")
        told = await self.said(client)
        self.assertEqual([next(k for k in ("type", "update", "retract") if k in m) for m in told], ["type", "update", "retract", "type"])
        self.assertEqual(chain(told), [(at, at + 1), (at + 1, at + 1), (at + 1, at + 2), (at + 2, at + 3)])
        self.assertEqual((told[1]["update"]["id"], told[1]["update"]["status"], told[2]["retract"]), (rang["id"], "answered", rang["id"]))

    async def test_results_in_the_wrong_order(self) -> None:
        """The later of two notices comes first: the earlier one is read before it is told, and neither twice."""
        client = await self.follow()
        notices = [self.event(self.me, self.phone) for _ in range(3)]
        for notice in (notices[2], notices[0], notices[1]):
            self.parts.app.hub.publish(notice)
        told = await self.said(client)
        self.assertEqual([m["seq"] for m in told], [notice.seq for notice in notices])
        self.assertEqual([m["prev"] for m in told[1:]], [m["seq"] for m in told[:-1]])

    async def test_a_notice_while_the_rows_are_read(self) -> None:
        """What is stored after the rows were read is told after them."""
        client = await self.follow()
        first, second, third = (self.event(self.me, self.phone) for _ in range(3))
        self.parts.app.hub.publish(second)          # the gap is read
        self.parts.app.hub.publish(third)
        fourth = self.event(self.me, self.phone)
        self.parts.app.hub.publish(fourth)
        self.assertEqual([m["seq"] for m in await self.said(client)], [n.seq for n in (first, second, third, fourth)])

    async def test_a_lost_hint(self) -> None:
        """Nothing says that something was stored: the sweep finds it within 5 s."""
        client = await self.follow()
        notice = self.event(self.me, self.phone)
        self.sql("SELECT take(ARRAY[%s::bigint])", self.me.id)
        self.sql("UPDATE interactions SET status = 'x', seq = number_of(%s) WHERE id = %s", self.me.id, notice.interaction_id)
        self.assertEqual(await self.said(client), [])
        self.clock.advance(self.config.live.sweep_every)
        told = await self.said(client)
        self.assertEqual([set(m) & {"type", "update"} for m in told], [{"type"}, {"update"}])
        self.assertEqual(chain(told)[0][1], notice.seq)

    async def test_a_hint_of_another_node(self) -> None:
        """Only that something changed: numbered and plain sockets read the rest."""
        client, plain = await self.follow(), await self.listen(device="tablet")
        notice = self.event(self.me, self.phone, self.tablet)
        self.parts.app.hub.publish(Changed(self.me.id, notice.seq, "insert", "interaction", notice.interaction_id))
        self.assertEqual([m["seq"] for m in await self.said(client)], [notice.seq])
        self.assertEqual((await self.told(plain))["seq"], notice.seq)

    async def test_ones_own_events(self) -> None:
        """A device that does not hear of an event has no gap for it."""
        self.device(self.me, "desk")
        client, desk = await self.follow(), await self.follow("desk")
        at = self.head()
        await self.ring()
        self.tell(self.me, *(device for device, in self.sql("SELECT id FROM devices WHERE user_id = %s", self.me.id)))
        self.assertEqual(chain(await self.said(client)), [(at, at + 1), (at + 1, at + 2)])
        self.assertEqual(chain(await self.said(desk)), [(at, at + 2)])

    async def test_a_contact_that_goes(self) -> None:
        """What many interactions lose at once is told, in one number."""
        contact = (await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Ada",
                                                            "basicInfos": [{"type": "phone", "value": "+4930293522"}]})).entity
        rang = [await self.ring("+4930293522") for _ in range(3)]
        client = await self.follow()
        at = self.head()
        await self.delete(f"/v2/contacts/{contact['id']}", self.me)
        told = await self.said(client)
        self.assertEqual([m["update"]["id"] for m in told], [one["id"] for one in rang])
        self.assertTrue(all("person" not in m["update"] for m in told))
        self.assertEqual(chain(told), [(at, at), (at, at), (at, at + 1)])

    async def test_nobody_else(self) -> None:
        """Neither events nor updates nor retracts of one user reach another's socket, whatever ids they have."""
        other = self.person("other@example.org")
        self.device(other, "theirs")
        client = await self.follow("theirs", other)
        rang = await self.ring()
        await self.progress(rang, status="answered")
        self.assertEqual(await self.said(client), [])
        await self.swept()
        self.assertEqual(await self.said(client), [])


class Resuming(NumberedCase):
    """After a cut."""

    async def test_everything_missed_before_anything_new(self) -> None:
        """In order, with what happens between the opening and the resume in its place; then how much it was."""
        at = self.head()
        first = await self.ring()
        await self.progress(first, duration=12)
        client = await self.follow(start=False)
        second = await self.ring("12345")
        client.say({"resume": at, "epoch": self.epoch()})
        third = await self.ring("123456")
        told = [m for m in await self.said(client) if not {"opened", "message"} & set(m)]
        self.assertEqual([m.get("interactionId") or m.get("update", {}).get("id") or m.get("retract") for m in told if "resumed" not in m],
                         [first["id"], first["id"], first["id"], second["id"], third["id"]])
        self.assertEqual(told[0]["prev"], at)
        self.assertEqual([m["prev"] for m in told[1:]], [m["seq"] for m in told[:-1]])
        self.assertEqual([m["resumed"] for m in told if "resumed" in m], [4 if "resumed" in told[4] else 5])

    async def test_between_creation_and_update(self) -> None:
        """A client that had the notification gets the update only."""
        rang = await self.ring()
        at = self.head()
        await self.progress(rang, status="missed")
        client = await self.follow(resume=at)
        told = [m for m in await self.said(client) if not {"opened", "message"} & set(m)]
        self.assertEqual([set(m) - {"seq", "prev"} for m in told], [{"update"}, {"retract"}, {"resumed"}])

    async def test_nothing_missed(self) -> None:
        """It is told so."""
        client = await self.follow(resume=self.head())
        self.assertEqual((await self.said(client))[-1], {"resumed": 0, "seq": self.head(), "prev": self.head()})

    async def test_what_cannot_be_replayed(self) -> None:
        """An honest resync: another epoch, a number of the future, one before the device was there, or while it was inactive."""
        await self.ring()
        at, epoch = self.head(), self.epoch()
        await self.post(f"/v2/devices/{self.tablet}", self.me, {"active": False})
        await self.ring()
        await self.post(f"/v2/devices/{self.tablet}", self.me, {"active": True})
        registered = await self.put("/v2/devices", self.me, {"deviceId": "new"})
        self.assertEqual(registered.status, 201)
        for device, resume in (("phone", {"resume": at, "epoch": "another"}), ("phone", {"resume": at}),
                               ("phone", {"resume": 1 << 40, "epoch": epoch}), ("new", {"resume": at, "epoch": epoch}),
                               ("tablet", {"resume": at, "epoch": epoch})):
            client = await self.follow(device, resume=resume)
            head = self.head()
            told = await self.said(client)
            self.assertEqual(told[-1], {"resync": True, "epoch": epoch, "seq": head, "prev": head}, resume)
            self.assertFalse([m for m in told if "type" in m])
            rang = await self.ring()
            self.assertEqual([m["interactionId"] for m in await self.said(client)], [rang["id"]])

    async def test_more_than_a_slice(self) -> None:
        """What does not go out at once goes out in order, at the client's pace."""
        at = self.head()
        self.many(2 * SLICE + 10)
        client = await self.follow(resume=at)
        told = [m for m in await self.said(client) if "type" in m]
        self.assertEqual([m["seq"] for m in told], list(range(at + 1, at + 2 * SLICE + 11)))

    async def test_a_client_that_reads_slowly(self) -> None:
        """No more is read for it than its socket takes, so a long replay does not end it."""
        at = self.head()
        self.many(90)
        self.sql("UPDATE interactions SET notice = left(notice, -1) || ',\"x\": \"' || repeat('x', 200000) || '\"}'")
        client = await self.follow(start=False)
        client.transport.pauseProducing()
        client.say({"resume": at, "epoch": self.epoch()})
        session: Any = self.live.registry.of(self.me.id)[self.phone]
        while not session.line.stalled:
            await self.get("/v2/devices", self.me)
        self.assertLess(session.line.out.kept, 100_000)
        client.transport.resumeProducing()
        told: list[Any] = []
        while len(told) < 90:
            told.append(await self.told(client))
        self.assertEqual([m["seq"] for m in told], list(range(at + 1, at + 91)))

    async def test_after_the_ring_time(self) -> None:
        """What was received more than 60 s ago does not ring any more when it is replayed."""
        at = self.head()
        self.event(self.me, self.phone, age=61_000)
        self.event(self.me, self.phone, age=50_000)
        client = await self.follow(resume=at)
        self.assertEqual([m.get("late") for m in await self.said(client) if "type" in m], [True, None])

    async def test_too_much_of_one_number(self) -> None:
        """A change of more interactions than are told in one breath is a resync, for open sockets too."""
        self.many(2 * SLICE)
        client = await self.follow()
        for count, expected in ((SLICE, "update"), (2 * SLICE, "resync")):
            self.sql("SELECT take(ARRAY[%s::bigint])", self.me.id)
            self.sql("UPDATE interactions SET seq = number_of(%s) WHERE id IN (SELECT id FROM interactions ORDER BY id LIMIT %s)", self.me.id, count)
            self.parts.app.hub.publish(Changed(self.me.id, self.head(), "update", "contact", 1))
            told = await self.said(client)
            self.assertEqual((len(told), expected in told[-1], told[-1]["seq"]), (count if expected == "update" else 1, True, self.head()))

    async def test_of_an_older_generation(self) -> None:
        """A socket whose device has a newer one at another node is told nothing that is read, and closed when that is heard of."""
        client = await self.follow()
        self.sql("UPDATE devices SET generation = generation + 1 WHERE id = %s", self.phone)
        notice = self.event(self.me, self.phone)
        self.parts.app.hub.publish(Changed(self.me.id, notice.seq, "insert", "interaction", notice.interaction_id))
        self.assertEqual(await self.said(client), [])
        self.parts.app.hub.publish(Entered(self.me.id, self.phone, 2))
        self.assertEqual(await self.ended(client), 4409)

    async def test_the_database_is_away_meanwhile(self) -> None:
        """The sweep finds those who wait."""
        client = await self.follow()
        session: Any = self.live.registry.of(self.me.id)[self.phone]
        notice = self.event(self.me, self.phone)
        session.behind = True           # as a read that failed leaves it
        await self.swept()
        self.assertEqual([m["seq"] for m in await self.said(client)], [notice.seq])


class Bounded(NumberedCase):
    """How much is replayed."""

    settings = {"INTERACTD_LIVE_REPLAY_MOST": "120"}

    async def test_at_most_so_many(self) -> None:
        """One more is a resync."""
        at = self.head()
        self.many(120)
        client = await self.follow(resume=at)
        self.assertEqual((await self.said(client))[-1]["resumed"], 120)
        self.event(self.me, self.phone)
        client = await self.follow(resume=at)
        self.assertTrue((await self.said(client))[-1]["resync"])


class Acks(NumberedCase):
    """What a client says of what it got."""

    def ledger(self, device: int) -> list[Any]:
        """Acknowledged, shown, dismissed, by delivery."""
        return self.sql("SELECT acked_at IS NOT NULL, shown_at IS NOT NULL, dismissed_at IS NOT NULL FROM deliveries WHERE device_id = %s "
                        "ORDER BY seq", device)

    async def test_cumulative(self) -> None:
        """An ack is for all before it; it is written down, and the Hub tells of it at once."""
        heard: list[Acknowledged] = []
        self.parts.app.hub.subscribe(Acknowledged, heard.append)
        client = await self.follow()
        for _ in range(3):
            await self.ring()
        told = await self.said(client)
        client.say({"ack": told[1]["seq"]})
        await self.said(client)
        self.assertEqual(heard, [Acknowledged(self.me.id, self.phone, m["interactionId"]) for m in told[:2]])
        await self.live.ledger.flush()
        self.assertEqual([acked for acked, *_ in self.ledger(self.phone)], [True, True, False])

    async def test_a_pong_is_no_ack(self) -> None:
        """Whatever stands in it."""
        client = await self.follow()
        rang = await self.ring()
        await self.said(client)
        client.sendPong(b"%d" % rang["id"])
        await self.said(client)
        await self.live.ledger.flush()
        self.assertEqual(self.ledger(self.phone), [(False, False, False)])

    async def test_forged(self) -> None:
        """Each message, how it ends, and that nothing is written down for it."""
        before = metrics.WORDS_IGNORED._value.get()
        foreign = self.tell(self.person("other@example.org"))
        tablet_only = self.event(self.me, self.tablet)
        at = self.head()
        rows: list[tuple[Any, int | None]] = [
            ({"ack": at + 1}, 4400), ({"ack": at - 1}, 4400), ({"ack": -1}, 4400), ({"ack": 1 << 63}, 4400), ({"ack": "1"}, 4400),
            ({"ack": True}, 4400), ({"ack": 1.0}, 4400), ({"ack": None}, 4400), ({"ack": at, "more": 1}, 4400), ({}, 4400), ([], 4400),
            (b"ack", 4400), (b"\xff", 1007), ({"auth": self.me.token}, 4400), ({"update": 1}, 4400), ({"resume": -1, "epoch": ""}, 4400),
            ({"resume": at, "epoch": 7}, 4400), ({"resume": at, "ack": at}, 4400), ({"shown": "7"}, 4400), ({"dismiss": -7}, 4400),
            ({"shown": foreign.interaction_id}, None), ({"dismiss": foreign.interaction_id}, None), ({"shown": tablet_only.interaction_id}, None),
            ({"dismiss": tablet_only.interaction_id}, None), ({"shown": 1 << 60}, None), ({"dismiss": 1 << 60}, None), ({"ack": at}, None)]
        for message, code in rows:
            client = await self.follow(resume=at)
            await self.said(client)
            client.say(message)
            if code is None:
                self.assertEqual((await self.said(client), client.code), ([], None), message)
                client.sendClose(1000)
            self.assertEqual(await self.ended(client), code or 1000, message)
            await self.live.ledger.flush()
        self.assertEqual(self.sql("SELECT count(*) FROM deliveries WHERE num_nonnulls(acked_at, shown_at, dismissed_at) > 0"), [(0,)])
        self.assertEqual((self.sql("SELECT count(*) FROM retracts"), self.head()), ([(0,)], at))
        self.assertEqual(metrics.WORDS_IGNORED._value.get() - before, 6)

    async def test_none_at_all(self) -> None:
        """A client that never acknowledges is closed some time."""
        self.patch(numbered, "UNACKNOWLEDGED", 3)
        client = await self.follow()
        for _ in range(4):
            self.tell(self.me, self.phone)
        self.assertEqual(await self.ended(client), 4408)

    async def test_binary(self) -> None:
        """Messages are text."""
        client = await self.follow()
        client.sendMessage(b'{"ack":0}', isBinary=True)
        self.assertEqual(await self.ended(client), 4400)

    async def test_of_another_socket(self) -> None:
        """A number that went out on an earlier socket can not be acknowledged on this one without a resume, nor one resumed over."""
        client = await self.follow()
        await self.ring()
        (rang,) = await self.said(client)
        again = await self.follow(resume=self.head())
        await self.said(again)
        again.say({"ack": rang["seq"] - 1})
        self.assertEqual(await self.ended(again), 4400)
        await self.live.ledger.flush()
        self.assertEqual([acked for acked, *_ in self.ledger(self.phone)], [False])

    async def test_of_an_older_generation(self) -> None:
        """A socket whose device has a newer one elsewhere acknowledges, shows and dismisses nothing."""
        client = await self.follow()
        await self.ring()
        (rang,) = await self.said(client)
        await self.live.ledger.flush()
        self.sql("UPDATE devices SET generation = generation + 1 WHERE id = %s", self.phone)
        for word in ({"ack": rang["seq"]}, {"shown": rang["interactionId"]}, {"dismiss": rang["interactionId"]}):
            client.say(word)
        await self.said(client)
        await self.live.ledger.flush()
        self.assertEqual(self.ledger(self.phone), [(False, False, False)])

    async def test_shown_and_dismissed(self) -> None:
        """Written down; what is dismissed goes from the other devices, once, and from a device that comes later."""
        client, tablet = await self.follow(), await self.follow("tablet")
        await self.ring()
        at, ident = self.head(), (await self.said(client))[0]["interactionId"]
        await self.said(tablet)
        client.say({"shown": ident})
        client.say({"dismiss": ident})
        self.assertEqual(await self.told(tablet), {"retract": ident, "seq": at + 1, "prev": at})
        self.assertEqual(await self.said(client), [])
        client.say({"dismiss": ident})
        self.assertEqual(await self.said(tablet), [])
        self.assertEqual(self.ledger(self.phone), [(False, True, True)])
        self.assertEqual(self.ledger(self.tablet), [(False, False, False)])
        later = await self.follow("tablet", resume=at)
        self.assertEqual([m for m in await self.said(later) if "retract" in m], [{"retract": ident, "seq": at + 1, "prev": at}])

    async def test_answered_elsewhere(self) -> None:
        """The trigger device's progress takes the pop-up from every device that had it; other changes do not."""
        client = await self.follow()
        rang, other = await self.ring(), await self.ring("12345")
        await self.said(client)
        await self.post(f"/v2/interactions/{other['id']}", self.me, {"customTags": "x"})
        told = await self.said(client)
        for step in ({"status": "answered"}, {"duration": 70}):
            await self.progress(rang, **step)
            told += await self.said(client)
        self.assertEqual([m.get("retract") or -m["update"]["id"] for m in told], [-other["id"], -rang["id"], rang["id"], -rang["id"]])

    async def test_dismissed_while_the_database_is_away(self) -> None:
        """It is kept until it can be written."""
        client, tablet = await self.follow(), await self.follow("tablet")
        rang = await self.ring()
        await self.said(client)
        await self.live.ledger.flush()
        entry = self.live.registry.of(self.me.id)[self.phone].entry
        self.live.dismissals._kept.append((entry, rang["id"]))
        await self.swept()
        self.assertEqual([m.get("retract") for m in await self.said(tablet) if "retract" in m], [rang["id"]])


class Epochs(NumberedCase):
    """A database that is not the one it was."""

    async def test_the_same_database(self) -> None:
        """Nothing happens at a start."""
        before = self.epoch()
        self.assertEqual(self.sql("SELECT renew_epochs('')"), [(False,)])
        self.assertEqual(self.epoch(), before)

    async def test_numbers_used_again(self) -> None:
        """After a restore the same numbers mean other events: whoever had them is told to synchronize."""
        before, client = self.epoch(), await self.follow()
        await self.ring()
        (rang,) = await self.said(client)
        self.sql("DELETE FROM interactions")        # as if the backup were older, and its numbers were given out again
        self.sql("UPDATE lineage SET identity = 'the one that was saved'")
        self.assertEqual(self.sql("SELECT renew_epochs('')"), [(True,)])
        await self.ring("12345")
        client = await self.follow(resume={"resume": rang["seq"], "epoch": before})
        self.assertEqual((await self.said(client))[-1], {"resync": True, "epoch": self.epoch(), "seq": self.head(), "prev": self.head()})
        self.assertNotEqual(self.epoch(), before)


class Frames(NumberedCase):
    """What goes out."""

    async def test_made_once(self) -> None:
        """Sockets that stand at the same number share one frame; the notification is the stored one with `prev` behind it."""
        await self.follow(), await self.follow("tablet")
        written: list[bytes] = []
        for session in self.live.registry:
            session.line.transport.writeSomeData = lambda data: written.append(data) or len(data)   # type: ignore[attr-defined]
        notice: Notice = self.tell(self.me, self.phone, self.tablet)
        self.assertIs(written[0], written[1])
        self.assertEqual(orjson.loads(written[0][2:] if written[0][1] < 126 else written[0][4:]),
                         {**orjson.loads(notice.frame), "prev": notice.seq - 1})
        self.parts.app.hub.publish(attrs.evolve(notice))
        self.assertEqual(len(written), 2)
