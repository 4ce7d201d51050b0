"""Login: what a right pair gives, and that every wrong one gets the same answer for the same work."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, gatherResults

from interactd.auth.passwords import hash_password
from interactd.auth.tokens import digest
from interactd.auth.user import User
from interactd.config import Auth
from interactd.db import Statement
from interactd.errors import Forbidden, TooMany, Unauthenticated, Unavailable
from tests.auth_case import ADDRESS, CHEAP, PASSWORD, AuthCase

OTHER_COST = Auth(argon2_memory_kib=64, argon2_time_cost=2)
HOLD = Statement("hold_user", "SELECT id FROM users WHERE id = :id FOR UPDATE")
RAISE = Statement("raise_version", "UPDATE users SET auth_version = auth_version + 1 WHERE id = :id")
NOTHING = Statement("nothing", "SELECT 1")


class LoginTests(AuthCase):
    """Right credentials."""

    async def test_a_login_gives_a_token_of_which_the_database_has_the_hash_only(self) -> None:
        user = self.user()
        login = await self.login()
        self.assertRegex(login.token, r"\A[A-Za-z0-9_-]{43}\Z")
        ((hash_, *others),) = self.sql("SELECT token_hash, user_id, scope, address, agent FROM sessions")
        self.assertEqual((bytes(hash_), *others), (digest(login.token), user, "device app", ADDRESS, "test/1"))
        self.assertEqual(self.sql("SELECT count(*) FROM sessions s WHERE s::text LIKE %s", f"%{login.token}%"), [(0,)])

    async def test_the_user_of_a_login(self) -> None:
        company = self.sql("INSERT INTO companies (name) VALUES ('Acme') RETURNING id")[0][0]
        user = self.user()
        self.sql("UPDATE users SET company_id = %s", company)
        self.sql("INSERT INTO user_roles VALUES (%s, 'user'), (%s, 'customer_admin')", user, user)
        login = await self.login(scope="csr")
        ((session, expires),) = self.sql("SELECT id, (extract(epoch FROM expires_at) * 1000)::bigint FROM sessions")
        roles = frozenset({"user", "customer_admin"})
        self.assertEqual(login.user, User(user, "ann@example.com", company, roles, session, "csr", 1, False, expires))
        self.assertEqual(login.expires, expires)
        self.assertEqual(await self.node.sessions.who(login.token), login.user)

    async def test_who_has_no_role_is_a_user(self) -> None:
        self.user()
        self.assertEqual((await self.login()).user.roles, {"user"})

    async def test_the_name_is_found_in_any_letter_case(self) -> None:
        user = self.user("Ann@Example.com")
        self.assertEqual((await self.login("aNN@eXAMPLE.COM")).user.id, user)

    async def test_a_token_lasts_14_days_whatever_its_scope(self) -> None:
        self.user()
        for scope in ("csr", "device app", "web portal"):
            await self.login(scope=scope)
        self.assertEqual(self.sql("SELECT DISTINCT expires_at - created_at = '14 days' FROM sessions"), [(True,)])

    async def test_a_hash_of_another_cost_is_renewed_by_a_right_password_only(self) -> None:
        self.user()
        self.sql("UPDATE users SET password_hash = %s", hash_password(OTHER_COST, PASSWORD))
        await self.refused(self.login(password="wrong"), Unauthenticated, 5003)
        self.assertIn("t=2", self.sql("SELECT password_hash FROM users")[0][0])
        await self.login()
        self.assertIn("t=1", self.sql("SELECT password_hash FROM users")[0][0])
        await self.login()

    async def test_secrets_do_not_stand_in_what_a_login_shows(self) -> None:
        self.user()
        login = await self.login()
        self.assertNotIn(login.token, repr(login))
        self.assertNotIn("ann@", repr(login))

    async def test_any_agent_can_be_kept(self) -> None:
        self.user()
        await self.node.sessions.login("ann@example.com", PASSWORD, "csr", ADDRESS, "a\0b" + "x" * 1000)
        await self.node.sessions.login("ann@example.com", PASSWORD, "csr", ADDRESS, None)
        self.assertEqual(self.sql("SELECT length(agent) FROM sessions ORDER BY id"), [(255,), (None,)])


class WrongTests(AuthCase):
    """Wrong credentials."""

    async def test_unknown_wrong_inactive_and_without_password_get_one_answer_for_the_same_work(self) -> None:
        self.user()
        self.user("off@example.com", active=False)
        self.user("none@example.com", password=None)
        answers = set()
        for email, password in (("ann@example.com", "wrong"), ("nobody@example.com", PASSWORD), ("off@example.com", PASSWORD),
                                ("off@example.com", "wrong"), ("none@example.com", PASSWORD), ("\0", ""), ("", PASSWORD)):
            self.hasher.verified.clear()
            error = await self.refused(self.login(email, password), Unauthenticated, 5003)
            answers.add((type(error), error.devmsg, error.code(20, 40), error.retry_after))
            costs = [verified.rpartition("$")[0].rpartition("$")[0] for verified in self.hasher.verified]
            self.assertEqual(costs, ["$argon2id$v=19$m=64,t=1,p=1"], email)
        self.assertEqual(answers, {(Unauthenticated, "the username or the password is wrong", 94010200405003, None)})
        self.assertEqual(self.sql("SELECT count(*) FROM sessions"), [(0,)])

    async def test_unknown_inactive_and_known_accounts_are_limited_alike(self) -> None:
        self.user()
        self.user("off@example.com", active=False)
        for number, email in enumerate(("ann@example.com", "off@example.com", "nobody@example.com")):
            for _ in range(10):
                await self.refused(self.login(email, "wrong", address=f"192.0.2.{number}"), Unauthenticated, 5003)
            error = await self.refused(self.login(email, PASSWORD, address=f"192.0.2.{number}"), TooMany, 2004)
            self.assertEqual(error.retry_after, 600)

    async def test_over_the_limit_the_right_password_waits_too_and_costs_no_work(self) -> None:
        self.user()
        for _ in range(10):
            await self.refused(self.login(password="wrong"), Unauthenticated, 5003)
        self.hasher.verified.clear()
        self.assertEqual((await self.refused(self.login(), TooMany, 2004)).retry_after, 600)
        self.assertEqual(self.hasher.verified, [])
        self.clock.advance(600)
        await self.login()

    async def test_the_right_password_of_an_inactive_account_counts_as_a_failure(self) -> None:
        self.user(active=False)
        for _ in range(10):
            await self.refused(self.login(), Unauthenticated, 5003)
        await self.refused(self.login(), TooMany, 2004)

    async def test_an_address_over_its_limit_does_not_reach_the_database(self) -> None:
        for number in range(10):
            await self.refused(self.login(f"user{number}@example.com"), Unauthenticated, 5003)
        self.db.stopService()
        await self.refused(self.login("nobody@example.com"), TooMany, 2004)
        await self.refused(self.login("nobody@example.com", address="192.0.2.9"), Unavailable, 1001)

    async def test_failed_logins_at_once_can_not_pass_the_limit(self) -> None:
        self.user()
        attempts = [Deferred.fromCoroutine(self.login(password="wrong")) for _ in range(40)]
        outcomes = await gatherResults([attempt.addErrback(lambda failure: failure.type) for attempt in attempts])
        self.assertEqual((outcomes.count(Unauthenticated), outcomes.count(TooMany)), (10, 30))
        self.assertEqual(len(self.hasher.verified), 10)

    async def test_right_logins_at_once_are_never_limited(self) -> None:
        self.user()
        for number in range(30):
            self.user(f"user{number}@example.com")
        logins = await gatherResults([Deferred.fromCoroutine(self.login(f"user{number}@example.com")) for number in range(30)])
        self.assertEqual(len({login.token for login in logins}), 30)

    async def test_the_letter_case_of_a_name_does_not_give_more_attempts(self) -> None:
        self.user()
        for number in range(10):
            await self.refused(self.login("ann@example.com".capitalize() if number % 2 else "ANN@example.com", "wrong",
                                          address=f"198.51.100.{number}"), Unauthenticated, 5003)
        await self.refused(self.login(address="203.0.113.1"), TooMany, 2004)

    async def test_guessing_from_elsewhere_slows_new_addresses_and_never_the_owners(self) -> None:
        user = self.user()
        await self.login(address="2001:db8::1")
        for number in range(10):
            await self.refused(self.login(password="wrong", address=f"198.51.100.{number}"), Unauthenticated, 5003)
        self.assertEqual((await self.refused(self.login(address="203.0.113.1"), TooMany, 2004)).retry_after, 60)
        self.assertEqual((await self.login(address="2001:db8::2")).user.id, user)
        self.clock.advance(60)
        await self.login(address="203.0.113.1")

    async def test_the_100_newest_addresses_of_an_account_are_kept(self) -> None:
        user = self.user()
        self.sql("INSERT INTO login_addresses SELECT %s, 'old ' || n, now() - n * interval '1 minute' "
                 "FROM generate_series(1, 120) n", user)
        await self.login()
        self.assertEqual(self.sql("SELECT count(*), count(*) FILTER (WHERE address = %s), bool_or(address = 'old 100') "
                                  "FROM login_addresses", ADDRESS), [(100, 1, False)])

    async def test_a_wrong_login_leaves_no_address(self) -> None:
        self.user()
        await self.refused(self.login(password="wrong"), Unauthenticated, 5003)
        self.assertEqual(self.sql("SELECT count(*) FROM login_addresses"), [(0,)])

    async def test_a_hang_up_during_the_work_counts_as_a_failure(self) -> None:
        self.user()
        for _ in range(10):
            attempt = Deferred.fromCoroutine(self.login(password="wrong"))
            self.hasher.begun = attempt.cancel
            await self.assertFailure(attempt, CancelledError)
        self.hasher.begun = None
        await self.refused(self.login(), TooMany, 2004)


class ConfirmTests(AuthCase):
    """The present password of somebody logged in."""

    async def test_right_and_wrong(self) -> None:
        user = self.user()
        self.assertTrue(await self.node.credentials.confirm(user, PASSWORD, ADDRESS))
        self.assertFalse(await self.node.credentials.confirm(user, "wrong", ADDRESS))
        self.assertFalse(await self.node.credentials.confirm(user + 1, PASSWORD, ADDRESS))

    async def test_it_counts_with_the_logins(self) -> None:
        user = self.user()
        for _ in range(5):
            self.assertFalse(await self.node.credentials.confirm(user, "wrong", ADDRESS))
            await self.refused(self.login(password="wrong"), Unauthenticated, 5003)
        await self.refused(self.node.credentials.confirm(user, PASSWORD, ADDRESS), TooMany, 2004)


class SessionLimitTests(AuthCase):
    """Three sessions a user, in these tests."""

    async def test_one_more_is_refused_and_a_logout_makes_room(self) -> None:
        self.user()
        logins = [await self.login() for _ in range(3)]
        await self.refused(self.login(), TooMany, 2004)
        self.assertEqual(self.sql("SELECT count(*) FROM sessions"), [(3,)])
        await self.node.sessions.logout(logins[0].token)
        await self.login()

    async def test_expired_sessions_do_not_count_and_go(self) -> None:
        self.user()
        for _ in range(3):
            await self.login()
        self.sql("UPDATE sessions SET expires_at = now()")
        await self.login()
        self.assertEqual(self.sql("SELECT count(*) FROM sessions"), [(1,)])

    async def test_logins_at_once_can_not_pass_the_limit(self) -> None:
        self.user()
        outcomes = await gatherResults([Deferred.fromCoroutine(self.login()).addErrback(lambda failure: failure.type)
                                        for _ in range(8)])
        self.assertEqual(outcomes.count(TooMany), 5)
        self.assertEqual(self.sql("SELECT count(*) FROM sessions"), [(3,)])

    async def test_refused_for_its_sessions_a_login_is_no_failure(self) -> None:
        self.user()
        for _ in range(3):
            await self.login()
        for _ in range(20):
            error = await self.refused(self.login(), TooMany, 2004)
            self.assertIn("sessions", error.devmsg)

    async def test_a_login_that_was_checked_before_an_end_of_all_sessions_opens_none(self) -> None:
        user = self.user()
        held: Deferred[None] = Deferred()
        waits: Deferred[None] = Deferred()

        async def end(tx: object) -> None:
            await tx.query(HOLD, id=user)       # type: ignore[attr-defined]
            waits.callback(None)
            await held
            await tx.query(RAISE, id=user)      # type: ignore[attr-defined]
        ending = Deferred.fromCoroutine(self.db.transaction("end", end))
        await waits
        login = Deferred.fromCoroutine(self.login())
        while not self.waiting():
            await self.db.query(NOTHING)
        held.callback(None)
        await ending
        error = await self.assertFailure(login, Unauthenticated)
        self.assertEqual((error.detail, error.devmsg), (5003, "the username or the password is wrong"))
        self.assertEqual(self.sql("SELECT count(*) FROM sessions"), [(0,)])


class FirstAdminTests(AuthCase):
    """The account of the first start, whose password stands in a file."""

    async def test_the_first_login_removes_the_file(self) -> None:
        note = self.config.state.directory / "first-admin"
        note.write_text("secret")
        self.user("admin@example.com", must_change=True)
        self.user()
        await self.login()
        self.assertTrue(note.exists())
        await self.refused(self.login("admin@example.com", "wrong"), Unauthenticated, 5003)
        self.assertTrue(note.exists())
        self.assertTrue((await self.login("admin@example.com")).user.must_change)
        self.assertFalse(note.exists())
        await self.login("admin@example.com")

    async def test_until_the_password_is_changed_everything_else_is_forbidden(self) -> None:
        self.user(must_change=True)
        login = await self.login()
        error = self.assertRaises(Forbidden, (await self.node.sessions.who(login.token)).demand_own_password)
        self.assertEqual(error.code(10, 100), 94020101004004)
        self.assertIn("changePwd", error.devmsg)
        self.sql("UPDATE users SET password_hash = %s, must_change = false", hash_password(CHEAP, "my own"))
        self.clock.advance(5)
        (await self.node.sessions.who(login.token)).demand_own_password()
