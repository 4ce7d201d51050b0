"""Sending one mail by SMTP, never in the clear and only to a server that proves its name."""
from __future__ import annotations

from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.mail.smtp import CramMD5ClientAuthenticator, ESMTPClient, LOGINAuthenticator, PLAINAuthenticator
from twisted.python.failure import Failure

from interactd.config import Config, Mail
from interactd.keys import MAIL_ADDRESS
from interactd.mail.letters import Letter
from interactd.refusals import Refusal
from interactd.tls import strict, trusted

_WHOLE = 10             # times the patience for one answer, in which all of a delivery must be done


class NotDelivered(Exception):
    """Why a mail was not taken, without any word of the server's, which may hold addresses; `final`: it never will be."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


class _Delivery(ESMTPClient):
    """A conversation in which one mail is handed over; `done` fires when it has ended."""

    heloFallback = False
    requireTransportSecurity = True
    timeout: Any = None
    debug = False                       # else what was said stands in the text of errors

    def __init__(self, letter: Letter, mail: Mail, secure: Any, identity: str) -> None:
        ESMTPClient.__init__(self, mail.password.encode() if mail.user else None, secure, identity)
        self.timeout = mail.timeout
        self.requireAuthentication = bool(mail.user)
        for kind in (PLAINAuthenticator, LOGINAuthenticator, CramMD5ClientAuthenticator):
            self.registerAuthenticator(kind(mail.user.encode()))  # type: ignore[no-untyped-call]
        self.done: Deferred[None] = Deferred(lambda _: self._abort())
        self._letter: Letter | None = letter
        self._sender = mail.from_
        self._outcome: NotDelivered | None = NotDelivered("the connection was lost")
        self._ended = False

    def getMailFrom(self) -> str | None:
        return None if self._ended else self._sender

    def getMailTo(self) -> list[str]:
        assert self._letter is not None
        return [self._letter.to]

    def getMailData(self) -> BytesIO:
        assert self._letter is not None
        return BytesIO(self._letter.written(self._sender))

    def sentMail(self, code: int, resp: Any, numOk: int, addresses: Any, log: Any) -> None:
        taken = 200 <= code < 300 and numOk > 0
        self._end(None if taken else NotDelivered(f"the server answered {code}", final=500 <= code < 600))

    def sendError(self, exc: Any) -> None:
        self._end(NotDelivered(f"{type(exc).__name__} {getattr(exc, 'code', '')}".strip()))
        ESMTPClient.sendError(self, exc)

    def timeoutConnection(self) -> None:
        self._end(NotDelivered("the server did not answer in time"))
        self._abort()

    def esmtpState_starttls(self, code: int, resp: Any) -> None:
        # What came in the same breath was not secret, and must not count as said by whoever proves the name.
        if self.clearLineBuffer():  # type: ignore[no-untyped-call]
            self._end(NotDelivered("the server spoke before the connection was secret"))
            self._abort()
        else:
            ESMTPClient.esmtpState_starttls(self, code, resp)

    def smtpState_disconnect(self, code: int, resp: Any) -> None:
        self._abort()                   # after QUIT there is nothing to wait for, not even the end of TLS

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:
        ESMTPClient.connectionLost(self, reason)
        if not self._ended:
            self._outcome = NotDelivered(f"the connection was lost ({_named(reason)})")
        if not self.done.called:
            self.done.callback(None) if self._outcome is None else self.done.errback(self._outcome)

    def _end(self, outcome: NotDelivered | None) -> None:
        if not self._ended:
            self._ended, self._outcome = True, outcome

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]


def _named(reason: Failure) -> str:
    return reason.type.__name__ if reason.type else "unknown"


@frozen
class MailServer:
    """The server of the configuration; `name` is what we call ourselves there."""

    reactor: Any
    mail: Mail
    name: str
    trust: Any = field(default=None, repr=False)

    async def deliver(self, letter: Letter) -> None:
        """The server has taken the mail, or NotDelivered."""
        if not MAIL_ADDRESS.fullmatch(letter.to):
            raise NotDelivered("the address can not be written in SMTP", final=True)
        secure = strict(self.mail.server, trustRoot=self.trust)
        endpoint: IStreamClientEndpoint = HostnameEndpoint(self.reactor, self.mail.server, self.mail.port, timeout=self.mail.timeout)
        if self.mail.security == "tls":
            endpoint = wrapClientTLS(secure, endpoint)
        delivery = _Delivery(letter, self.mail, secure, self.name)
        try:
            await connectProtocol(endpoint, delivery)
        except CancelledError:
            raise
        except Exception as failure:
            raise NotDelivered(f"no connection ({type(failure).__name__})") from None
        delivery.done.addTimeout(_WHOLE * self.mail.timeout, self.reactor, _too_slow)
        await delivery.done


def _too_slow(result: Any, timeout: float) -> Any:
    return Failure(NotDelivered("the server was too slow"))


def mail_server(reactor: Any, config: Config) -> MailServer | None:
    """The server mails are sent by, None where none is named or links could not be built. Errors: Refusal for half a server."""
    mail = config.mail
    if not mail.server or not config.http.public_url:
        return None
    if not mail.from_:
        raise Refusal("[mail] server is set, but not `from`, the address mails come from")
    if mail.user and not mail.password:
        raise Refusal("[mail] user is set, but no password")
    return MailServer(reactor, mail, urlsplit(config.http.public_url).hostname or "localhost", _trust(mail))


def _trust(mail: Mail) -> Any:
    if mail.ca_file is None:
        return None
    try:
        return trusted(mail.ca_file.read_bytes())
    except (OSError, ValueError) as failure:
        raise Refusal(f"[mail] ca-file: {mail.ca_file} can not be read: {failure}") from None
