"""Password hashes, and the few threads that make and check them."""

from __future__ import annotations

import threading
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from interactd.auth.passwords import Passwords, hash_password, hasher_for
from interactd.config import Auth
from interactd.errors import TooMany, Unavailable

CHEAP = Auth(argon2_memory_kib=64, argon2_time_cost=1)


class HashTests(SynchronousTestCase):
    """What the database keeps."""

    def test_argon2id_with_the_configured_cost(self) -> None:
        stored = hash_password(Auth(argon2_memory_kib=96, argon2_time_cost=2, argon2_parallelism=3), "secret")
        self.assertTrue(stored.startswith("$argon2id$v=19$m=96,t=2,p=3$"), stored)

    def test_two_hashes_of_one_password_differ(self) -> None:
        self.assertNotEqual(hash_password(CHEAP, "secret"), hash_password(CHEAP, "secret"))


class CheckTests(TestCase):
    """Checks on real threads."""

    def setUp(self) -> None:
        self.passwords = Passwords(CHEAP, reactor)
        self.passwords.startService()
        self.addCleanup(self.passwords.stopService)

    async def test_right_wrong_and_none(self) -> None:
        stored = await self.passwords.hash("secret")
        self.assertIs(await self.passwords.check(stored, "secret"), True)
        self.assertIs(await self.passwords.check(stored, "Secret"), False)
        self.assertIs(await self.passwords.check(None, "secret"), False)
        self.assertIs(await self.passwords.check("no hash at all", "secret"), False)

    async def test_accents_composed_or_not_are_one_password(self) -> None:
        stored = await self.passwords.hash("Caf\u00e9")
        self.assertTrue(await self.passwords.check(stored, "Cafe\u0301"))
        self.assertFalse(await self.passwords.check(stored, "Cafe"))

    async def test_any_text_can_be_tried(self) -> None:
        for text in ("", "\0", "\ud800", "x" * 100_000):
            self.assertFalse(await self.passwords.check(None, text))

    async def test_a_hash_of_another_cost_is_outdated(self) -> None:
        self.assertFalse(self.passwords.outdated(hash_password(CHEAP, "secret")))
        self.assertTrue(self.passwords.outdated(hash_password(Auth(argon2_memory_kib=64, argon2_time_cost=2), "secret")))

    async def test_a_failure_of_argon2_itself_is_not_a_wrong_password(self) -> None:
        class Starved(PasswordHasher):
            def verify(self, hash: Any, password: Any) -> Any:
                raise VerificationError("Memory allocation error")
        starved = Passwords(CHEAP, reactor, Starved(1, 64, 1))
        starved.startService()
        self.addCleanup(starved.stopService)
        await self.assertFailure(Deferred.fromCoroutine(starved.check(None, "secret")), VerificationError)

    async def test_after_the_stop_nothing_is_checked(self) -> None:
        stopped = Passwords(CHEAP, reactor)
        await self.assertFailure(Deferred.fromCoroutine(stopped.check(None, "secret")), Unavailable)


class Gate(PasswordHasher):
    """A hasher whose checks wait in their threads until the test lets one go; `arrived` counts those that got there."""

    def __init__(self) -> None:
        plain = hasher_for(CHEAP)
        super().__init__(plain.time_cost, plain.memory_cost, plain.parallelism)
        self.open = threading.Semaphore(0)
        self.arrived = 0
        self._expected: list[tuple[int, Deferred[None]]] = []

    def verify(self, hash: Any, password: Any) -> Any:
        reactor.callFromThread(self._arrive)
        self.open.acquire()
        return super().verify(hash, password)

    def arrivals(self, number: int) -> Deferred[None]:
        """Fires when so many checks have reached their threads."""
        waiting: Deferred[None] = Deferred()
        self._expected.append((number, waiting))
        self._tell()
        return waiting

    def _arrive(self) -> None:
        self.arrived += 1
        self._tell()

    def _tell(self) -> None:
        for number, waiting in self._expected:
            if self.arrived >= number and not waiting.called:
                waiting.callback(None)


class PoolTests(TestCase):
    """Four at once, 64 waiting."""

    def setUp(self) -> None:
        self.gate = Gate()
        self.passwords = Passwords(CHEAP, reactor, self.gate)
        self.passwords.startService()
        self.addCleanup(self.passwords.stopService)
        self.addCleanup(self.gate.open.release, 1000)
        self.admitted = 0

    def admit(self) -> None:
        self.admitted += 1

    def check(self) -> Deferred[bool]:
        return Deferred.fromCoroutine(self.passwords.check(None, "secret", self.admit))

    async def test_four_at_once_64_wait_and_the_next_is_refused(self) -> None:
        checks = [self.check() for _ in range(68)]
        await self.gate.arrivals(4)
        self.assertEqual((self.gate.arrived, self.admitted), (4, 4))
        refused = await self.assertFailure(self.check(), Unavailable)
        self.assertEqual((refused.status, refused.retry_after), (503, 1))
        self.gate.open.release()
        await self.gate.arrivals(5)
        self.assertEqual((self.gate.arrived, self.admitted), (5, 5), "one thread became free, one check went in")
        last = self.check()
        self.gate.open.release(1000)
        self.assertEqual(await gatherResults([*checks, last]), [False] * 69)
        self.assertEqual(self.admitted, 69)

    async def test_whoever_gives_up_while_waiting_leaves_the_place_to_another(self) -> None:
        checks = [self.check() for _ in range(68)]
        checks[-1].cancel()
        await self.assertFailure(checks.pop(), CancelledError)
        checks.append(self.check())
        self.gate.open.release(1000)
        self.assertEqual(await gatherResults(checks), [False] * 68)
        self.assertEqual(self.admitted, 68, "the one that gave up was never let in")

    async def test_whoever_gives_up_during_the_work_holds_the_thread_until_it_is_done(self) -> None:
        checks = [self.check() for _ in range(4)]
        await self.gate.arrivals(4)
        checks[0].cancel()
        await self.assertFailure(checks.pop(0), CancelledError)
        waiting = self.check()
        self.assertEqual(self.admitted, 4)
        self.gate.open.release(1000)
        self.assertEqual(await gatherResults([*checks, waiting]), [False] * 4)
        self.assertEqual(self.admitted, 5)

    async def test_a_refusal_costs_no_work_and_frees_its_thread(self) -> None:
        def refuse() -> None:
            raise TooMany("wait")
        for _ in range(10):
            await self.assertFailure(Deferred.fromCoroutine(self.passwords.check(None, "secret", refuse)), TooMany)
        self.assertEqual(self.gate.arrived, 0)
        self.gate.open.release(1000)
        self.assertEqual(await gatherResults([self.check() for _ in range(10)]), [False] * 10)

    async def test_those_waiting_at_the_stop_are_refused(self) -> None:
        passwords = Passwords(CHEAP, reactor, self.gate)
        passwords.startService()
        checks = [Deferred.fromCoroutine(passwords.check(None, "secret")) for _ in range(5)]
        await self.gate.arrivals(4)
        self.gate.open.release(1000)
        passwords.stopService()
        await self.assertFailure(checks.pop(), Unavailable)
        self.assertEqual(await gatherResults(checks), [False] * 4)
