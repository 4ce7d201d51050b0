"""The APNs client on a Clock, against a server in memory: every state, every wait, to the millisecond."""
from __future__ import annotations

from typing import Any

from attrs import evolve
from hpack import NeverIndexedHeaderTuple
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from interactd.push.connection import State
from interactd.push.notification import Invalid, Kind, Notification, Outcome
from interactd.push.pool import Limits, Mode
from interactd.push.tokens import ProviderToken
from tests.apns_case import KEY, TOPIC, token
from tests.apns_double import Apple

REFUSED = 7


class PoolCase(TestCase):
    """`self.apple(…)`, then `self.send`; what has an outcome stands in `self.outcomes`, by number."""

    def setUp(self) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self.wall = 999_999_400.0               # 400 s after a boundary of provider tokens

    def apple(self, certificate: bool = False, limits: Limits = Limits(), **double: Any) -> Apple:
        """A pool and its peer; with a certificate there is no probing."""
        signer = None if certificate else ProviderToken(KEY, "KEYKEYKEY1", "TEAMTEAM01", lambda: self.wall + self.on.clock.seconds())
        self.on = Apple(self, signer, limits, **double)
        return self.on

    def push(self, number: int, seconds: float = 60, **changes: Any) -> Notification:
        """A notification that is good for so many seconds."""
        given: dict[str, Any] = {"token": token(number), "topic": TOPIC, "payload": b"{}", "deadline": self.on.clock.seconds() + seconds,
                                 "collapse_id": str(number)}
        return Notification(**{**given, **changes})

    def send(self, *numbers: int, **changes: Any) -> None:
        """Sent, and all that can happen without time has happened."""
        for number in numbers:
            self.give(number, self.on.pool.send(self.push(number, **changes)))
        self.on.settle()

    def give(self, number: int, done: Deferred[Outcome]) -> None:
        """The outcome is noted."""
        done.addCallback(lambda outcome: self.outcomes.__setitem__(number, outcome))

    def kinds(self) -> dict[int, str]:
        """What has ended, and how."""
        return {number: outcome.kind.value for number, outcome in sorted(self.outcomes.items())}


class Beginning(PoolCase):
    """From the first push to the first answer."""

    def test_nothing_before_settings(self) -> None:
        """No request leaves before the peer's SETTINGS; without them the connection ends after 10 s, and 1 s later there is another."""
        apple = self.apple(announce=False)
        self.send(1)
        apple.advance(9.9)
        self.assertEqual((apple.double.asked, apple.pool.links.in_flight, apple.pool.links.all[0].state), ([], 0, State.CONNECTING))
        apple.advance(1)
        self.assertEqual((apple.pool.mode, apple.pool.links.cause), (Mode.BACKOFF, "the peer was not ready in time"))
        apple.options = {}
        apple.advance(1.3)
        self.assertEqual(self.kinds(), {1: "ok"})

    def test_no_http2(self) -> None:
        """Unless HTTP/2 was agreed upon, nothing is said at all."""
        apple = self.apple()
        for protocol in (None, b"", b"http/1.1"):
            apple.protocol = protocol
            self.send(1, seconds=3)
            apple.advance(3.1)
            self.assertEqual(self.outcomes.pop(1), Outcome(Kind.EXPIRED, "the peer did not agree to speak HTTP/2"))
            self.assertTrue(all(not double.events for double in apple.doubles))

    def test_probing(self) -> None:
        """With a provider token one push goes first, whatever the limit is; with a certificate all do."""
        apple = self.apple(judge=lambda asked: ())
        self.send(1, 2, 3)
        self.assertEqual((len(apple.double.asked), apple.pool.links.all[0].state), (1, State.PROBING))
        apple.double.later(apple.double.asked[0], 200)
        apple.settle()
        self.assertEqual((len(apple.double.asked), self.kinds()), (3, {1: "ok"}))
        apple = self.apple(certificate=True, judge=lambda asked: ())
        self.send(1, 2, 3)
        self.assertEqual(len(apple.double.asked), 3)

    def test_back_off(self) -> None:
        """1, 2, 4 … 60 seconds, a fifth more or less; the first answer ends it; what waits ends at its deadline with the last cause."""
        apple = self.apple()
        apple.refusing = True
        tried: list[float] = []
        dial = apple.pool.links._dial
        apple.pool.links._dial = lambda link: (tried.append(apple.clock.seconds()), dial(link))[1]
        self.send(1, seconds=400)
        self.send(2, seconds=5)
        while apple.clock.seconds() < 300:
            apple.clock.advance(0.01)
        waits = [later - earlier for earlier, later in zip(tried, tried[1:])]
        for wait, wished in zip(waits, (1, 2, 4, 8, 16, 32, 60, 60)):
            self.assertTrue(0.79 * wished <= wait <= 1.22 * wished, waits)
        self.assertEqual(self.outcomes[2], Outcome(Kind.EXPIRED, "Connection was refused by other side: nobody listens."))
        apple.refusing = False
        apple.advance(80)
        self.assertEqual(self.kinds(), {1: "ok", 2: "expired"})
        apple.cut()
        self.send(3)
        self.assertEqual(self.kinds()[3], "ok")

    def test_goaway_before_the_first_answer(self) -> None:
        """A connection that was good for nothing delays the next one."""
        apple = self.apple(judge=lambda asked: ())
        self.send(1)
        apple.double.goaway(0)
        apple.options = {}
        apple.settle()
        self.assertEqual((apple.pool.mode, self.kinds()), (Mode.BACKOFF, {}))
        apple.advance(1.3)
        self.assertEqual(self.kinds(), {1: "ok"})

    def test_headers(self) -> None:
        """What Apple is told, and that nothing which differs each time is put into the compression's tables."""
        apple = self.apple()
        self.send(7, expiration=123, push_type="voip", priority=10)
        (asked,) = apple.double.asked
        self.assertEqual(list(asked.headers)[:4], [":method", ":scheme", ":authority", ":path"])
        self.assertEqual({k: v for k, v in asked.headers.items() if k not in ("apns-id", "authorization")}, {
            ":method": "POST", ":scheme": "https", ":authority": "apple.example", ":path": "/3/device/" + token(7), "apns-topic": TOPIC,
            "apns-push-type": "voip", "apns-priority": "10", "apns-expiration": "123", "apns-collapse-id": "7"})
        never = {bytes(one[0]).decode() for one in asked.raw if isinstance(one, NeverIndexedHeaderTuple)}
        self.assertEqual(never, {":path", "authorization", "apns-id", "apns-expiration", "apns-collapse-id"})

    def test_hygiene(self) -> None:
        """Whatever could upset the peer's reading is refused before anything is sent."""
        apple = self.apple()
        for wrong in ({"token": "AB" * 32}, {"token": "ab cd"}, {"token": ""}, {"token": "ab\n"}, {"topic": "a\nb"}, {"topic": ""}, {"topic": "a b"},
                      {"collapse_id": "x" * 65}, {"collapse_id": "ä"}, {"collapse_id": "a\n"}, {"push_type": "loud"}, {"priority": 7},
                      {"push_type": "background", "priority": 10}, {"payload": b""}, {"payload": b"x" * 4097},
                      {"push_type": "voip", "payload": b"x" * 5121}):
            self.assertRaises(Invalid, apple.pool.send, self.push(1, **wrong))
        self.push(1, push_type="voip", payload=b"x" * 5120).check()
        self.assertEqual(apple.doubles, [])

    def test_queue(self) -> None:
        """A full queue says so at once; whose time has passed is not taken in."""
        apple = self.apple(limits=Limits(2, 3))
        apple.refusing = True
        self.send(1, 2, 3, 4, seconds=10)
        self.assertEqual(self.kinds(), {4: "busy"})
        apple.advance(9.9)
        self.assertEqual(self.kinds(), {4: "busy"})
        apple.advance(0.2)
        self.assertEqual(self.kinds(), {1: "expired", 2: "expired", 3: "expired", 4: "busy"})
        self.send(5, seconds=0)
        self.assertEqual(self.kinds()[5], "expired")


class Middle(PoolCase):
    """While pushes are on their way."""

    def test_refused_streams(self) -> None:
        """What the peer has not looked at goes to the front, in order, and is no attempt; a peer that never looks is asked less and less often."""
        apple = self.apple(certificate=True, judge=lambda asked: ("reset", REFUSED))
        self.send(1, seconds=30)
        self.assertEqual((len(apple.double.asked), self.kinds()), (4, {}))
        apple.advance(31)
        self.assertEqual(self.kinds(), {1: "expired"})
        self.assertLess(len(apple.double.asked), 15)
        apple = self.apple(certificate=True, judge=lambda asked: ())
        self.send(2, 3, 4)
        apple.double.judge = lambda asked: (200,)
        for asked in apple.double.asked[:3]:
            apple.double.later(asked, "reset", REFUSED)
        apple.settle()
        self.assertEqual(self.kinds(), {1: "expired", 2: "ok", 3: "ok", 4: "ok"})

    def test_unknown(self) -> None:
        """A push whose fate is unknown is sent once more with the same id, if that can do no harm; then it is called unknown."""
        apple = self.apple(certificate=True, judge=lambda asked: ("reset", 2))
        self.send(1)
        self.assertEqual(self.kinds(), {1: "unknown"})
        first, second = apple.double.asked
        self.assertEqual(first.headers["apns-id"], second.headers["apns-id"])
        self.send(2, collapse_id="")
        self.assertEqual((self.kinds()[2], len(apple.double.asked)), ("unknown", 3))

    def test_no_answer(self) -> None:
        """After 20 s the stream is cancelled; after silence there is a ping, and without its answer the end."""
        apple = self.apple(certificate=True, judge=lambda asked: ())
        self.send(1)
        apple.advance(19.9)
        self.assertEqual(apple.pool.links.in_flight, 1)
        apple.double.judge = lambda asked: (200,)
        apple.advance(1.1)
        self.assertEqual((self.kinds(), len(apple.doubles)), ({1: "ok"}, 1))
        names = [type(event).__name__ for event in apple.double.events]
        self.assertIn("StreamReset", names)
        self.assertIn("PingReceived", names)

    def test_frozen(self) -> None:
        """A peer that says nothing at all is left: unknown for the pushes, another connection for the next, and TLS' farewell is not waited for."""
        apple = self.apple(certificate=True, judge=lambda asked: ())
        self.send(1, 2, collapse_id="")
        apple.frozen = True
        apple.advance(21)
        self.assertEqual(self.kinds(), {1: "unknown", 2: "unknown"})
        self.assertTrue(apple.double.lost)
        apple.frozen = False
        apple.options = {}
        apple.advance(2)
        self.send(3)
        self.assertEqual((self.kinds()[3], len(apple.doubles)), ("ok", 2))

    def test_idle(self) -> None:
        """A connection lives for hours; every 15 minutes it is asked."""
        apple = self.apple()
        self.send(1)
        apple.advance(4000)
        self.send(2)
        self.assertEqual((len(apple.doubles), self.kinds()), (1, {1: "ok", 2: "ok"}))
        self.assertEqual(sum(type(event).__name__ == "PingReceived" for event in apple.double.events), 4)
        apple.frozen = True
        apple.advance(950)
        self.assertTrue(apple.double.lost)

    def test_goaway(self) -> None:
        """Of those on their way some are answered still, some were not looked at; a second word takes more back; the successor takes the rest."""
        apple = self.apple(certificate=True, limit=4, judge=lambda asked: ())
        self.send(1, 2, 3, 4, 5)
        old = apple.double
        old.later(old.asked[0], 200)
        apple.settle()
        apple.options = {"limit": 1}
        old.goaway(7)
        apple.settle()
        self.assertEqual((len(apple.doubles), [asked.headers["apns-collapse-id"] for asked in apple.double.asked]), (2, ["5"]))
        old.goaway(3)
        apple.settle()
        old.later(old.asked[1], 200)
        apple.settle()
        self.assertEqual((self.kinds(), old.lost), ({1: "ok", 2: "ok", 3: "ok", 4: "ok", 5: "ok"}, True))
        self.assertEqual([asked.headers["apns-collapse-id"] for asked in apple.double.asked], ["5", "3", "4"])

    def test_draining_ends(self) -> None:
        """A connection that drains is closed after 30 s; what it did not answer is unknown."""
        apple = self.apple(certificate=True, judge=lambda asked: (200,) if asked.headers["apns-collapse-id"] == "1" else ())
        self.send(1)
        old = apple.double
        self.send(2, collapse_id="2")
        apple.pool.links.all[0]._heard_at += 100
        old.goaway(9)
        apple.options = {}
        apple.advance(19)
        self.assertEqual(self.kinds(), {1: "ok"})
        apple.advance(12)
        self.assertEqual((self.kinds(), old.lost), ({1: "ok", 2: "ok"}, True))
        self.assertEqual(len(apple.doubles), 2)

    def test_stream_ids(self) -> None:
        """A connection is replaced long before its stream ids are used up."""
        apple = self.apple(certificate=True)
        self.send(1)
        apple.pool.links.all[0].last_stream = 5
        self.send(2, 3, 4)
        self.assertEqual(self.kinds(), {1: "ok", 2: "ok", 3: "ok", 4: "ok"})
        self.assertEqual([len(double.asked) for double in apple.doubles], [3, 1])
        self.assertTrue(apple.doubles[0].lost)

    def test_back_pressure(self) -> None:
        """While the transport is full no stream is opened."""
        apple = self.apple(certificate=True)
        self.send(1)
        apple.pool.links.all[0].pauseProducing()
        self.send(2, 3)
        self.assertEqual(self.kinds(), {1: "ok"})
        apple.pool.links.all[0].resumeProducing()
        apple.settle()
        self.assertEqual(self.kinds(), {1: "ok", 2: "ok", 3: "ok"})

    def test_odd_answers(self) -> None:
        """Bytes that are no text, statuses that are none, data for nobody: nothing of it ends the connection, or is taken for a success."""
        apple = self.apple(certificate=True, judge=lambda asked: ())
        self.send(1, 2, collapse_id="")
        double = apple.double
        double.h2.send_headers(1, [(b":status", b"400"), (b"x-odd", b"\xff\xfe")])
        double.h2.send_data(1, b"\xff{", end_stream=True)
        double.h2.send_headers(3, [(b":status", b"4x"), (b"x", b"y")], end_stream=True)
        double.flush()
        apple.settle()
        self.assertEqual(self.outcomes[1], Outcome(Kind.DROPPED, "", 400))
        self.assertEqual(self.outcomes[2].kind, Kind.DROPPED)
        self.assertEqual(len(apple.pool.links.all), 1)

    def test_against_the_protocol(self) -> None:
        """A frame that may not be ends the connection, and the pushes on it are unknown."""
        for bad in (b"\0\0\x04\x08\0\0\0\0\0\0\0\0\0", b"\xff\xff\xff\x00\0\0\0\0\0", b"\0\0\x02\x07\0\0\0\0\0xx",
                    b"HTTP/1.1 400 Bad Request\r\n\r\n"):
            apple = self.apple(certificate=True, judge=lambda asked: ())
            self.send(1, collapse_id="")
            apple.double.transport.write(bad)
            apple.settle()
            self.assertEqual(self.outcomes.pop(1).kind, Kind.UNKNOWN)
            self.assertTrue(apple.double.lost)

    def test_encoder_out_of_step(self) -> None:
        """When a request can not be put into frames the connection is given up, since its compression may be broken."""
        apple = self.apple(certificate=True)
        self.send(1)
        headers = apple.pool._requests.headers
        apple.pool._requests = _Broken(headers)
        self.send(2, collapse_id="")
        self.assertEqual((self.kinds()[2], apple.double.lost), ("unknown", True))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        apple.pool._requests = _Broken(headers, broken=False)
        apple.advance(2)
        self.send(3)
        self.assertEqual(self.kinds()[3], "ok")

    def test_windows(self) -> None:
        """A body larger than the window leaves in pieces; an answer before its end is taken, and the rest is not sent."""
        apple = self.apple(certificate=True, judge=lambda asked: ())
        self.send(1, payload=b"x" * 100)
        link = apple.pool.links.all[0]
        link.streams.http2.window = 50
        self.send(2, payload=b"y" * 60)
        self.assertEqual((len(apple.double.asked), link.streams.fits(50), link.streams.fits(51)), (1, True, False))
        apple.double.later(apple.double.asked[0], 200)
        apple.settle()
        self.assertEqual((len(apple.double.asked), len(apple.double._coming)), (1, 1))
        apple.double.h2.send_headers(3, [(b":status", b"413")])
        apple.double.h2.send_data(3, b'{"reason":"PayloadTooLarge"}', end_stream=True)
        apple.double.flush()
        apple.settle()
        self.assertEqual(self.kinds(), {1: "ok", 2: "dropped"})
        self.assertIn("StreamReset", [type(event).__name__ for event in apple.double.events])

    def test_one_more(self) -> None:
        """Pushes that find no room for a second get one more connection, and no third."""
        apple = self.apple(certificate=True, limit=1, judge=lambda asked: ())
        self.send(*range(5))
        apple.advance(0.9)
        self.assertEqual(len(apple.doubles), 1)
        apple.advance(5)
        self.assertEqual(len(apple.doubles), 2)

    def test_lost(self) -> None:
        """A cut connection: what was sent goes once more, what was not stays in its place."""
        apple = self.apple(certificate=True, limit=2, judge=lambda asked: ())
        self.send(1, 2, 3)
        apple.options = {}
        apple.cut()
        apple.advance(2)
        self.assertEqual(self.kinds(), {1: "ok", 2: "ok", 3: "ok"})
        self.assertEqual([asked.headers["apns-collapse-id"] for asked in apple.double.asked], ["1", "2", "3"])


class _Broken:
    token, generation = None, 0

    def __init__(self, headers: Any, broken: bool = True) -> None:
        self._headers, self._broken = headers, broken

    def headers(self, notification: Notification) -> Any:
        """Headers with a number where text is due."""
        return evolve(self._headers(notification), **({"own": 1} if self._broken else {}))
