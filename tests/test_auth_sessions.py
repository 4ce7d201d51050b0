"""Who is calling: what is remembered, for how long, and what ends it at once."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from interactd.auth.tokens import digest, new_token
from interactd.changes import Changed, Ended
from interactd.db import Statement
from interactd.errors import Invalid, Unauthenticated
from tests.auth_case import AuthCase

HOLD_ROWS = Statement("hold_rows", "SELECT id FROM sessions FOR UPDATE")


class SessionCase(AuthCase):
    """One account with one session, known to the first node."""

    async def setUp(self) -> None:
        await super().setUp()
        self.ann = self.user()
        self.session = await self.login()
        self.token = self.session.token

    async def who(self, **options: bool) -> Any:
        return await self.node.sessions.who(self.token, **options)

    async def dead(self, token: str | None = None) -> None:
        error = await self.refused(self.node.sessions.who(self.token if token is None else token), Unauthenticated, 5002)
        self.assertEqual(error.code(10, 100), 94010101005002)


class WhoTests(SessionCase):
    """Tokens, dead and alive."""

    async def test_dead_tokens(self) -> None:
        for token in ("", "x", "\0", "\ud800", new_token(), self.token.swapcase(), self.token + "=", self.token[:-1], "é" * 9000):
            await self.dead(token)

    async def test_an_expired_token_is_dead_on_the_millisecond(self) -> None:
        await self.who()
        self.sql("UPDATE sessions SET expires_at = now()")
        self.clock.advance(5)
        await self.dead()

    async def test_a_remembered_session_does_not_outlive_its_expiry(self) -> None:
        self.sql("UPDATE sessions SET expires_at = now() + interval '3 seconds', created_at = now() - interval '89 days'")
        await self.who()
        self.sql("UPDATE sessions SET expires_at = now()")
        self.clock.advance(3)
        await self.dead()

    async def test_the_session_of_an_inactive_account_is_dead(self) -> None:
        self.sql("UPDATE users SET active = false")
        await self.dead()

    async def test_for_less_than_5_seconds_the_database_is_not_asked_again(self) -> None:
        user = await self.who()
        self.sql("DELETE FROM sessions")
        self.clock.advance(4.99)
        self.assertEqual(await self.who(), user)
        self.clock.advance(0.01)
        await self.dead()

    async def test_what_another_node_ends_is_noticed_within_5_seconds(self) -> None:
        await self.who()
        await self.other.sessions.logout(self.token)
        self.clock.advance(5)
        await self.dead()

    async def test_what_another_node_changes_is_noticed_within_5_seconds(self) -> None:
        before = await self.who()
        self.sql("INSERT INTO user_roles VALUES (%s, 'interact_admin')", self.ann)
        self.sql("UPDATE users SET auth_version = auth_version + 1")
        self.assertEqual(await self.who(), before)
        self.clock.advance(5)
        after = await self.who()
        self.assertEqual((after.roles, after.auth_version), ({"interact_admin"}, before.auth_version + 1))

    async def test_a_fresh_answer_asks_the_database_and_is_remembered(self) -> None:
        await self.who()
        self.sql("INSERT INTO user_roles VALUES (%s, 'interact_admin')", self.ann)
        self.assertEqual((await self.who(fresh=True)).roles, {"interact_admin"})
        self.assertEqual((await self.who()).roles, {"interact_admin"})
        self.sql("DELETE FROM sessions")
        await self.refused(self.who(fresh=True), Unauthenticated, 5002)
        await self.dead()

    async def test_an_end_told_by_the_hub_counts_at_once(self) -> None:
        for ended in (Ended(self.ann), Ended(self.ann, (self.session.user.session_id,)), Ended(self.ann, None, (), 0)):
            await self.who()
            self.node.hub.publish(ended)
            self.sql("UPDATE users SET auth_version = auth_version + 1")
            self.assertEqual((await self.who()).auth_version, self.sql("SELECT auth_version FROM users")[0][0])
        self.sql("DELETE FROM sessions")
        self.node.hub.publish(Ended(self.ann))
        await self.dead()

    async def test_a_change_of_the_user_told_by_the_hub_counts_at_once(self) -> None:
        await self.who()
        self.sql("INSERT INTO user_roles VALUES (%s, 'customer_admin')", self.ann)
        self.node.hub.publish(Changed(99, 1, "update", "user", self.ann))
        self.assertEqual((await self.who()).roles, {"customer_admin"})

    async def test_news_of_others_and_of_other_things_change_nothing(self) -> None:
        user = await self.who()
        self.sql("DELETE FROM sessions")
        self.node.hub.publish(Ended(self.ann + 1))
        self.node.hub.publish(Changed(self.ann, 1, "update", "contact", self.ann))
        self.assertEqual(await self.who(), user)

    async def test_an_end_while_the_database_is_being_asked_is_not_missed(self) -> None:
        asking = await self.asked()
        self.sql("DELETE FROM sessions")
        self.node.hub.publish(Ended(self.ann))
        error = await self.assertFailure(asking, Unauthenticated)
        self.assertEqual(error.detail, 5002)
        await self.dead()

    async def test_a_change_while_the_database_is_being_asked_is_not_missed(self) -> None:
        asking = await self.asked()
        self.sql("INSERT INTO user_roles VALUES (%s, 'customer_admin')", self.ann)
        self.node.hub.publish(Changed(self.ann, 1, "update", "user", self.ann))
        self.assertEqual((await asking).roles, {"customer_admin"})

    async def asked(self) -> Deferred[Any]:
        """A `who` that PostgreSQL has answered, but whose answer this process has not read yet."""
        await self.who(fresh=True)
        ((last,),) = self.sql("SELECT max(query_start) FROM pg_stat_activity WHERE query LIKE 'EXECUTE session_of_token%%' "
                              "AND datname = current_database()")
        asking = Deferred.fromCoroutine(self.who(fresh=True))
        while self.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'EXECUTE session_of_token%%' AND state = 'idle' "
                       "AND datname = current_database() "
                       "AND query_start > %s", last) == [(0,)]:
            self.assertNoResult(asking)
        return asking


class MemoryTests(SessionCase):
    """How much is remembered."""

    async def test_the_least_recently_used_sessions_are_forgotten_first(self) -> None:
        self.node.sessions.remembered = 2
        two, three = await self.login(), await self.login()
        await self.who()
        await self.node.sessions.who(two.token)
        await self.who()
        await self.node.sessions.who(three.token)
        self.sql("DELETE FROM sessions")
        await self.who()
        await self.node.sessions.who(three.token)
        await self.dead(two.token)

    async def test_dead_tokens_are_not_remembered(self) -> None:
        token = new_token()
        await self.dead(token)
        self.sql("UPDATE sessions SET token_hash = %s", digest(token))
        self.assertEqual((await self.node.sessions.who(token)).id, self.ann)


class RenewalTests(SessionCase):
    """Sliding expiry."""

    def times(self) -> tuple[bool, bool]:
        """Whether the session was used just now, and expires 14 days after that."""
        return self.sql("SELECT now() - used_at < '30 seconds', expires_at - used_at = '14 days' FROM sessions")[0]

    def age(self, seconds: int) -> None:
        self.sql("UPDATE sessions SET used_at = used_at - %s * interval '1 s', expires_at = expires_at - %s * interval '1 s'",
                 seconds, seconds)

    async def test_a_call_renews_a_session_last_used_over_a_minute_ago(self) -> None:
        self.age(61)
        before = await self.who()
        await self.node.sessions.settled()
        self.assertEqual(self.times(), (True, True))
        self.clock.advance(5)
        self.assertGreaterEqual((await self.who()).expires - before.expires, 61_000)

    async def test_within_the_minute_nothing_is_written(self) -> None:
        self.age(50)
        before = self.sql("SELECT xmin::text, used_at FROM sessions")
        for _ in range(10):
            await self.who(fresh=True)
        await self.node.sessions.settled()
        self.assertEqual(self.sql("SELECT xmin::text, used_at FROM sessions"), before)

    async def test_calls_at_once_write_it_once(self) -> None:
        self.age(61)
        self.sql("CREATE TABLE written (at timestamptz)")
        self.sql("CREATE FUNCTION written() RETURNS trigger LANGUAGE plpgsql AS "
                 "'BEGIN INSERT INTO written VALUES (now()); RETURN NULL; END'")
        self.sql("CREATE TRIGGER written AFTER UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION written()")
        await gatherResults([Deferred.fromCoroutine(self.who(fresh=True)) for _ in range(20)])
        await self.node.sessions.settled()
        self.assertEqual(self.sql("SELECT count(*) FROM written"), [(1,)])

    async def test_portal_and_csr_end_90_days_after_the_login(self) -> None:
        for scope, days in (("web portal", 90), ("csr", 90), ("device app", 94)):
            self.sql("UPDATE sessions SET scope = %s, created_at = now() - interval '80 days', "
                     "used_at = now() - interval '1 hour', expires_at = now() + interval '1 day'", scope)
            await self.who(fresh=True)
            await self.node.sessions.settled()
            self.assertEqual(self.sql("SELECT round(extract(epoch FROM expires_at - created_at) / 86400) FROM sessions"),
                             [(days,)])

    async def test_an_expired_session_is_not_renewed(self) -> None:
        self.sql("UPDATE sessions SET used_at = now() - interval '15 days', expires_at = now()")
        await self.dead()
        self.assertEqual(await self.node.sessions.good([self.session.user.session_id]), frozenset())
        await self.node.sessions.settled()
        self.assertEqual(self.sql("SELECT expires_at <= now() FROM sessions"), [(True,)])

    async def test_a_renewal_waits_for_nobody_and_its_failure_hurts_nobody(self) -> None:
        self.age(61)
        locked: Deferred[None] = Deferred()
        go: Deferred[None] = Deferred()

        async def lock(tx: Any) -> None:
            await tx.query(HOLD_ROWS)
            locked.callback(None)
            await go
        locking = Deferred.fromCoroutine(self.db.transaction("lock", lock))
        await locked
        await self.who()
        await self.node.sessions.settled()
        go.callback(None)
        await locking
        self.assertEqual(self.times()[0], False)
        self.clock.advance(5)
        await self.who()
        await self.node.sessions.settled()
        self.assertEqual(self.times()[0], True)

    async def test_a_renewal_that_fails_is_left_to_the_next_use(self) -> None:
        self.age(61)
        self.sql("CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE '53100'; END $$")
        self.sql("CREATE TRIGGER broken BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION broken()")
        self.assertEqual((await self.who()).id, self.ann)
        await self.node.sessions.settled()
        self.sql("DROP TRIGGER broken ON sessions")
        await self.who(fresh=True)
        await self.node.sessions.settled()
        self.assertEqual(self.times(), (True, True))

    async def test_open_sockets_learn_which_sessions_are_good_and_renew_them(self) -> None:
        gone, off = await self.login(), self.user("off@example.com")
        other = await self.login("off@example.com")
        self.age(61)
        self.sql("DELETE FROM sessions WHERE id = %s", gone.user.session_id)
        self.sql("UPDATE users SET active = false WHERE id = %s", off)
        asked = [login.user.session_id for login in (self.session, gone, other)]
        self.assertEqual(await self.node.sessions.good(asked), {self.session.user.session_id})
        self.assertEqual(self.times(), (True, True))
        self.assertEqual(await self.node.sessions.good([]), frozenset())


class LogoutTests(SessionCase):
    """The end of one session."""

    async def test_it_counts_at_once_and_is_told(self) -> None:
        told: list[Ended] = []
        self.node.hub.subscribe(Ended, told.append)
        second = await self.login()
        await self.who()
        await self.node.sessions.logout(self.token)
        await self.dead()
        self.assertEqual(told, [Ended(self.ann, (self.session.user.session_id,))])
        self.assertEqual((await self.node.sessions.who(second.token)).id, self.ann)

    async def test_unknown_and_expired_tokens_are_400(self) -> None:
        self.sql("UPDATE sessions SET expires_at = now()")
        for token in (new_token(), "", self.token):
            error = await self.refused(self.node.sessions.logout(token), Invalid, 5002)
            self.assertEqual((error.status, error.code(21, 40)), (400, 92010210405002))

    async def test_a_second_logout_is_400(self) -> None:
        await self.node.sessions.logout(self.token)
        await self.refused(self.node.sessions.logout(self.token), Invalid, 5002)

    async def test_devices_stay(self) -> None:
        self.sql("INSERT INTO devices (user_id, device_id, canonical, session_id) VALUES (%s, 'd', 'd', %s)",
                 self.ann, self.session.user.session_id)
        await self.node.sessions.logout(self.token)
        self.assertEqual(self.sql("SELECT active, session_id FROM devices"), [(True, None)])
