"""Sessions: login, logout, and who is calling."""

from collections import OrderedDict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from interactd.auth.credentials import Credentials
from interactd.auth.throttle import origin
from interactd.auth.tokens import digest, new_token
from interactd.auth.user import User
from interactd.changes import Changed, Elsewhere, Ended, Hub
from interactd.config import Config
from interactd.db import Database, Row, Statement, Step, one
from interactd.errors import Invalid, Unauthenticated

RECHECK = 5.0           # seconds for which a session read from the database is believed (contract section 2)
KEPT_ADDRESSES = 100    # of each account; the newest

_USER = """u.id, u.email, u.company_id, ARRAY(SELECT r.role FROM user_roles r WHERE r.user_id = u.id), s.id, s.scope,
  u.auth_version, u.must_change, (extract(epoch FROM s.expires_at) * 1000)::bigint,
  (SELECT c.region FROM companies c WHERE c.id = u.company_id), (SELECT c.area_code FROM companies c WHERE c.id = u.company_id)"""

_EXPIRY = """least(now() + make_interval(days => :days::int),
  CASE WHEN s.scope IN ('web portal', 'csr') THEN s.created_at + make_interval(days => :max_days::int) END)"""

WHO = Statement("session_of_token", f"""
SELECT {_USER}, extract(epoch FROM s.expires_at - now())::float, s.used_at < now() - interval '1 minute'
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.token_hash = :token_hash AND s.expires_at > now() AND u.active""")

# A session that is being ended is locked; waiting for it would bring nothing.
RENEW = Statement("renew_sessions", f"""
UPDATE sessions s SET used_at = now(), expires_at = {_EXPIRY}
WHERE s.id IN (SELECT q.id FROM sessions q WHERE q.id = ANY(:ids::bigint[]) AND q.expires_at > now()
  AND q.used_at < now() - interval '1 minute' FOR NO KEY UPDATE SKIP LOCKED)""")

GOOD = Statement("good_sessions", """
SELECT s.id FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.id = ANY(:ids::bigint[]) AND s.expires_at > now() AND u.active""")

# Whoever changed or ended something of this account while its password was being checked has raised the version.
HOLD_ACCOUNT = Statement("hold_account", """
WITH held AS (SELECT FROM users WHERE id = :user_id AND active AND auth_version = :auth_version FOR NO KEY UPDATE)
SELECT refuse('IA401', 'the username or the password is wrong', '5003') WHERE NOT EXISTS (SELECT FROM held)""")

DROP_EXPIRED = Statement("drop_expired_sessions", "DELETE FROM sessions WHERE user_id = :user_id AND expires_at <= now()")

KEEP_ADDRESS = Statement("keep_login_address", """
INSERT INTO login_addresses (user_id, address) VALUES (:user_id, :address)
ON CONFLICT (user_id, address) DO UPDATE SET at = now()""")

DROP_ADDRESSES = Statement("drop_login_addresses", """
DELETE FROM login_addresses WHERE user_id = :user_id AND address IN (
  SELECT address FROM login_addresses WHERE user_id = :user_id ORDER BY at DESC, address OFFSET :most::int)""")

OPEN = Statement("open_session", f"""
WITH s AS (
  INSERT INTO sessions AS s (user_id, token_hash, scope, expires_at, address, agent)
  SELECT :user_id::bigint, :token_hash::bytea, s.scope, {_EXPIRY}, :address::text, :agent::text
  FROM (SELECT :scope::text AS scope, now() AS created_at) s
  WHERE CASE WHEN (SELECT count(*) FROM sessions WHERE user_id = :user_id) < :most::int THEN true
    ELSE refuse('IA429', 'too many open sessions: log out of one first', '2004') END
  RETURNING id, scope, user_id, expires_at)
SELECT {_USER} FROM s JOIN users u ON u.id = s.user_id""")

LOGOUT = Statement("close_session", """
DELETE FROM sessions WHERE token_hash = :token_hash AND expires_at > now() RETURNING user_id, id""")


@frozen
class Login:
    """What a login gives: the token is shown this once, `expires` is ms since 1970."""

    user: User
    token: str = field(repr=False)
    expires: int


@frozen
class _Known:
    """A session as the database had it, believed until this moment of the monotonic clock."""

    user: User
    until: float


class Sessions:
    """All sessions of the database, the last used ones remembered for 5 s; what the Hub tells of is forgotten at once."""

    log = Logger()
    remembered = 10_000

    def __init__(self, db: Database, hub: Hub, credentials: Credentials, config: Config, now: Callable[[], float]) -> None:
        self._db = db
        self._hub = hub
        self._credentials = credentials
        self._now = now                                 # monotonic seconds
        self._limits = {"days": config.auth.session_days, "max_days": config.auth.session_max_days}
        self._sessions_per_user = config.limits.sessions
        self._first_admin: Path = config.state.directory / "first-admin"
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._keys: dict[int, set[bytes]] = {}          # user id -> its keys in _known
        self._readings: list[set[int]] = []             # for each read under way: users that changed meanwhile
        self._renewals: set[Deferred[Any]] = set()
        hub.subscribe(Ended, lambda ended: self._forget(ended.user_id))
        hub.subscribe(Changed, self._changed)
        hub.subscribe(Elsewhere, self._elsewhere)

    async def who(self, token: str, fresh: bool = False) -> User:
        """The user of a token, which is renewed by being used; Unauthenticated 5002 for a dead one.

        `fresh` asks the database even about a session read a moment ago: for calls that need the roles of this instant.
        """
        key = digest(token)
        known = self._known.get(key)
        if known is not None and not fresh and self._now() < known.until:
            self._known.move_to_end(key)
            return known.user
        return await self._read(key)

    async def good(self, session_ids: Collection[int]) -> frozenset[int]:
        """Those of the sessions that still are good; open sockets ask at least every 5 s, which renews them like a call."""
        ids = list(session_ids)
        rows = await self._db.script(Step(RENEW, {"ids": ids, **self._limits}), Step(GOOD, {"ids": ids}))
        return frozenset(row[0] for row in rows)

    async def login(self, email: str, password: str, scope: str, address: str, agent: str | None) -> Login:
        """A new session; Unauthenticated 5003 for wrong credentials, TooMany over the login limits or with too many sessions."""
        account = await self._credentials.prove(email, password, address)
        token = new_token()
        whose = {"user_id": account.id}
        row = one(await self._db.script(
            Step(HOLD_ACCOUNT, {**whose, "auth_version": account.auth_version}),
            Step(DROP_EXPIRED, whose),
            Step(KEEP_ADDRESS, {**whose, "address": origin(address)}),
            Step(DROP_ADDRESSES, {**whose, "most": KEPT_ADDRESSES}),
            Step(OPEN, {**whose, **self._limits, "token_hash": digest(token), "scope": scope, "address": address,
                        "agent": agent and agent.replace("\0", "")[:255], "most": self._sessions_per_user})))
        user = _user(row)
        if user.must_change:
            self._first_admin.unlink(missing_ok=True)
        return Login(user, token, user.expires)

    async def logout(self, token: str) -> None:
        """End the session of this token and tell the Hub; Invalid 5002 for a dead one (table 8 of the seed knows only 400)."""
        rows = await self._db.query(LOGOUT, token_hash=digest(token))
        if not rows:
            raise Invalid("the authToken is unknown or expired", detail=5002)
        user_id, session_id = rows[0]
        self._hub.publish(Ended(user_id, (session_id,)))

    async def settled(self) -> None:
        """Wait until every renewal under way is written."""
        await gatherResults(list(self._renewals))

    async def _read(self, key: bytes) -> User:
        """The session as the database has it now: read again if the user changed while the statement ran."""
        while True:
            asked, changed = self._now(), set[int]()
            self._readings.append(changed)
            try:
                rows = await self._db.query(WHO, token_hash=key)
            finally:
                self._readings = [reading for reading in self._readings if reading is not changed]
            if not rows:
                self._drop(key)
                raise Unauthenticated("the authToken is unknown, expired or revoked", detail=5002)
            user = _user(rows[0])
            if user.id not in changed:
                remaining, renewable = rows[0][-2:]
                self._remember(key, _Known(user, asked + min(RECHECK, remaining)))
                if renewable:
                    self._renew(user.session_id)
                return user

    def _renew(self, session_id: int) -> None:
        """Write that a session is in use, beside the call that uses it."""
        renewal = Deferred.fromCoroutine(self._db.query(RENEW, ids=[session_id], **self._limits))
        self._renewals.add(renewal)
        renewal.addErrback(self._not_renewed)
        renewal.addBoth(lambda _: self._renewals.discard(renewal))

    def _not_renewed(self, failure: Failure) -> None:
        """Leave it to the next use of the session. (The text of a database error could hold values.)"""
        self.log.warn("a session was not renewed ({kind})", kind=failure.type.__name__ if failure.type else "")

    def _remember(self, key: bytes, known: _Known) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        self._keys.setdefault(known.user.id, set()).add(key)
        if len(self._known) > self.remembered:
            self._drop(next(iter(self._known)))

    def _drop(self, key: bytes) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            keys = self._keys[known.user.id]
            keys.discard(key)
            if not keys:
                del self._keys[known.user.id]

    def _forget(self, user_id: int) -> None:
        for key in tuple(self._keys.get(user_id, ())):
            self._drop(key)
        for changed in self._readings:
            changed.add(user_id)

    def _elsewhere(self, event: Elsewhere) -> None:
        for user_id in tuple(self._keys) if event.everybody else event.ended:
            self._forget(user_id)

    def _changed(self, event: Changed) -> None:
        if event.entity_type == "user":
            self._forget(event.entity_id)


def _user(row: Row) -> User:
    roles = frozenset(row[3]) or frozenset(("user",))
    return User(row[0], row[1], row[2], roles, *row[4:11])
