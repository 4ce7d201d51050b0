"""Why did my phone not ring? Everything that a push depends on, looked at one by one."""
from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from interactd.config import Config
from interactd.db import Database, Statement
from interactd.push.connection import Connection
from interactd.push.identity import Identity, identity
from interactd.push.reasons import Answer
from interactd.refusals import ConfigError, Refusal

CLOCK = 60.0            # seconds by which clocks may differ

WHICH = Statement("doctor_device", """
SELECT v.id, v.name, u.email, v.active, u.active, v.apns_token IS NOT NULL, v.canonical ~ '^([0-9a-f]{2}){32,100}$', v.voip,
  v.registered_at / 1000.0, extract(epoch FROM v.push_ok_at)::float8, v.push_error, extract(epoch FROM v.push_error_at)::float8,
  extract(epoch FROM now())::float8
FROM devices v JOIN users u ON u.id = v.user_id
WHERE CASE WHEN :said ~ '^[0-9]{1,18}$' THEN v.id = :said::bigint OR v.device_id = :said ELSE v.device_id = :said OR v.canonical = :said END
ORDER BY v.active DESC, v.id LIMIT 1""")
LATEST = Statement("doctor_deliveries", """
SELECT extract(epoch FROM d.stored_at)::float8, i.type, CASE WHEN d.acked_at IS NOT NULL THEN 'acknowledged'
  WHEN d.accepted_at IS NOT NULL THEN 'taken by Apple'
  WHEN coalesce(d.failed_at, d.push_failed_at) IS NOT NULL THEN 'failed' WHEN d.sent_at IS NOT NULL THEN 'sent over the socket'
  WHEN d.queued_at IS NOT NULL THEN 'queued' ELSE 'stored' END, coalesce(d.failed, d.push_failed)
FROM deliveries d JOIN interactions i ON i.user_id = d.user_id AND i.id = d.interaction_id
WHERE d.device_id = :device ORDER BY d.seq DESC LIMIT 5""")


@frozen
class Finding:
    """One thing that was looked at; `wrong` says what is wrong with it, and what would help."""

    what: str
    seen: str
    wrong: str = ""


async def examine(reactor: Any, database: Database, config: Config, device: str) -> list[Finding]:
    """All that can be found out about pushes to a device; Refusal if there is none of this id."""
    rows = await database.query(WHICH, said=device)
    if not rows:
        raise Refusal(f"there is no device {device}: give its id, or what it was registered as")
    ident, name, email, *registration, registered, ok_at, error, error_at, now = rows[0]
    who = f"{ident}{f' ({name})' if name else ''} of {email}, registered {_when(float(registered))}"
    found = [Finding("device", who), _registration(registration, error)]
    mine, settings = _settings(config)
    found += [*settings, Finding("clock", f"{abs(now - time.time()):.0f} s between this computer and the database",
                                 "set the clocks: Apple refuses tokens of another time" if abs(now - time.time()) > CLOCK else "")]
    if mine is not None:
        found.append(await _connection(reactor, mine))
    found.append(Finding("last success", _when(ok_at) if ok_at else "none"))
    fresh = error_at and error_at > (ok_at or 0)
    found.append(Finding("last error", f"{error}, {_when(error_at)}" if error_at else "none",
                         f"{error}: see docs/apns.md, section 3" if fresh else ""))
    for stored, kind, state, reason in await database.query(LATEST, device=ident):
        found.append(Finding("event", f"{_when(stored)} {kind}: {state}{f' ({reason})' if reason else ''}"))
    return found


def _registration(said: Sequence[Any], error: str | None) -> Finding:
    active, user_active, has_token, was_token, voip = said
    seen = f"{'active' if active else 'inactive'}, {'with' if has_token else 'without'} an APNs token{', VoIP' if voip else ''}"
    wrong = ""
    if not user_active:
        wrong = "the account is inactive"
    elif not active:
        wrong = "the device is inactive: its session was ended, or somebody else registered the phone; let the app register it again"
    elif not has_token and was_token:
        wrong = f"Apple called its token dead ({error or 'no reason'}): let the app register it again"
    elif not has_token:
        wrong = "its id is no APNs token: it hears of events while its socket is open, and is not pushed to"
    return Finding("registration", seen, wrong)


def _settings(config: Config) -> tuple[Identity | None, list[Finding]]:
    try:
        mine = identity(config.apns)
    except ConfigError as fault:
        return None, [Finding("settings", "not usable", str(fault))]
    if mine is None:
        return None, [Finding("settings", "pushes are off", "give [apns] topic and a key")]
    found = [Finding("environment", f"{mine.host}:{mine.port}, topic {config.apns.topic}")]
    if mine.expires is not None:
        over = mine.expires < datetime.now(timezone.utc)
        return mine, [*found, Finding("certificate", f"good until {mine.expires:%Y-%m-%d}", "it has expired: make a new one" if over else "")]
    return mine, [*found, Finding("key", f"{config.apns.key_id} of team {config.apns.team_id}, {config.apns.key_file}")]


async def _connection(reactor: Any, mine: Identity) -> Finding:
    """Apple answers, and proves its name; nothing is sent."""
    visit = _Visit()
    link: Any = Connection[Any](visit, visit, reactor, True)
    try:
        await mine.dial(reactor)(link)
        await visit.done
    except Exception as failure:
        return Finding("connection", "none", str(failure) or type(failure).__name__)
    limit = link.streams.limit
    link.close("seen enough")
    await visit.over
    return Finding("connection", f"{mine.host} answers by HTTP/2 and allows {limit} at once")


class _Visit:
    """Hears of a connection that carries nothing."""

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()
        self.over: Deferred[None] = Deferred()

    def ready(self) -> None:
        """The peer's SETTINGS have come."""
        if not self.done.called:
            self.done.callback(None)

    def answered(self, connection: Any, carried: Any, answer: Answer) -> None:
        """Nothing was asked."""

    def refused(self, carried: Sequence[Any]) -> None:
        """Nothing was sent."""

    def doubtful(self, carried: Any, why: str) -> None:
        """Nothing was sent."""

    def draining(self, connection: Any, why: str, reason: str) -> None:
        """`closed` follows."""

    def closed(self, connection: Any, why: str) -> None:
        """It has ended, before it was ready or behind."""
        if not self.done.called:
            self.done.errback(Refusal(why))
        self.over.callback(None)


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
