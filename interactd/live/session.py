"""What is said over an authenticated socket, one class a protocol form (contract section 7)."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import ClassVar, Protocol

import orjson
from attrs import frozen

from interactd.changes import Notice
from interactd.live.closing import Close
from interactd.live.frames import asking, frame
from interactd.live.ledger import Ledger


class Line(Protocol):
    """A socket as its session sees it."""

    @property
    def stalled(self) -> bool:
        """Whether the client does not take what it is sent."""
        ...

    def end(self, code: Close, reason: str) -> None:
        """Nothing goes out any more but the close frame."""
        ...

    def write(self, data: bytes, delivery: int = 0) -> None:
        """Frames on their way; the session hears of `delivery` when they are handed to the network."""
        ...


@frozen
class Entry:
    """Who opened a socket: the device in its newest generation, and what it has missed."""

    user_id: int
    session_id: int
    device_id: int
    generation: int
    hint: int | None        # lastSyncTime, if anything changed since
    waiting: bool           # whether deliveries wait for it


class Session:
    """What every form has: notifications, acknowledged by the pong to the ping behind each."""

    __slots__ = ("line", "entry", "_ledger", "_unacknowledged")
    subprotocol: ClassVar[str | None] = None
    all_types: ClassVar[bool] = False       # whether `[live] plain-types` does not bind it

    def __init__(self, line: Line, entry: Entry, ledger: Ledger) -> None:
        self.line = line
        self.entry = entry
        self._ledger = ledger
        self._unacknowledged: deque[int] = deque()

    def opened(self) -> None:
        """The first words: the seed's hint (table 6), if there is anything to synchronize."""
        if self.entry.hint is not None:
            hint = {"message": "cloud synchronization recommended", "lastSyncTime": self.entry.hint}
            self.line.write(frame(orjson.dumps(hint)))

    @classmethod
    def encoded(cls, notice: Notice) -> bytes:
        """A notification's frames: the same bytes for every session of this form."""
        return frame(notice.frame.encode()) + asking(notice.interaction_id)

    def notify(self, interaction_id: int, frames: bytes) -> None:
        """A notification goes out."""
        self.line.write(frames, interaction_id)

    def handed(self, interaction_id: int) -> None:
        """A notification was handed to the network."""
        self._unacknowledged.append(interaction_id)
        self._ledger.sent(interaction_id, self.entry)

    def ping(self) -> None:
        """Ask whether the client is there; a ping names the last delivery before it, so its pong says nothing new."""
        self.line.write(asking(self._unacknowledged[-1] if self._unacknowledged else 0))

    def ponged(self, payload: bytes) -> None:
        """Pongs come in order and one may stand for several pings (RFC 6455 section 5.5.3), so it acknowledges what was sent before, too."""
        waiting = self._unacknowledged
        if not payload.isdigit() or len(payload) > 19 or int(payload) not in waiting:
            return
        last, acknowledged = int(payload), 0
        while acknowledged != last:
            acknowledged = waiting.popleft()
            self._ledger.acknowledged(acknowledged, self.entry)

    def received(self, message: bytes) -> None:
        """A client's message: the seed knows none, so nothing comes of it."""

    def device_moved(self, device_id: int) -> None:
        """A phone of the user changed hands: nothing that the seed would say."""

    def restarting(self, after: int) -> None:
        """The daemon stops, and the client should come again in `after` ms: a plain socket reads it in the close frame only."""


class Plain(Session):
    """The seed's form."""

    __slots__ = ()


class Numbered(Session):
    """Subprotocol interactd.1; the place of its numbered messages."""

    __slots__ = ()
    subprotocol = "interactd.1"
    all_types = True

    def device_moved(self, device_id: int) -> None:
        """Which device is inactive now (contract section 4, device)."""
        self.line.write(frame(orjson.dumps({"deviceMoved": device_id})))

    def restarting(self, after: int) -> None:
        """The message before the close frame."""
        self.line.write(frame(orjson.dumps({"reconnectAfter": after})))


FORMS: dict[str, type[Session]] = {"interactd.1": Numbered}


def form_of(offered: Iterable[str]) -> type[Session]:
    """The form for the subprotocols a client offers: the first one that is spoken here, else the seed's."""
    return next((FORMS[name] for name in offered if name in FORMS), Plain)
