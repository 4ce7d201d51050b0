"""Which sockets are open, by user and device."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from interactd.live.session import Session

_NONE: Mapping[int, Session] = MappingProxyType({})


class Registry:
    """The sessions of authenticated sockets: one a device, so many a user; the oldest go first."""

    __slots__ = ("_users", "_most")

    def __init__(self, most: int) -> None:
        self._users: dict[int, dict[int, Session]] = {}
        self._most = most

    def of(self, user_id: int) -> Mapping[int, Session]:
        """The user's sessions by device id, the oldest first."""
        return self._users.get(user_id, _NONE)

    def users(self) -> tuple[int, ...]:
        """Whoever has a session here."""
        return tuple(self._users)

    def listens(self, user_id: int, device_id: int) -> bool:
        """Whether the device has a socket here."""
        return device_id in self.of(user_id)

    def __iter__(self) -> Iterator[Session]:
        for sessions in tuple(self._users.values()):
            yield from tuple(sessions.values())

    def __contains__(self, session: object) -> bool:
        return isinstance(session, Session) and self.of(session.entry.user_id).get(session.entry.device_id) is session

    def add(self, session: Session) -> list[Session]:
        """Takes a session in; the answer is those that must go for it, itself if a newer one of the device is there already."""
        entry = session.entry
        sessions = self._users.setdefault(entry.user_id, {})
        older = sessions.pop(entry.device_id, None)
        if older is not None and older.entry.generation > entry.generation:
            sessions[entry.device_id] = older
            return [session]
        sessions[entry.device_id] = session
        gone = [older] if older is not None else []
        while len(sessions) > self._most:
            gone.append(sessions.pop(next(iter(sessions))))
        return gone

    def discard(self, session: Session) -> bool:
        """Forgets a session, if it is still the one of its device, and says whether it was."""
        entry, known = session.entry, session in self
        if known:
            sessions = self._users[entry.user_id]
            del sessions[entry.device_id]
            if not sessions:
                del self._users[entry.user_id]
        return known
