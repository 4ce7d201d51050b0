"""A real SMTP server (aiosmtpd) in a thread of its own, with certificates of an authority for tests."""
from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import warnings
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from interactd.config import Mail
from tests.certificates import Authority, dns

USER, PASSWORD, SENDER = "interactd", "canary-mail-7031", "interactd@mail.example"


@define
class Taken:
    """A mail that a server took: envelope and message."""

    to: list[str]
    sender: str
    message: Message

    @property
    def text(self) -> str:
        """Its plain text."""
        payload = self.message.get_payload(decode=True)
        assert isinstance(payload, bytes)
        return payload.decode().replace("\r\n", "\n")


@define(eq=False)
class PostOffice:
    """A server on a free port of this machine; `said` answers RCPT or DATA where a test wants another answer than 250.

    `tell` hears of each mail in the server's thread, where no reactor runs; else `next` has them.
    """

    folder: Path
    security: str = "starttls"
    names: tuple[str, ...] = ("localhost",)
    said: Callable[[str], str | None] = field(default=lambda step: None)
    tell: Callable[[Taken], None] | None = None
    authority: Authority = field(factory=Authority)
    port: int = 0
    logins: list[tuple[str, str]] = field(factory=list)
    _taken: list[Taken] = field(factory=list)
    _waiting: list[Deferred[Taken]] = field(factory=list)
    _loop: Any = field(factory=asyncio.new_event_loop)

    def open(self, case: SynchronousTestCase) -> None:
        """Listens until the test ends."""
        context = self._context()
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()

        def spoken() -> SMTP:
            logging.getLogger("mail.log").setLevel(logging.CRITICAL + 1)         # it tells of each refused certificate
            warnings.filterwarnings("ignore", "Requiring AUTH while not requiring TLS")
            secured = {"starttls": {"tls_context": context, "require_starttls": True}, "tls": {"auth_require_tls": False}, "none": {}}
            return SMTP(self, hostname="localhost", authenticator=self._authenticate, auth_required=self.security != "none", loop=self._loop,
                        **secured[self.security])
        listening = self._loop.create_server(spoken, "127.0.0.1", self.port, ssl=context if self.security == "tls" else None)
        server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        self.port = server.sockets[0].getsockname()[1]
        case.addCleanup(thread.join)
        case.addCleanup(lambda: asyncio.run_coroutine_threadsafe(self._close(server), self._loop))

    def settings(self, **changed: Any) -> Mail:
        """The configuration by which mails are sent here."""
        trust = self.folder / "authority.pem"
        trust.write_bytes(self.authority.pem)
        return Mail(**{"server": "localhost", "port": self.port, "security": self.security, "user": USER, "password": PASSWORD, "from_": SENDER,
                       "ca_file": trust, **changed})

    def next(self) -> Deferred[Taken]:
        """The next mail, in order."""
        waiting: Deferred[Taken] = Deferred()
        self._waiting.append(waiting)
        self._match()
        return waiting

    async def _close(self, server: Any) -> None:
        server.close()
        talks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        self._loop.stop()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:
        """aiosmtpd asks: a recipient."""
        envelope.rcpt_tos.append(address)
        return self.said("RCPT") or "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        """aiosmtpd asks: a mail."""
        answer = self.said("DATA")
        if answer:
            return answer
        assert isinstance(envelope.content, bytes) and envelope.mail_from is not None
        taken = Taken(list(envelope.rcpt_tos), envelope.mail_from, message_from_bytes(envelope.content))
        if self.tell is None:
            reactor.callFromThread(self._keep, taken)  # type: ignore[attr-defined]
        else:
            self.tell(taken)
        return "250 OK"

    def _keep(self, taken: Taken) -> None:
        self._taken.append(taken)
        self._match()

    def _match(self) -> None:
        while self._taken and self._waiting:
            self._waiting.pop(0).callback(self._taken.pop(0))

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: LoginPassword) -> AuthResult:
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=self.logins[-1] == (USER, PASSWORD), handled=False)

    def _context(self) -> ssl.SSLContext:
        file = self.folder / "server.pem"
        file.write_bytes(self.authority.sign(dns(*self.names)).both)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def office(case: SynchronousTestCase, **options: Any) -> PostOffice:
    """A server that listens until the test ends."""
    folder = Path(case.mktemp())
    folder.mkdir()
    opened = PostOffice(folder, **options)
    opened.open(case)
    return opened
