"""What a change of password, a reset or an administrator ends: sessions, devices, queued deliveries."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from interactd.auth.ending import Ending, end_sessions
from interactd.auth.sessions import Login
from interactd.auth.tokens import digest
from interactd.auth.trigger import TriggerDevice, trigger
from interactd.changes import Ended
from interactd.db import Statement
from interactd.errors import Unauthenticated
from tests.auth_case import AuthCase

TAKE = Statement("take_counter", "SELECT take(ARRAY[:user_id::bigint])")
SWITCH_OFF = Statement("switch_off_user", "UPDATE users SET active = false WHERE id = :user_id")
REGISTER = Statement("register_device", """
INSERT INTO devices (user_id, device_id, canonical, session_id) VALUES (:user_id, 'late', 'late', :session_id)""")
NOTHING = Statement("nothing", "SELECT 1")


class EndingCase(AuthCase):
    """One account with two sessions, each of which has registered a device and a trigger device; one more of each is older."""

    async def setUp(self) -> None:
        await super().setUp()
        self.ann = self.user()
        self.mine, self.theirs = await self.login(), await self.login()
        registered = (("old", None), ("mine", self.mine), ("theirs", self.theirs))
        self.devices = [self.device(name, login) for name, login in registered]
        self.triggers = [self.trigger(name, login) for name, login in registered]

    def device(self, name: str, login: Login | None) -> int:
        return int(self.sql("INSERT INTO devices (user_id, device_id, canonical, session_id) VALUES (%s, %s, %s, %s) "
                            "RETURNING id", self.ann, name, name, login and login.user.session_id)[0][0])

    def trigger(self, name: str, login: Login | None) -> int:
        return int(self.sql("INSERT INTO trigger_devices (user_id, device_id, salt, key_id, token_hash, session_id) "
                            "VALUES (%s, %s, '', 'key', %s, %s) RETURNING id",
                            self.ann, name, digest(name), login and login.user.session_id)[0][0])

    async def end(self, keep: int | None = None, deactivate_devices: bool = True, switch_off: bool = False) -> Ending:
        """As a call does it: the counter first, the announcement after the commit."""
        async def work(tx: Any) -> Ending:
            await tx.query(TAKE, user_id=self.ann)
            if switch_off:
                await tx.query(SWITCH_OFF, user_id=self.ann)
            return await end_sessions(tx, self.ann, keep, deactivate_devices)
        ending = await self.db.transaction("end", work)
        self.node.hub.publish(ending.event)
        return ending

    def active(self, table: str) -> list[str]:
        return [row[0] for row in self.sql(f"SELECT device_id FROM {table} WHERE active ORDER BY id")]


class EndingTests(EndingCase):
    """Sessions and devices."""

    async def test_all_sessions_end_with_what_they_registered(self) -> None:
        ending = await self.end()
        self.assertEqual(ending, Ending(Ended(self.ann, None, tuple(self.devices[1:]), None), tuple(self.devices[1:]),
                                        tuple(self.triggers[1:])))
        self.assertEqual((self.active("devices"), self.active("trigger_devices")), (["old"], ["old"]))
        self.assertEqual(self.sql("SELECT count(*) FROM sessions"), [(0,)])

    async def test_the_kept_session_keeps_its_devices(self) -> None:
        keep = self.mine.user.session_id
        ending = await self.end(keep)
        self.assertEqual(ending, Ending(Ended(self.ann, None, (self.devices[2],), keep), (self.devices[2],), (self.triggers[2],)))
        self.assertEqual((self.active("devices"), self.active("trigger_devices")), (["old", "mine"], ["old", "mine"]))
        self.assertEqual(self.sql("SELECT id FROM sessions"), [(keep,)])

    async def test_devices_can_be_left_alone(self) -> None:
        ending = await self.end(deactivate_devices=False)
        self.assertEqual(ending, Ending(Ended(self.ann)))
        self.assertEqual(self.active("devices"), ["old", "mine", "theirs"])
        self.assertEqual(self.sql("SELECT count(*) FROM sessions"), [(0,)])

    async def test_what_was_inactive_before_is_not_named(self) -> None:
        self.sql("UPDATE devices SET active = false")
        self.assertEqual((await self.end()).devices, ())

    async def test_tokens_die_at_once_here_and_within_5_seconds_elsewhere(self) -> None:
        for node in (self.node, self.other):
            for login in (self.mine, self.theirs):
                await node.sessions.who(login.token)
        await self.end(self.mine.user.session_id)
        self.assertEqual((await self.node.sessions.who(self.mine.token)).auth_version, 2)
        await self.refused(self.node.sessions.who(self.theirs.token), Unauthenticated, 5002)
        await self.other.sessions.who(self.theirs.token)
        self.clock.advance(5)
        self.assertEqual((await self.other.sessions.who(self.mine.token)).auth_version, 2)
        await self.refused(self.other.sessions.who(self.theirs.token), Unauthenticated, 5002)

    async def test_it_is_all_or_nothing(self) -> None:
        async def work(tx: Any) -> None:
            await end_sessions(tx, self.ann)
            raise KeyError("afterwards")
        await self.assertFailure(Deferred.fromCoroutine(self.db.transaction("end", work)), KeyError)
        self.assertEqual(self.sql("SELECT count(*), min(auth_version) FROM sessions JOIN users u ON u.id = user_id"), [(2, 1)])
        self.assertEqual(self.active("devices"), ["old", "mine", "theirs"])

    async def test_nobody_else_is_touched(self) -> None:
        self.user("ben@example.com")
        ben = await self.login("ben@example.com")
        self.sql("INSERT INTO devices (user_id, device_id, canonical, session_id) VALUES (%s, 'ben', 'ben', %s)",
                 ben.user.id, ben.user.session_id)
        await self.end()
        self.assertIn("ben", self.active("devices"))
        self.assertEqual((await self.node.sessions.who(ben.token)).auth_version, 1)

    async def test_a_device_whose_registration_is_under_way_is_not_missed(self) -> None:
        registered: Deferred[None] = Deferred()
        go: Deferred[None] = Deferred()

        async def register(tx: Any) -> None:
            await tx.query(REGISTER, user_id=self.ann, session_id=self.theirs.user.session_id)
            registered.callback(None)
            await go
        registering = Deferred.fromCoroutine(self.db.transaction("register", register))
        await registered
        ending = Deferred.fromCoroutine(self.end())
        while not self.waiting():
            await self.db.query(NOTHING)
        go.callback(None)
        await registering
        self.assertEqual(len((await ending).devices), 3)
        self.assertEqual(self.active("devices"), ["old"])


class DeliveryTests(EndingCase):
    """Queued deliveries."""

    async def setUp(self) -> None:
        await super().setUp()
        ((self.event,),) = self.sql("INSERT INTO interactions (user_id, type, time, sort_time, created_seq, seq) "
                                    "VALUES (%s, 'call-incoming', 1, 1, 1, 1) RETURNING id", self.ann)

    def queue(self, *devices: int, **columns: str) -> None:
        for device in devices:
            names, values = "".join(f", {name}" for name in columns), "".join(f", {value}" for value in columns.values())
            self.sql(f"INSERT INTO deliveries (interaction_id, device_id, user_id, seq{names}) VALUES (%s, %s, %s, 1{values})",
                     self.event, device, self.ann)

    def dropped(self) -> list[int]:
        """The devices whose delivery failed because of the end."""
        return [row[0] for row in self.sql("SELECT device_id FROM deliveries WHERE failed = 'ended' AND failed_at IS NOT NULL "
                                           "AND due_at IS NULL ORDER BY device_id")]

    async def test_what_waits_for_a_device_that_became_inactive_is_dropped(self) -> None:
        self.queue(*self.devices)
        await self.end(self.mine.user.session_id)
        self.assertEqual(self.dropped(), [self.devices[2]])

    async def test_with_the_account_switched_off_all_that_waits_is_dropped(self) -> None:
        self.queue(*self.devices)
        await self.end(switch_off=True)
        self.assertEqual(self.dropped(), self.devices)

    async def test_a_push_that_is_due_is_dropped(self) -> None:
        self.queue(self.devices[2], sent_at="now()", due_at="now()")
        await self.end()
        self.assertEqual(self.dropped(), [self.devices[2]])

    async def test_what_has_ended_before_stays_as_it_was(self) -> None:
        for columns in ({"sent_at": "now()"}, {"sent_at": "now()", "acked_at": "now()", "due_at": "now()"},
                        {"failed_at": "now()", "failed": "'moved'"}, {"pushed_at": "now()", "due_at": "now()"}):
            self.sql("DELETE FROM deliveries")
            self.sql("UPDATE devices SET active = false")
            self.queue(self.devices[2], **columns)
            before = self.sql("SELECT * FROM deliveries")
            await self.end()
            self.assertEqual(self.sql("SELECT * FROM deliveries"), before)

    async def test_with_devices_left_alone_their_deliveries_stay(self) -> None:
        self.queue(*self.devices)
        await self.end(deactivate_devices=False)
        self.assertEqual(self.dropped(), [])


class TriggerTests(EndingCase):
    """The device behind a triggerToken."""

    async def test_the_device_of_a_token(self) -> None:
        self.assertEqual(await trigger(self.db, digest("mine")), TriggerDevice(self.triggers[1], self.ann, "mine", False))
        self.sql("UPDATE trigger_devices SET switchboard = true")
        self.assertTrue((await trigger(self.db, digest("mine"))).switchboard)

    async def test_unknown_inactive_and_of_an_inactive_owner(self) -> None:
        await self.refused(trigger(self.db, digest("unknown")), Unauthenticated, 5002)
        await self.end(self.mine.user.session_id)
        await self.refused(trigger(self.db, digest("theirs")), Unauthenticated, 5002)
        await trigger(self.db, digest("mine"))
        await self.end(switch_off=True, deactivate_devices=False)
        await self.refused(trigger(self.db, digest("old")), Unauthenticated, 5002)
