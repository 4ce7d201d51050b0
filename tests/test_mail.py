"""Mails: handed to a real server over TLS that proves its name, tried again, and never lost without a word."""
from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.basic import LineReceiver
from twisted.trial.unittest import SynchronousTestCase, TestCase

from interactd.config import Config, Http, Mail
from interactd.mail.letters import Letter
from interactd.mail.outbox import PAUSES, Outbox
from interactd.mail.smtp import NotDelivered, mail_server
from interactd.metrics import MAILS
from interactd.refusals import Refusal
from tests.certificates import Authority
from tests.mail_case import PASSWORD, SENDER, USER, office

LETTER = Letter("canary.bird@example.org", "Hello", "First line\n.\n..dots\nÄ\n", "a letter")


class Injecting(LineReceiver):
    """Says more behind its consent to STARTTLS than is secret."""

    def connectionMade(self) -> None:
        self.sendLine(b"220 here")

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(b"250-here\r\n250 STARTTLS" if line.startswith(b"EHLO") else b"220 go\r\n250-here\r\n250 AUTH PLAIN")


class Silent(Protocol):
    """Takes a connection and says nothing."""


class Sending(TestCase):
    """One mail by one server."""

    async def send(self, mail: Mail, letter: Letter = LETTER) -> None:
        server = mail_server(reactor, Config(http=Http(public_url="https://interact.example/x"), mail=mail))
        assert server is not None
        await server.deliver(letter)

    async def fails(self, mail: Mail, letter: Letter = LETTER) -> NotDelivered:
        """Why it was not delivered; the reason names neither people nor secrets."""
        failure: NotDelivered = await self.assertFailure(Deferred.fromCoroutine(self.send(mail, letter)), NotDelivered)
        for canary in ("canary", PASSWORD, USER + "\0"):
            self.assertNotIn(canary, str(failure))
        return failure

    async def test_both_ways(self) -> None:
        """STARTTLS and TLS: the login is made, the mail arrives as it was written."""
        for security in ("starttls", "tls"):
            place = office(self, security=security)
            await self.send(place.settings())
            taken = await place.next()
            self.assertEqual((taken.to, taken.sender, taken.text), ([LETTER.to], SENDER, LETTER.text))
            self.assertEqual(place.logins, [(USER, PASSWORD)])
            self.assertEqual({taken.message[name] for name in ("From", "To", "Subject", "Auto-Submitted")},
                             {SENDER, LETTER.to, "Hello", "auto-generated"})
            self.assertIn("@mail.example", taken.message["Message-ID"])

    async def test_wrong_certificates(self) -> None:
        """Another name, or an authority that is not trusted: no login, no mail, tried again."""
        for security in ("starttls", "tls"):
            elsewhere, unknown = office(self, security=security, names=("other.example",)), office(self, security=security)
            mail = unknown.settings()
            assert mail.ca_file is not None
            mail.ca_file.write_bytes(Authority().pem)
            for place, said in ((elsewhere, elsewhere.settings()), (unknown, mail)):
                self.assertFalse((await self.fails(said)).final)
                self.assertEqual(place.logins, [])

    async def test_never_in_the_clear(self) -> None:
        """A server without STARTTLS, and one that slips answers in before it."""
        place = office(self, security="none")
        self.assertIn("TLSRequired", str(await self.fails(place.settings(security="starttls"))))
        self.assertEqual(place.logins, [])
        port = reactor.listenTCP(0, Factory.forProtocol(Injecting), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.assertIn("before the connection was secret", str(await self.fails(place.settings(security="starttls", port=port.getHost().port))))

    async def test_away(self) -> None:
        """A server that is down, and one that says nothing."""
        port = reactor.listenTCP(0, Factory.forProtocol(Silent), interface="127.0.0.1")  # type: ignore[attr-defined]
        mail = office(self).settings(port=port.getHost().port, timeout=0.1)
        for security in ("starttls", "tls"):
            self.assertFalse((await self.fails(Mail(**{**_said(mail), "security": security}))).final)
        await port.stopListening()
        self.assertFalse((await self.fails(mail)).final)

    async def test_given_up(self) -> None:
        """A delivery that is cancelled, as at the stop of the daemon, ends at once: while it connects, and while the server is silent."""
        quiet: Deferred[None] = Deferred()
        factory = Factory.forProtocol(Silent)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        factory.buildProtocol = lambda _: quiet.callback(None) or Silent()
        mail = office(self).settings(port=port.getHost().port)
        connecting = Deferred.fromCoroutine(self.send(mail))
        connecting.cancel()
        await self.assertFailure(connecting, CancelledError, NotDelivered)
        talking = Deferred.fromCoroutine(self.send(mail))
        await quiet
        talking.cancel()
        await self.assertFailure(talking, CancelledError, NotDelivered)

    async def test_refused(self) -> None:
        """4xx is tried again, 5xx is not; nor is an address that no server takes."""
        for step in ("RCPT", "DATA"):
            for answer, final in (("451 later", False), ("550 never", True)):
                place = office(self, said=lambda asked: answer if asked == step else None)
                self.assertEqual((await self.fails(place.settings())).final, final, (step, answer))
        for address in ("a b@example.org", "x@example.org>\r\nRCPT TO:<y", "ü@example.org"):
            self.assertTrue((await self.fails(office(self).settings(), Letter(address, "", "", ""))).final)

    async def test_wrong_password(self) -> None:
        """Whoever runs the daemon can mend it, so it is tried again."""
        self.assertFalse((await self.fails(office(self).settings(password="canary-wrong"))).final)

    def test_half_a_server(self) -> None:
        """Refused at the start, in a sentence; none is none."""
        http = Http(public_url="https://interact.example")
        self.assertIsNone(mail_server(reactor, Config(http=http)))
        self.assertIsNone(mail_server(reactor, Config(mail=Mail(server="localhost"))))
        for mail, said in ((Mail(server="localhost"), "from"), (Mail(server="localhost", from_=SENDER, user="x"), "password"),
                           (Mail(server="localhost", from_=SENDER, ca_file=office(self).folder), "ca-file")):
            self.assertIn(said, str(self.assertRaises(Refusal, mail_server, reactor, Config(http=http, mail=mail))))


def _said(mail: Mail) -> dict[str, Any]:
    return {name: getattr(mail, name) for name in ("server", "port", "user", "password", "from_", "ca_file", "timeout")}


class Waiting(SynchronousTestCase):
    """The outbox, on a clock that stands still, with a server whose answers the test gives."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.answers: list[Any] = []
        self.outbox = Outbox(self.clock, self._deliver, 3)
        self.outbox.startService()
        self.before = {outcome: self.count(outcome) for outcome in ("sent", "retried", "refused", "lost")}

    async def _deliver(self, letter: Letter) -> None:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        await answer

    def count(self, outcome: str) -> int:
        return int(MAILS.labels(outcome)._value.get())

    def counted(self) -> dict[str, int]:
        """What was counted since the start of the test."""
        return {outcome: self.count(outcome) - n for outcome, n in self.before.items() if self.count(outcome) > n}

    def test_tried_again(self) -> None:
        """A failure is tried again after a pause, a surprise too; then it is sent."""
        self.answers = [NotDelivered("down"), KeyError("canary"), succeed(None)]
        self.outbox.send(LETTER)
        self.clock.advance(PAUSES[0] - 1)
        self.assertEqual(len(self.answers), 2)
        self.clock.advance(1)
        self.clock.advance(PAUSES[1])
        self.assertEqual((self.answers, self.counted()), ([], {"sent": 1, "retried": 2}))

    def test_given_up(self) -> None:
        """After the last pause it is lost and counted; what is refused for good is not tried again."""
        self.answers = [NotDelivered("down")] * (len(PAUSES) + 1)
        self.outbox.send(LETTER)
        for pause in PAUSES:
            self.clock.advance(pause)
        self.assertEqual((self.answers, self.counted()), ([], {"retried": len(PAUSES), "lost": 1}))
        self.answers = [NotDelivered("no", final=True)]
        self.outbox.send(LETTER)
        self.assertEqual((self.clock.getDelayedCalls(), self.counted()["refused"]), ([], 1))

    def test_full_and_stopped(self) -> None:
        """What has no room, and what is under way at the stop, is lost and counted."""
        self.answers = [Deferred(), Deferred(lambda gone: gone.errback(NotDelivered("no connection"))), NotDelivered("down")]
        for _ in range(4):
            self.outbox.send(LETTER)
        self.assertEqual(self.counted(), {"retried": 1, "lost": 1})
        self.successResultOf(Deferred.fromCoroutine(self.outbox.stopService()))
        self.outbox.send(LETTER)
        self.assertEqual((self.clock.getDelayedCalls(), self.counted()), ([], {"retried": 1, "lost": 5}))

    def test_a_slow_server(self) -> None:
        """Few are sent at once; the others wait their turn."""
        outbox = Outbox(self.clock, self._deliver, 100)
        outbox.startService()
        first: list[Deferred[None]] = [Deferred() for _ in range(4)]
        self.answers = [*first, succeed(None)]
        for _ in range(5):
            outbox.send(LETTER)
        self.assertEqual((len(self.answers), self.counted()), (1, {}))
        first[0].callback(None)
        self.assertEqual((self.answers, self.counted()), ([], {"sent": 2}))
        for waiting in first[1:]:
            waiting.callback(None)
