"""Events one after the other: what is stored, answered and told (contract section 6)."""
from __future__ import annotations

from select import select
from typing import Any

import orjson
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE
from twisted.internet.defer import Deferred, gatherResults

from interactd.errors import ApiError, Conflict, Invalid, TooMany, Unauthenticated, Unavailable
from interactd.events.event import Event, Outcome
from interactd.events.wire import Wire
from tests.intake_case import IntakeCase, Owner, now

MINUTE = 60_000
HOUR = 60 * MINUTE


class StoredTests(IntakeCase):
    """What an event leaves behind."""

    async def test_the_answer_is_the_interaction(self) -> None:
        ann = self.owner()
        bea = self.contact(ann, "Bea", "+49 2332 667998")
        acme = self.contact(ann, "Acme Ltd", "+49 2332 667998")
        self.belongs(ann, bea, acme)
        outcome = await self.put(ann, time=1_700_000_000_000, receiver_id="line 1", duration=3, status="missed", custom_tags="a,b",
                                 external_systems=[{"system_id": "pbx", "thread_id": "t"}, {"system_id": "crm", "entity_id": "e"}])
        info = self.one("SELECT id FROM basic_infos WHERE contact_id = %s", bea)
        self.assertEqual((outcome.status, outcome.devmsg, outcome.error), (201, "success", None))
        self.assertEqual(self.entity(outcome), {
            "id": 1, "type": "call-incoming", "data": "+49 2332 667998", "time": 1_700_000_000_000, "receiverId": "line 1", "duration": 3,
            "status": "missed", "customTags": "a,b", "basicInfoId": info, "organization": {"id": acme, "displayName": "Acme Ltd"},
            "person": {"id": bea, "displayName": "Bea"},
            "externalSystems": [{"systemId": "pbx", "threadId": "t"}, {"systemId": "crm", "entityId": "e"}]})
        self.assertEqual(orjson.loads(self.one("SELECT interaction_json(i)::text FROM interactions i")), self.entity(outcome))

    async def test_what_is_not_set_is_left_out_and_time_is_now(self) -> None:
        ann, before = self.owner(), now()
        entity = self.entity(await self.put(ann, None))
        self.assertEqual(entity.keys(), {"id", "type", "time", "externalSystems"})
        self.assertEqual(entity["externalSystems"], [])
        self.assertTrue(before - 5 <= entity["time"] <= now() + 5)

    async def test_activity_number_and_deliveries_are_written(self) -> None:
        company = self.company()
        ann = self.owner("ann", company, devices=("desk", "pad", "phone"))
        self.rows("INSERT INTO devices (user_id, device_id, canonical, active) VALUES (%s, 'old', 'old', false)", ann.id)
        self.owner("bob", company)
        entity = self.entity(await self.put(ann))
        self.assertEqual(self.rows("SELECT user_id, actor_id, company_id, action, entity_type, entity_id FROM activities"),
                         [(ann.id, ann.id, company, "insert", "interaction", entity["id"])])
        self.assertEqual(orjson.loads(self.one("SELECT new_state::text FROM activities")), entity)
        self.assertEqual(self.rows("SELECT seq, event_seq, event_prev FROM counters WHERE user_id = %s", ann.id), [(1, 1, 0)])
        self.assertEqual(self.rows("SELECT v.seq, d.device_id FROM deliveries v JOIN devices d ON d.id = v.device_id ORDER BY d.device_id"),
                         [(1, "desk"), (1, "pad")])

    async def test_the_hub_hears_what_the_devices_must(self) -> None:
        ann = self.owner("ann", devices=("desk", "pad"))
        await self.put(ann)
        self.rows("SELECT take(ARRAY[%s])", ann.id)
        await self.put(ann, None, "im-incoming", time=now())
        first, second = self.heard.notices
        devices = tuple(row[0] for row in self.rows("SELECT id FROM devices ORDER BY id"))
        self.assertEqual((first.user_id, first.interaction_id, first.seq, first.prev, sorted(first.device_ids), first.type, first.late),
                         (ann.id, 1, 1, 0, list(devices), "call-incoming", False))
        self.assertEqual((second.seq, second.prev, second.type), (3, 1, "im-incoming"))
        frame = orjson.loads(first.frame)
        self.assertEqual(frame, {"type": "call-incoming", "data": "+49 2332 667998", "interactionId": 1, "time": frame["time"], "seq": 1})
        self.assertEqual(self.one("SELECT notice FROM interactions WHERE id = 1"), first.frame)

    async def test_without_a_device_nobody_is_told(self) -> None:
        await self.put(self.owner("ann", devices=("phone",)))
        self.assertEqual((self.heard.notices, self.stored()), ([], 1))

    async def test_a_clock_ahead_does_not_lead_the_list(self) -> None:
        await self.put(self.owner(), time=now() + HOUR)
        time, order, received = self.rows("SELECT time, sort_time, received FROM interactions")[0]
        self.assertEqual(order, received)
        self.assertGreater(time, received)


class RefusedTests(IntakeCase):
    """Events that are not taken."""

    def refused(self, outcome: Outcome, error: type[ApiError], detail: int) -> None:
        self.assertIsInstance(outcome.error, error)
        assert outcome.error is not None
        self.assertEqual((outcome.error.detail, outcome.status, outcome.entity), (detail, error.status, None))

    async def test_tokens_that_are_no_good(self) -> None:
        ann, bob = self.owner("ann"), self.owner("bob")
        self.refused(await self.put("nobody's"), Unauthenticated, 5002)
        self.assertEqual((await self.put(ann)).status, 201)
        self.rows("UPDATE trigger_devices SET active = false WHERE user_id = %s", ann.id)
        self.rows("UPDATE users SET active = false WHERE id = %s", bob.id)
        for owner in (ann, bob):
            self.refused(await self.put(owner), Unauthenticated, 5002)
        self.assertEqual(self.stored(), 1)

    async def test_times_out_of_range(self) -> None:
        ann = self.owner()
        for time in (946_684_799_999, now() + 25 * HOUR, 2**63 - 1):
            self.refused(await self.put(ann, time=time), Invalid, 2004)
        self.assertEqual((await self.put(ann, time=946_684_800_000)).status, 201)

    async def test_what_can_not_be_stored_fails_alone(self) -> None:
        """NUL, half a character and integers that are too large would each fail a whole batch."""
        ann, bob = self.owner("ann"), self.owner("bob")
        good = Deferred.fromCoroutine(self.put(bob))
        bad = [Deferred.fromCoroutine(self.put(ann, **values)) for values in (
            {"status": "a\0b"}, {"status": "\ud800"}, {"time": 2**63}, {"duration": 2**31}, {"sent_at": -2**63 - 1}, {"sent_at": -2**63},
            {"external_systems": [{"system_id": "x", "entity_id": "\0"}]})]
        for outcome in await gatherResults(bad):
            self.assertEqual(outcome.status, 400)
        self.assertEqual(self.entity(await self.put(ann, status="\\u0000"))["status"], "\\u0000")
        self.assertEqual((await good).status, 201)

    async def test_long_keys_are_keys(self) -> None:
        ann = self.owner()
        first, second = [await self.put(ann, key="k" * 9000) for _ in range(2)]
        self.assertEqual(first.entity, second.entity)


class RepeatTests(IntakeCase):
    """The same event again (contract 6.2)."""

    async def assertRepeated(self, first: Event, *again: Event) -> None:
        """All are answered with the first interaction, which is stored and told once."""
        before = self.stored()
        entity = (await self.intake.put(first)).entity
        for event in again:
            outcome = await self.intake.put(event)
            self.assertEqual((outcome.status, outcome.entity), (201, entity))
        self.assertEqual((self.stored(), len(self.heard.notices)), (before + 1, before + 1))

    async def assertDifferent(self, *events: Event) -> None:
        """Each is an event of its own."""
        before = self.stored()
        for event in events:
            self.assertEqual((await self.intake.put(event)).status, 201)
        self.assertEqual(self.stored(), before + len(events))

    async def test_idempotency_key(self) -> None:
        ann = self.owner()
        await self.assertRepeated(self.event(ann, key="k"), self.event(ann, key="k"))

    async def test_an_idempotency_key_is_the_device_s_own(self) -> None:
        ann = self.owner()
        other, _ = self.phone(ann.id, "other")
        await self.assertDifferent(self.event(ann, key="k"), self.event(other, key="k"), self.event(ann, key="l"),
                                   self.event(self.owner("bob"), key="k"))

    async def test_a_key_with_another_body_is_a_conflict(self) -> None:
        ann = self.owner()
        await self.put(ann, key="k", body_hash=b"1")
        outcome = await self.put(ann, "+49 2332 1111", key="k", body_hash=b"2")
        self.assertIsInstance(outcome.error, Conflict)
        self.assertEqual((outcome.status, outcome.error and outcome.error.detail, self.stored()), (409, 6002, 1))

    async def test_an_idempotency_key_is_good_for_a_day(self) -> None:
        ann = self.owner()
        await self.put(ann, key="k")
        self.rows("UPDATE event_keys SET at = now() - interval '23 hours 59 minutes'")
        self.assertEqual(self.entity(await self.put(ann, key="k"))["id"], 1)
        self.rows("UPDATE event_keys SET at = now() - interval '24 hours 1 minute'")
        self.assertEqual(self.entity(await self.put(ann, key="k", body_hash=b"other"))["id"], 2)
        self.assertEqual(self.entity(await self.put(ann, key="k", body_hash=b"other"))["id"], 2)

    async def test_external_system(self) -> None:
        ann, systems = self.owner(), [{"system_id": "pbx", "entity_id": "7"}]
        await self.assertRepeated(self.event(ann, "+49 2332 667998", "sms-incoming", time=1_700_000_000_000, external_systems=systems),
                                  self.event(ann, "02332/667998", "sms-incoming", time=1_700_000_000_000 + 24 * HOUR, external_systems=systems),
                                  self.event(self.phone(ann.id, "other")[0], "02332/667998", "sms-incoming", time=1_700_000_000_000,
                                             external_systems=[{"system_id": "crm", "entity_id": "1"}, *systems]))

    async def test_external_systems_differ(self) -> None:
        ann = self.owner()
        values: dict[str, Any] = {"data": "+49 2332 667998", "kind": "im-incoming", "time": 1_700_000_000_000}
        pbx = {"system_id": "pbx", "entity_id": "7"}
        await self.assertDifferent(
            self.event(ann, **values, external_systems=[pbx]),
            self.event(ann, **values, external_systems=[{**pbx, "entity_id": "8"}]),
            self.event(ann, **values, external_systems=[{**pbx, "system_id": "crm"}]),
            self.event(ann, **{**values, "kind": "im-outgoing"}, external_systems=[pbx]),
            self.event(ann, **{**values, "data": "bea"}, external_systems=[pbx]),
            self.event(ann, **values, external_systems=[pbx], receiver_id="line 2"),
            self.event(ann, **values, external_systems=[{"system_id": "pbx", "thread_id": "7"}]),
            self.event(ann, **values, external_systems=[{"system_id": "pbx", "thread_id": "7"}]),
            self.event(self.owner("bob"), **values, external_systems=[pbx]))

    async def test_an_external_id_is_good_for_a_day_around_its_time(self) -> None:
        ann, systems = self.owner(), [{"system_id": "pbx", "entity_id": "7"}]
        times = (1_700_000_000_000, 1_700_000_000_000 + 24 * HOUR + 1)
        await self.assertDifferent(*(self.event(ann, kind="sms-incoming", time=time, external_systems=systems) for time in times))

    async def test_a_call_is_known_by_its_time(self) -> None:
        ann = self.owner()
        await self.assertRepeated(self.event(ann, time=1_700_000_000_000), self.event(ann, time=1_700_000_000_000))

    async def test_calls_differ(self) -> None:
        ann, time = self.owner(), 1_700_000_000_000
        await self.assertDifferent(
            self.event(ann, time=time), self.event(ann, time=time + 1), self.event(ann, "+49 2332 1111", time=time),
            self.event(ann, kind="call-outgoing", time=time), self.event(self.phone(ann.id, "other")[0], time=time),
            self.event(ann), self.event(ann), self.event(ann, kind="sms-incoming", time=time), self.event(ann, kind="sms-incoming", time=time))

    async def test_equal_events_of_one_turn_are_one(self) -> None:
        ann = self.owner()
        await self.put(ann, None)
        outcomes = await gatherResults([Deferred.fromCoroutine(self.put(ann, time=1_700_000_000_000)) for _ in range(5)])
        self.assertEqual({outcome.entity for outcome in outcomes}, {outcomes[0].entity})
        self.assertEqual((self.stored(), len(self.heard.notices)), (2, 2))

    async def test_a_stranger_who_calls_twice_in_one_turn_is_kept_once(self) -> None:
        ann, bob = self.owner("ann"), self.owner("bob")
        for owner in (ann, bob):
            await self.put(owner, None)
        self.heard.notices.clear()
        await gatherResults([Deferred.fromCoroutine(self.put(owner)) for owner in (ann, bob, ann)])
        self.assertEqual(self.rows("SELECT user_id FROM basic_infos ORDER BY user_id"), [(ann.id,), (bob.id,)])
        self.assertEqual(self.one("SELECT count(DISTINCT stored_at) FROM deliveries WHERE interaction_id > 2"), 1)
        frames = [frame for frame, notice in zip(self.heard.frames(), self.heard.notices) if notice.user_id == ann.id]
        self.assertEqual([[t["reason"] for t in frame.get("tentatives", ())] for frame in frames], [[], ["unassigned"]])

    async def test_the_first_one_is_gone(self) -> None:
        ann = self.owner()
        await self.put(ann, key="k")
        self.rows("DELETE FROM interactions")
        outcome = await self.put(ann, key="k")
        self.assertEqual((outcome.status, outcome.devmsg, outcome.entity, self.stored()), (200, "duplicate", None, 0))

    async def test_the_answer_is_the_interaction_as_it_is_now(self) -> None:
        ann = self.owner()
        await self.put(ann, key="k")
        self.rows("UPDATE interactions SET status = 'answered'")
        self.assertEqual(self.entity(await self.put(ann, key="k"))["status"], "answered")


class ExcludedTests(IntakeCase):
    """Numbers that shall not ring (contract 6.3)."""

    async def test_nothing_is_stored_and_the_event_comes_back(self) -> None:
        ann = self.owner()
        info = self.info(ann, "+49 2332 667998", self.contact(ann, "Bea"), excluded=True)
        outcome = await self.put(ann, "02332 667998", receiver_id="x", external_systems=[{"system_id": "pbx", "thread_id": "1"}])
        self.assertEqual((outcome.status, outcome.devmsg), (201, "excluded"))
        self.assertEqual(self.entity(outcome), {"type": "call-incoming", "data": "02332 667998", "receiverId": "x",
                                                "externalSystems": [{"systemId": "pbx", "threadId": "1"}]})
        self.assertEqual((self.stored(), self.heard.notices), (0, []))
        await self.put(ann, "02332 667998")
        self.assertEqual(self.one("SELECT excluded_count FROM basic_infos WHERE id = %s", info), 2)
        self.assertTrue(now() - MINUTE < self.one("SELECT last_excluded FROM basic_infos") <= now() + 5)

    async def test_an_unassigned_number_can_be_excluded(self) -> None:
        ann = self.owner()
        await self.put(ann)
        self.rows("UPDATE basic_infos SET excluded = true")
        self.assertEqual((await self.put(ann)).devmsg, "excluded")

    async def test_only_that_number_of_that_user(self) -> None:
        ann, bob = self.owner("ann"), self.owner("bob")
        self.info(ann, "+49 2332 667998", excluded=True)
        for owner, data in ((ann, "+49 2332 667998;ext=1"), (ann, "+49 2332 667999"), (bob, "+49 2332 667998")):
            self.assertEqual((await self.put(owner, data)).devmsg, "success")


class LateTests(IntakeCase):
    """Events that come after the ring (contract 6, late events)."""

    async def late(self, owner: Owner, **values: Any) -> bool:
        """Whether an event is late, by its notification, its notice and its row alike."""
        position = values.pop("position", None)
        frame = await self.rung(owner, None, position=position, **values)
        row = self.rows("SELECT late, time FROM interactions ORDER BY id DESC LIMIT 1")[0]
        self.assertEqual((frame.get("late", False), frame["time"]), row)
        self.assertEqual(self.heard.notices[-1].late, row[0])
        return bool(row[0])

    async def test_in_an_array_by_our_clock(self) -> None:
        ann = self.owner()
        self.assertTrue(await self.late(ann, time=now() - 3 * MINUTE, position=0))
        self.assertFalse(await self.late(ann, time=now() - MINUTE, position=0))
        self.assertFalse(await self.late(ann, position=0))

    async def test_by_the_phone_s_own_clock(self) -> None:
        ann = self.owner()
        for off in (-3 * HOUR, 0, 3 * HOUR):
            self.assertTrue(await self.late(ann, time=now() + off - 3 * MINUTE, sent_at=now() + off))
            self.assertFalse(await self.late(ann, time=now() + off - MINUTE, sent_at=now() + off))
        self.assertFalse(await self.late(ann, time=now() - HOUR, sent_at=now() - HOUR, position=0))

    async def test_alone_by_what_the_phone_s_clock_usually_shows(self) -> None:
        ann = self.owner()
        for each in range(2):
            self.assertFalse(await self.late(ann, time=now() - HOUR + each))
        self.assertTrue(await self.late(ann, time=now() - HOUR - 3 * MINUTE))
        self.assertFalse(await self.late(ann, time=now() - HOUR - MINUTE))
        self.assertFalse(await self.late(ann, time=now() - 30 * MINUTE))
        self.assertTrue(await self.late(ann, time=now() - HOUR))

    async def test_a_clock_that_was_put_back_is_usual_after_twenty_events(self) -> None:
        ann = self.owner()
        self.assertFalse(await self.late(ann, time=now()))
        late = [await self.late(ann, time=now() - HOUR + each) for each in range(21)]      # the same millisecond twice is a repeat
        self.assertEqual(late, [True] * 20 + [False])
        self.assertLessEqual(self.one("SELECT cardinality(clock_skews) FROM trigger_devices"), 20)

    async def test_late_events_have_deliveries_too(self) -> None:
        self.assertTrue(await self.late(self.owner(), time=now() - HOUR, sent_at=now()))
        self.assertEqual(self.one("SELECT count(*) FROM deliveries"), 1)


class SwitchboardTests(IntakeCase):
    """A trigger device that rings for colleagues (contract 6.1)."""

    async def setUp(self) -> None:
        await super().setUp()
        self.acme = self.company()
        self.board = self.owner("board", self.acme, switchboard=True, roles=("customer_admin",))
        self.bob = self.owner("bob", self.acme)

    async def owner_of(self, receiver: str | None, **values: Any) -> int:
        """Whose event it became."""
        outcome = await self.put(self.board, receiver_id=receiver, **values)
        return int(self.one("SELECT user_id FROM interactions WHERE id = %s", self.entity(outcome)["id"]))

    async def test_the_receiver_s_event(self) -> None:
        bea = self.contact(self.bob, "Bea", "+49 2332 667998")
        outcome = await self.put(self.board, "+49 2332 667998", receiver_id="BOB@example.org", duration=4)
        self.assertEqual(self.entity(outcome).keys(), {"id", "type", "data", "time", "receiverId"})
        self.assertEqual(self.rows("SELECT user_id, person_id, trigger_device_id FROM interactions"), [(self.bob.id, bea, self.board.device)])
        self.assertEqual(self.rows("SELECT user_id, actor_id FROM activities"), [(self.bob.id, self.board.id)])
        self.assertEqual(self.rows("SELECT user_id, seq FROM counters ORDER BY user_id"), [(self.board.id, 0), (self.bob.id, 1)])
        notice, = self.heard.notices
        self.assertEqual((notice.user_id, orjson.loads(notice.frame)["match"]["contactId"]), (self.bob.id, bea))

    async def test_a_repeat_tells_no_more_than_the_first(self) -> None:
        self.contact(self.bob, "Bea", "+49 2332 667998")
        first, second = [await self.put(self.board, receiver_id="bob@example.org", key="k") for _ in range(2)]
        self.assertEqual(self.entity(first), self.entity(second))

    async def test_a_key_is_known_whoever_the_receiver_is(self) -> None:
        self.owner("cyd", self.acme)
        await self.put(self.board, receiver_id="bob@example.org", key="k", body_hash=b"1")
        outcome = await self.put(self.board, receiver_id="cyd@example.org", key="k", body_hash=b"2")
        self.assertEqual((outcome.status, self.stored()), (409, 1))

    async def test_one_call_for_two_receivers_is_two_events(self) -> None:
        self.owner("cyd", self.acme)
        for name in ("bob", "cyd"):
            await self.put(self.board, receiver_id=f"{name}@example.org", time=1_700_000_000_000)
        self.assertEqual(self.stored(), 2)

    async def test_other_receivers_are_only_kept(self) -> None:
        self.owner("eve", self.company())
        self.rows("UPDATE users SET active = false WHERE id = %s", self.owner("dan", self.acme).id)
        for receiver in (None, "", "line 1", "nobody@example.org", "eve@example.org", "dan@example.org", "board@example.org"):
            self.assertEqual(await self.owner_of(receiver), self.board.id, receiver)

    async def test_the_role_is_asked_at_each_event(self) -> None:
        self.assertEqual(await self.owner_of("bob@example.org"), self.bob.id)
        self.rows("UPDATE user_roles SET role = 'user' WHERE user_id = %s", self.board.id)
        self.assertEqual(await self.owner_of("bob@example.org"), self.board.id)

    async def test_a_phone_that_is_no_switchboard_rings_for_its_owner(self) -> None:
        self.board.token, _ = self.phone(self.board.id, "plain")
        self.assertEqual(await self.owner_of("bob@example.org"), self.board.id)

    async def test_without_a_company_nobody_is_a_colleague(self) -> None:
        self.board = self.owner("free", None, switchboard=True, roles=("customer_admin",))
        self.owner("other", None)
        self.assertEqual(await self.owner_of("other@example.org"), self.board.id)


class ArrayTests(IntakeCase):
    """Many events of a phone that was offline."""

    async def test_outcomes_in_order(self) -> None:
        ann, time = self.owner(), now() - HOUR
        events = [self.event(ann, f"+49 2332 {1000 + n}", time=time + n, position=n, key="k") for n in range(500)]
        events[3] = self.event(ann, time=1, position=3)
        events[7] = self.event(ann, status="\0", position=7)
        outcomes = await self.intake.put_array(events)
        self.assertEqual([n for n, outcome in enumerate(outcomes) if outcome.status != 201], [3, 7])
        self.assertEqual([self.entity(outcome)["data"] for outcome in outcomes if outcome.entity],
                         [event.values["data"] for n, event in enumerate(events) if n not in (3, 7)])
        self.assertEqual(self.rows("SELECT count(*), count(DISTINCT seq), max(seq), bool_and(late) FROM interactions"), [(498, 498, 498, True)])
        self.assertEqual(self.one("SELECT bool_and(time - %s + 1000 = right(data, 4)::int) FROM interactions", time), True)
        again = await self.intake.put_array(events)
        self.assertEqual([o.entity for o in again if o.status == 201], [o.entity for o in outcomes if o.status == 201])
        self.assertEqual(self.stored(), 498)

    async def test_nothing_good_in_it(self) -> None:
        outcomes = await self.intake.put_array([self.event("nobody's", position=n) for n in range(3)])
        self.assertEqual([outcome.status for outcome in outcomes], [401] * 3)


class LimitTests(IntakeCase):
    """Fair shares (contract section 2)."""

    async def test_events_per_second_of_a_token(self) -> None:
        ann, bob = self.owner("ann"), self.owner("bob")
        self.intake = self.made(events_per_second=0.01, events_burst=3)
        await self.intake.open()
        outcomes = await gatherResults([Deferred.fromCoroutine(self.put(ann)) for _ in range(5)])
        self.assertEqual([outcome.status for outcome in outcomes], [201, 201, 201, 429, 429])
        error = outcomes[3].error
        assert isinstance(error, TooMany) and error.retry_after is not None
        self.assertTrue(90 <= error.retry_after <= 100)
        self.assertEqual((await self.put(bob)).status, 201)

    async def test_an_array_spends_as_many(self) -> None:
        ann = self.owner()
        self.intake = self.made(events_per_second=0.01, events_burst=3)
        await self.intake.open()
        self.assertEqual([o.status for o in await self.intake.put_array([self.event(ann, position=n) for n in range(2)])], [201, 201])
        self.assertEqual([o.status for o in await self.intake.put_array([self.event(ann, position=n) for n in range(2)])], [429, 429])
        self.assertEqual((await self.put(ann)).status, 201)

    async def test_waiting_events_of_a_user_and_of_all(self) -> None:
        ann, bob = self.owner("ann"), self.owner("bob")
        self.intake = self.made(waiting_per_user=3, waiting=5)
        await self.intake.open()
        await self.put(ann)
        second, _ = self.phone(ann.id, "second")
        await self.put(second)
        anns = [Deferred.fromCoroutine(self.put(token)) for token in (ann.token, second, ann.token, second)]
        bobs = [Deferred.fromCoroutine(self.put(bob)) for _ in range(3)]
        self.assertEqual([o.status for o in await gatherResults(anns)], [201, 201, 201, 429])
        outcomes = await gatherResults(bobs)
        self.assertEqual([o.status for o in outcomes], [201, 201, 503])
        error = outcomes[2].error
        assert isinstance(error, Unavailable)
        self.assertEqual(error.retry_after, 1)
        self.assertEqual((await self.put(bob)).status, 201)

    async def test_users_take_turns(self) -> None:
        """Whoever sends a hundred at once does not keep others waiting: their event is in the first batch."""
        ann, bob = self.owner("ann"), self.owner("bob")
        self.intake = self.made(batch=4)
        await self.intake.open()
        for owner in (ann, bob):
            await self.put(owner)
        order: list[str] = []
        many = [Deferred.fromCoroutine(self.put(ann)).addCallback(lambda _: order.append("ann")) for _ in range(100)]
        one = Deferred.fromCoroutine(self.put(bob)).addCallback(lambda _: order.append("bob"))
        await gatherResults([*many, one])
        self.assertLess(order.index("bob"), 4)

    async def test_told_in_the_order_of_commits(self) -> None:
        """A database whose answer is there before anybody waits for it does not have the later batch told first."""
        async def at_once(wire: Wire) -> None:
            while (wanted := wire._poll()) != POLL_OK:
                descriptor = wire._connection.fileno()
                select([descriptor] if wanted == POLL_READ else [], [descriptor] if wanted == POLL_WRITE else [], [])
        ann = self.owner("ann")
        await self.put(ann)
        self.intake = self.made(batch=1)
        await self.intake.open()
        await self.put(ann)
        self.patch(Wire, "_settled", at_once)
        answered: list[int] = []
        await gatherResults([Deferred.fromCoroutine(self.put(ann, f"+49 2332 {number}")).addCallback(lambda _, n=number: answered.append(n))
                             for number in range(12)])
        self.assertEqual(answered, list(range(12)))
        numbers = [notice.seq for notice in self.heard.notices]
        self.assertEqual(numbers, sorted(numbers))

    async def test_events_that_arrive_together_are_one_transaction(self) -> None:
        owners = [self.owner(f"u{n}") for n in range(20)]
        for owner in owners:
            await self.put(owner)
        await gatherResults([Deferred.fromCoroutine(self.put(owner)) for owner in owners])
        self.assertEqual(self.one("SELECT count(DISTINCT stored_at) FROM deliveries WHERE interaction_id > 20"), 1)

    async def test_after_the_end_nothing_is_taken(self) -> None:
        ann = self.owner()
        await self.intake.stopService()
        self.assertEqual((await self.put(ann)).status, 503)


class HintTests(IntakeCase):
    """What the daemon remembers of a token is never believed."""

    async def test_a_company_that_moves_is_noticed(self) -> None:
        company = self.company("DE", "2332")
        ann = self.owner("ann", company)
        await self.put(ann, "667998")
        self.rows("UPDATE companies SET region = 'AT', area_code = '1' WHERE id = %s", company)
        await self.put(ann, "667998")
        self.assertEqual(self.rows("SELECT canon FROM basic_infos ORDER BY id"), [("+492332667998",), ("+431667998",)])

    async def test_a_token_that_changes_hands_is_noticed(self) -> None:
        ann, bob = self.owner("ann"), self.owner("bob")
        await self.put(ann)
        self.rows("DELETE FROM interactions")
        self.rows("UPDATE trigger_devices SET user_id = %s, device_id = 'moved' WHERE id = %s", bob.id, ann.device)
        await self.put(ann)
        self.assertEqual(self.rows("SELECT user_id FROM interactions"), [(bob.id,)])

    async def test_unknown_tokens_in_one_turn(self) -> None:
        """First sight of a user by many events: all are stored, in order."""
        ann = self.owner()
        outcomes = await gatherResults([Deferred.fromCoroutine(self.put(ann, f"+49 2332 {1000 + n}")) for n in range(30)])
        self.assertEqual([self.entity(outcome)["id"] for outcome in outcomes], list(range(1, 31)))
