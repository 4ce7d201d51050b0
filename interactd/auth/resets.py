"""Resets of forgotten passwords: whoever reads an account's mail may set its password (contract section 12).

A request is answered before anybody looks whether there is such an account, so the answer and its time tell nothing.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from interactd.auth.throttle import origin
from interactd.auth.tokens import digest, new_token
from interactd.changes import Hub, PasswordReset
from interactd.config import Config
from interactd.db import Database, Statement, Step, one
from interactd.errors import TooMany, Unavailable
from interactd.mail.letters import reset_done, reset_link
from interactd.mail.outbox import Outbox
from interactd.metrics import MAILS
from interactd.rates import Rates

PAGE = "/resetPassword"
WAITING = 1000                  # requests whose account was not looked for yet

# The lock waits for whoever is changing address or state of the account, and lets one request of the account through at a time.
FIND = Statement("reset_account", """
WITH held AS (SELECT u.id FROM users u WHERE lower(u.email) = lower(:email::text) AND u.active FOR NO KEY UPDATE)
SELECT keep('account', held.id::text) FROM held""")
OPEN = Statement("reset_open", """
WITH made AS (
  INSERT INTO password_resets (user_id, token_hash, expires_at)
  SELECT u.id, :token_hash::bytea, now() + make_interval(mins => :minutes::int) FROM users u
  WHERE u.id = kept('account')::bigint
    AND (SELECT count(*) FROM password_resets q WHERE q.user_id = u.id AND q.expires_at > now()) < :most::int
  RETURNING user_id)
SELECT kept('account')::bigint, (SELECT u.email FROM users u JOIN made ON made.user_id = u.id)""")


class Resets(Service):
    """Takes requests, looks for their accounts one after the other, and mails the links."""

    name = "resets"
    log = Logger()

    def __init__(self, db: Database, hub: Hub, outbox: Outbox, config: Config, now: Callable[[], float]) -> None:
        self._db = db
        self._outbox = outbox
        self._mail = config.mail
        self._page = config.http.public_url + PAGE
        self._now = now
        self._rates = Rates(config.mail.resets_per_address / 3600, config.mail.resets_per_address)
        self._asked: deque[str] = deque()
        self._working: Deferred[None] | None = None
        hub.subscribe(PasswordReset, self._done)

    def startService(self) -> None:
        """From now on requests are taken; the log says if there are no mails."""
        Service.startService(self)
        if not self._outbox.works:
            self.log.info("nobody gets back into an account by mail: that takes [mail] server and [http] public-url")

    async def stopService(self) -> None:
        """No request is worked on any more."""
        Service.stopService(self)
        for _ in range(len(self._asked)):
            self._drop("the daemon stops")
        self._asked.clear()
        if self._working is not None:
            await self._working

    def ask(self, email: str, address: str) -> None:
        """A link is mailed to the account of this e-mail, if there is one. Errors: 503 without mail, 429 for the client's address."""
        if not self._outbox.works:
            raise Unavailable("passwords can not be reset by mail here, ask your administrator", retry_after=3600)
        pause = self._rates.spend(digest(origin(address)), 1, self._now())
        if pause:
            raise TooMany("too many resets asked for, try again later", retry_after=pause)
        if len(self._asked) >= WAITING or not self.running:
            raise Unavailable("too many resets asked for at once")
        self._asked.append(email.replace("\0", ""))
        if self._working is None:
            self._working = Deferred.fromCoroutine(self._work())

    async def _work(self) -> None:
        try:
            while self._asked:
                email = self._asked.popleft()
                try:
                    await self._open(email)
                except Exception as failure:        # its text could hold the address
                    self._drop(type(failure).__name__)
        finally:
            self._working = None

    async def _open(self, email: str) -> None:
        token = new_token()
        given = {"token_hash": digest(token), "minutes": self._mail.link_minutes, "most": self._mail.resets_per_account}
        user_id, to = one(await self._db.script(Step(FIND, {"email": email}), Step(OPEN, given)))
        if to is not None:
            self._outbox.send(reset_link(user_id, to, f"{self._page}#{token}", self._mail.link_minutes))
        elif user_id is not None:
            self._drop(f"account {user_id} has {self._mail.resets_per_account} links that are good")

    def _drop(self, reason: str) -> None:
        MAILS.labels("dropped").inc()
        self.log.warn("a reset that was asked for is dropped: {reason}", reason=reason)

    def _done(self, reset: PasswordReset) -> None:
        """A password was set by a link: the account's owner is told."""
        self._outbox.send(reset_done(reset.user_id, reset.email))
