"""Every status and reason of Apple's, and what is done about it, row by row (docs/apns.md)."""
from __future__ import annotations

from typing import Any

import jwt
from twisted.internet.defer import Deferred

from interactd.push import reasons
from interactd.push.notification import Kind, Outcome
from interactd.push.pool import Mode
from interactd.push.reasons import ACTS, Act, Answer, answer
from interactd.push.tokens import ProviderToken
from tests.apns_case import KEY
from tests.apns_double import Apple
from tests.test_apns_pool import PoolCase

DROPPED = {400: "BadCollapseId BadExpirationDate BadMessageId BadPriority BadTopic DuplicateHeaders InvalidPushType MissingDeviceToken MissingTopic"
                " PayloadEmpty", 404: "BadPath", 405: "MethodNotAllowed", 413: "PayloadTooLarge"}
FIXED = {400: "TopicDisallowed", 403: "InvalidProviderToken MissingProviderToken BadCertificate BadCertificateEnvironment Forbidden"
                                      " UnrelatedKeyIdInToken BadEnvironmentKeyIdInToken BadEnvironmentKeyInToken"}


def rows(table: dict[int, str]) -> list[tuple[int, str]]:
    """Status and reason of each."""
    return [(status, name) for status, names in table.items() for name in names.split()]


class Reasons(PoolCase):
    """`self.answering` sets what the peer says from now on."""

    def answering(self, *said: Any, certificate: bool = True) -> Apple:
        """A new pool, whose first push was accepted; the next ones are answered so."""
        apple = self.apple(certificate=certificate)
        self.send(0)
        self.assertEqual(self.outcomes.pop(0).kind, Kind.OK)
        self.now(*said)
        return apple

    def now(self, *said: Any) -> None:
        """What is answered from now on, by every connection."""
        self.on.options["judge"] = self.on.double.judge = lambda asked: said

    def accept(self, number: int) -> None:
        """Pushes are accepted again, and one is."""
        self.now(200)
        self.send(number)
        self.assertEqual(self.outcomes.pop(number).kind, Kind.OK)

    def test_the_table_is_whole(self) -> None:
        """Every row of this test stands in the table, and no other."""
        known = {**dict.fromkeys(rows(DROPPED), Act.DROP), **dict.fromkeys(rows(FIXED), Act.FIX),
                 (400, "BadDeviceToken"): Act.DEAD_IF_OTHERS_LIVE, (400, "DeviceTokenNotForTopic"): Act.DEAD_IF_OTHERS_LIVE,
                 (400, "IdleTimeout"): Act.ELSEWHERE, (403, "ExpiredProviderToken"): Act.NEW_TOKEN, (410, "Unregistered"): Act.DEAD,
                 (410, "ExpiredToken"): Act.DEAD, (429, "TooManyRequests"): Act.DEVICE_LATER, (429, "TooManyProviderTokenUpdates"): Act.KEY_LATER,
                 (500, "InternalServerError"): Act.LATER, (503, "ServiceUnavailable"): Act.LATER_ELSEWHERE, (503, "Shutdown"): Act.LATER_ELSEWHERE}
        self.assertEqual(ACTS, known)

    def test_dropped(self) -> None:
        """Our own faults are never sent again, and nobody else suffers."""
        apple = self.answering(200)
        for status, reason in rows(DROPPED):
            self.now(status, reason)
            self.send(1)
            self.assertEqual(self.outcomes.pop(1), Outcome(Kind.DROPPED, reason, status))
        self.accept(2)
        self.assertEqual((len(apple.doubles), apple.pool.mode), (1, Mode.UP))

    def test_dead(self) -> None:
        """A token that is good no more, with the time since when, if there is one."""
        self.answering(410, "Unregistered", 1234567890123)
        self.send(1)
        self.assertEqual(self.outcomes[1], Outcome(Kind.DEAD, "Unregistered", 410, 1234567890123))
        self.now(410, "ExpiredToken")
        self.send(2)
        self.assertEqual(self.outcomes[2], Outcome(Kind.DEAD, "ExpiredToken", 410))

    def test_dead_if_others_live(self) -> None:
        """BadDeviceToken is believed while pushes of this topic were accepted within the hour, and not afterwards."""
        for reason in ("BadDeviceToken", "DeviceTokenNotForTopic"):
            apple = self.answering(400, reason)
            apple.advance(3599)
            self.send(1)
            self.assertEqual(self.outcomes[1], Outcome(Kind.DEAD, reason, 400))
            apple.advance(2)
            self.send(2)
            self.assertEqual((self.outcomes[2], apple.pool.mode), (Outcome(Kind.FAILED, reason, 400), Mode.UP))
            self.send(2)
            self.assertEqual((self.outcomes[2], apple.pool.mode), (Outcome(Kind.FAILED, reason, 400), Mode.UP))
            self.send(3)
            self.assertEqual((3 in self.outcomes, apple.pool.mode, apple.pool.cause), (False, Mode.BLOCKED, reason))
            apple.advance(61)
            self.assertEqual(self.outcomes.pop(3), Outcome(Kind.EXPIRED, reason))
            self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_another_topic_proves_nothing(self) -> None:
        """A success of the app's alerts says nothing of its VoIP topic."""
        self.answering(400, "DeviceTokenNotForTopic")
        self.send(1, topic="org.example.interact.voip")
        self.assertEqual(self.outcomes[1].kind, Kind.FAILED)

    def test_fixed(self) -> None:
        """Only the operator can help: the queue stands until its deadlines, one push is tried every 5 minutes by a new connection."""
        for status, reason in rows(FIXED):
            apple = self.answering(status, reason)
            self.send(1, 2, seconds=400)
            self.send(3)
            self.assertEqual((self.kinds(), apple.pool.mode, apple.pool.cause, len(apple.pool.queue)), ({}, Mode.BLOCKED, reason, 3))
            asked = sum(len(double.asked) for double in apple.doubles)
            apple.advance(61)
            self.assertEqual((self.kinds(), sum(len(double.asked) for double in apple.doubles)), ({3: "expired"}, asked))
            self.now(200)
            apple.advance(241)
            self.assertEqual((self.kinds(), apple.pool.mode), ({1: "ok", 2: "ok", 3: "expired"}, Mode.UP))
            self.assertEqual((len(apple.doubles), apple.doubles[0].lost, len(apple.double.asked)), (2, True, 2))
            self.outcomes.clear()

    def test_probes_take_turns(self) -> None:
        """Each attempt is another push's, one at a time, and no more."""
        apple = self.answering(403, "Forbidden")
        self.send(1, 2, 3, seconds=2000)
        for _ in range(4):
            apple.advance(300)
        tried = [asked.headers["apns-collapse-id"] for double in apple.doubles[1:] for asked in double.asked]
        self.assertEqual((tried, self.kinds()), (["1", "2", "3", "1"], {}))

    def test_goaway_with_a_reason(self) -> None:
        """A GOAWAY that only the operator can help against blocks as well."""
        apple = self.answering(200)
        apple.double.goaway(1, "BadCertificate")
        apple.settle()
        self.assertEqual((apple.pool.mode, apple.pool.cause, len(apple.doubles)), (Mode.BLOCKED, "BadCertificate", 1))

    def test_idle_timeout(self) -> None:
        """Another connection, at once."""
        apple = self.answering(400, "IdleTimeout")
        apple.options["judge"] = lambda asked: (200,)
        self.send(1)
        self.assertEqual((self.kinds(), len(apple.doubles), apple.doubles[0].lost), ({1: "ok"}, 2, True))

    def test_expired_provider_token(self) -> None:
        """A burst renews an old token once, and goes on by a new connection; for a fresh token the clock is wrong."""
        self.wall += 1500                       # the token is 1900 s old, were it not renewed at the boundary
        apple = self.answering(403, "ExpiredProviderToken", certificate=False)
        self.wall += 1201                       # 1301 s after the boundary
        apple.double.judge = lambda asked: ()
        self.send(1, 2, 3)
        old = apple.double
        first = old.asked[0].headers["authorization"]
        apple.options["judge"] = lambda asked: (200,)
        for asked in old.asked[1:]:
            old.later(asked, 403, "ExpiredProviderToken")
        apple.settle()
        self.assertEqual((self.kinds(), len(apple.doubles), old.lost), ({1: "ok", 2: "ok", 3: "ok"}, 2, True))
        fresh = {asked.headers["authorization"] for asked in apple.double.asked}
        self.assertEqual((len(fresh), first in fresh), (1, False))
        self.now(403, "ExpiredProviderToken")
        self.send(4)
        self.assertEqual((apple.pool.mode, apple.pool.cause), (Mode.BLOCKED, "ExpiredProviderToken for a fresh token: check the clock"))

    def test_too_many_requests(self) -> None:
        """This device waits, 60 s, then twice as long each time up to 15 minutes; others do not."""
        apple = self.answering(429, "TooManyRequests")
        for delay in (60, 120, 240, 480, 900, 900):
            self.send(1, seconds=1000)
            self.assertEqual(self.outcomes.pop(1), Outcome(Kind.LATER, "TooManyRequests", 429, after=delay))
            self.send(1)                        # not even asked
            self.assertEqual(self.outcomes.pop(1).kind, Kind.FAILED if delay >= 60 else Kind.LATER)
            self.accept(2)
            self.now(429, "TooManyRequests")
            apple.advance(delay)
        asked = [one.headers["apns-collapse-id"] for one in apple.double.asked]
        self.assertEqual(asked.count("1"), 6)

    def test_too_many_provider_token_updates(self) -> None:
        """The key waits, with the token it has: 60 s, then 120."""
        apple = self.answering(429, "TooManyProviderTokenUpdates", certificate=False)
        self.send(1, 2, seconds=200)
        self.assertEqual((self.kinds(), apple.pool.mode), ({}, Mode.BACKOFF))
        apple.advance(59)
        asked = len(apple.double.asked)
        apple.advance(1)
        self.assertGreater(len(apple.double.asked), asked)
        self.now(200)
        apple.advance(119)
        self.assertEqual(self.kinds(), {})
        apple.advance(2)
        self.assertEqual((self.kinds(), len({one.headers["authorization"] for one in apple.double.asked})), ({1: "ok", 2: "ok"}, 1))

    def test_internal_server_error(self) -> None:
        """15 minutes later, if the deadline allows it; else it has failed."""
        for said in ((500, "InternalServerError"), (502, "Whatever")):
            self.answering(*said)
            self.send(1, seconds=901)
            self.send(2, seconds=900)
            self.assertEqual(self.outcomes, {1: Outcome(Kind.LATER, said[1], said[0], after=900.0), 2: Outcome(Kind.FAILED, said[1], said[0])})

    def test_service_unavailable(self) -> None:
        """The connection is left, the next one waits; what can not wait 15 minutes has one early second attempt."""
        for reason in ("ServiceUnavailable", "Shutdown"):
            apple = self.answering(503, reason)
            self.send(1, seconds=1000)
            self.assertEqual(self.outcomes[1], Outcome(Kind.LATER, reason, 503, after=900.0))
            self.assertEqual((apple.doubles[0].lost, apple.pool.mode), (True, Mode.BACKOFF))
            apple.advance(1.3)
            self.send(2)
            self.assertEqual((2 in self.outcomes, len(apple.doubles)), (False, 2))
            apple.advance(6)
            self.assertEqual(self.outcomes[2], Outcome(Kind.FAILED, reason, 503))
            self.send(3)
            apple.advance(0.5)
            self.now(200)
            apple.advance(12)
            self.assertEqual(self.outcomes[3].kind, Kind.OK)
            self.outcomes.clear()

    def test_attempts(self) -> None:
        """After five answers a push is sent no more."""
        apple = self.answering(400, "IdleTimeout")
        self.send(1, seconds=1000)
        apple.advance(500)
        self.assertEqual(self.outcomes[1], Outcome(Kind.FAILED, "IdleTimeout"))
        self.assertEqual(sum(asked.headers["apns-collapse-id"] == "1" for double in apple.doubles for asked in double.asked), 5)

    def test_unknown_reasons(self) -> None:
        """What nobody knows goes by its status; nothing in an answer upsets us."""
        self.assertEqual([answer(418, b'{"reason":"Teapot"}').act, Answer(499).act, Answer(599).act, Answer(0).act, Answer(302).act],
                         [Act.DROP, Act.DROP, Act.LATER, Act.DROP, Act.DROP])
        for body in (b"", b"\xff", b"<html>", b"[1]", b'"x"', b'{"reason":7}', b'{"reason":"a b\\n"}', b'{"reason":"' + b"x" * 65 + b'"}',
                     b"{" * 9999):
            self.assertEqual(answer(400, body), Answer(400))
        self.assertEqual(answer(410, b'{"reason":"Unregistered","timestamp":"7"}'), Answer(410, "Unregistered"))
        self.assertEqual(answer(410, b'{"reason":"Unregistered","timestamp":true}'), Answer(410, "Unregistered"))
        self.assertEqual(reasons.reason(b'{"reason":"BadCertificate"}'), "BadCertificate")


class Wanted(PoolCase):
    """Pushes that may be withdrawn, and the end."""

    def test_asked_again(self) -> None:
        """What leaves at once is not asked for again; what has waited is, and is withdrawn or sent."""
        asked: list[int] = []

        def wanted(number: int, yes: bool) -> Any:
            async def ask() -> bool:
                asked.append(number)
                return yes
            return ask
        apple = self.apple(certificate=True)
        self.send(1, wanted=wanted(1, False))
        self.assertEqual((self.kinds(), asked), ({1: "ok"}, []))
        apple.cut()
        apple.refusing = True
        self.send(2, wanted=wanted(2, False))
        self.send(3, wanted=wanted(3, True))
        apple.advance(1.3)
        apple.refusing = False
        apple.advance(3)
        self.assertEqual((self.kinds(), asked), ({1: "ok", 2: "withdrawn", 3: "ok"}, [2, 3]))

    def test_frozen_behind_the_question(self) -> None:
        """A yes that lay there while the node was frozen is not believed: another node may have sent the push."""
        answers: list[Deferred[bool]] = []

        def wanted() -> Deferred[bool]:
            answers.append(Deferred())
            return answers[-1]
        apple = self.apple(certificate=True)
        apple.refusing = True
        for number in (1, 2):
            self.send(number, wanted=wanted)
        apple.advance(1.3)
        apple.refusing = False
        apple.advance(3)
        answers[0].callback(True)
        apple.settle()
        self.assertEqual((self.kinds(), len(answers)), ({1: "ok"}, 2))
        apple.clock.rightNow += 31                  # SIGSTOP, SIGCONT
        answers[1].callback(True)
        apple.settle()
        self.assertEqual((self.kinds(), len(answers)), ({1: "ok"}, 3))
        answers[2].callback(False)
        apple.settle()
        self.assertEqual(self.kinds(), {1: "ok", 2: "withdrawn"})

    def test_stop(self) -> None:
        """What was not sent is given back, or may be sent again; what was is awaited for 5 s, and nothing is taken any more."""
        apple = self.apple(certificate=True, limit=3, judge=lambda asked: ())
        self.send(1)
        self.send(2, collapse_id="")
        self.send(5, 3)
        stopping = stopping_of(apple)
        apple.settle()
        self.assertEqual((self.kinds(), apple.pool.mode), ({3: "stopped"}, Mode.STOPPED))
        apple.double.later(apple.double.asked[0], 200)
        self.send(4)
        apple.advance(4.9)
        self.assertFalse(stopping.called)
        apple.advance(0.2)
        self.assertEqual((self.kinds(), stopping.called), ({1: "ok", 2: "unknown", 3: "stopped", 4: "stopped", 5: "stopped"}, True))
        self.assertIn("ConnectionTerminated", [type(event).__name__ for event in apple.double.events])

    def test_stop_with_a_frozen_peer(self) -> None:
        """The farewell is not waited for longer than 2 s."""
        apple = self.apple(certificate=True, judge=lambda asked: ())
        self.send(1, collapse_id="")
        apple.frozen = True
        stopping = stopping_of(apple)
        apple.advance(8.1)
        self.assertEqual((self.kinds(), stopping.called), ({1: "unknown"}, True))


def stopping_of(apple: Apple) -> Any:
    """The pool's stopping."""
    from twisted.internet.defer import Deferred
    return Deferred.fromCoroutine(apple.pool.stop())


class Tokens(PoolCase):
    """The provider token's age."""

    def test_boundaries(self) -> None:
        """A new token at each half hour, dated to it: the same for every process and after a restart."""
        clock = [999_999_400]                   # 400 s after a boundary
        one, other = (ProviderToken(KEY, "KEYKEYKEY1", "TEAMTEAM01", lambda: clock[0]) for _ in range(2))
        first = one.current()
        self.assertEqual((one.issued, jwt.decode(first, KEY.public_key(), ["ES256"], options={"verify_iat": False})),
                         (999_999_000, {"iss": "TEAMTEAM01", "iat": 999_999_000}))
        self.assertEqual(jwt.get_unverified_header(first)["kid"], "KEYKEYKEY1")
        clock[0] = 1_000_000_799
        self.assertEqual((one.current(), other.current()), (first, first))
        clock[0] += 1
        self.assertEqual((one.current() == first, one.issued), (False, 1_000_000_800))
        self.assertEqual(one.current(), other.current())

    def test_renewed(self) -> None:
        """A token made before its time stays for at least 20 minutes, and at most 50; a clock set back gets a new one."""
        clock = [999_999_000 + 1500]
        token_ = ProviderToken(KEY, "KEYKEYKEY1", "TEAMTEAM01", lambda: clock[0])
        token_.current()
        self.assertTrue(token_.renew(token_.generation))
        self.assertEqual((token_.issued, token_.generation), (1_000_000_500, 2))
        self.assertTrue(token_.renew(1))        # the others of the burst
        self.assertFalse(token_.renew(2))       # it is fresh
        renewed = token_.current()
        clock[0] = 1_000_002_599
        self.assertEqual(token_.current(), renewed)
        clock[0] += 1
        self.assertNotEqual(token_.current(), renewed)
        clock[0] -= 100_000
        self.assertEqual((token_.current() == renewed, token_.issued), (False, clock[0] - clock[0] % 1800))
