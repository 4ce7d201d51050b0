"""What the rows say of the open sockets: asked every few seconds of all, and at a hint from another node of those it names."""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import orjson
from attrs import define, field

from interactd.auth.sessions import Sessions
from interactd.changes import Elsewhere, Progress
from interactd.db import Database, Statement
from interactd.errors import Unavailable
from interactd.live.notify import Notifier
from interactd.live.numbered import Numbered
from interactd.live.registry import Registry
from interactd.live.replay import Replay
from interactd.live.session import Session
from interactd.live.standing import fallen

# What was written just now; who asks a moment later hears it again.
WORK = Statement("live_work", """
SELECT s.user_id, s.progress::text FROM import_states s
WHERE s.user_id = ANY(:users::bigint[]) AND s.told > now() - interval '2 s' ORDER BY s.told""")


@define
class Rows:
    """Ends the sockets that may not go on, and sends to the others what they have missed. `work` runs a coroutine beside everything else."""

    _database: Database
    _sessions: Sessions
    _registry: Registry
    _notifier: Notifier
    _replay: Replay
    _work: Callable[[Awaitable[None]], Any]
    _told: set[int] = field(factory=set, init=False)        # users of whom other nodes have told, and whose rows are not looked at yet
    _ended: set[int] = field(factory=set, init=False)       # and those whose sockets may have to end
    _worked: set[int] = field(factory=set, init=False)      # and those whose imports have come further
    _following: bool = field(default=False, init=False)

    async def look(self, sessions: Sequence[Session]) -> None:
        """Both for these sessions."""
        await self._end_fallen(sessions)
        await self._catch_up([session for session in sessions if session in self._registry])

    def elsewhere(self, hint: Elsewhere) -> None:
        """Another node has written: what many hints name is looked at together."""
        everybody = self._registry.users() if hint.everybody else ()
        self._told.update(everybody, self._listening(hint.told))
        self._ended.update(everybody, self._listening(hint.ended))
        self._worked.update(self._listening(hint.worked))
        if (self._told or self._ended or self._worked) and not self._following:
            self._following = True
            self._work(self._follow())

    async def _follow(self) -> None:
        try:
            while self._told or self._ended or self._worked:
                told, self._told = self._told, set()
                ended, self._ended = self._ended, set()
                worked, self._worked = self._worked, set()
                await self._end_fallen(self._of(ended))
                await self._catch_up(self._of(told))
                await self._progress(worked)
        finally:
            self._following = False

    async def _progress(self, users: set[int]) -> None:
        if not users:
            return
        try:
            for user_id, told in await self._database.query(WORK, users=list(users)):
                self._notifier.progressed(Progress(user_id, orjson.loads(told)))
        except Unavailable:
            pass                                # it says so again in a second

    async def _end_fallen(self, sessions: Sequence[Session]) -> None:
        for session, code, reason in await fallen(self._database, self._sessions, sessions):
            if session in self._registry:
                session.line.end(code, reason)

    async def _catch_up(self, sessions: Sequence[Session]) -> None:
        await self._notifier.sweep(sessions)
        await self._replay.sweep(session for session in sessions if isinstance(session, Numbered))

    def _listening(self, users: Iterable[int]) -> list[int]:
        return [user_id for user_id in users if self._registry.of(user_id)]

    def _of(self, users: Iterable[int]) -> list[Session]:
        return [session for user_id in users for session in self._registry.of(user_id).values()]
