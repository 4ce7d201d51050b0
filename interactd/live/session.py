"""What is said over an authenticated socket: what all forms have in common, and the seed's form (contract section 7)."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import orjson
from attrs import frozen

from interactd.changes import Notice
from interactd.live.closing import Close
from interactd.live.frames import asking, frame
from interactd.live.ledger import Ledger
from interactd.live.words import Resume

if TYPE_CHECKING:
    from interactd.live.replay import Replay


class Line(Protocol):
    """A socket as its session sees it."""

    @property
    def stalled(self) -> bool:
        """Whether the client does not take what it is sent."""
        ...

    def end(self, code: Close, reason: str) -> None:
        """Nothing goes out any more but the close frame."""
        ...

    def write(self, data: bytes, delivery: Any = None) -> None:
        """Frames on their way; the session hears of `delivery` when they are handed to the network."""
        ...


@frozen
class Entry:
    """Who opened a socket: the device in its newest generation, and what it has missed."""

    user_id: int
    session_id: int
    device_id: int
    generation: int
    hint: int | None                # lastSyncTime, if anything changed since
    waiting: bool                   # whether deliveries wait for it
    number: int = 0                 # where it goes on if it does not say where it was
    epoch: str = ""                 # of the user's numbers
    resume: Resume | None = None    # what came with the first message


@frozen
class Desk:
    """What sessions hand their work to."""

    ledger: Ledger
    replay: Replay
    dismiss: Callable[[Entry, int], None]
    now: Callable[[], float]
    heartbeat_every: float


class Session:
    """One socket's conversation; `due` is when `look` has something to do."""

    __slots__ = ("line", "entry", "due", "_desk")
    subprotocol: ClassVar[str | None] = None
    numbered: ClassVar[bool] = False        # whether its messages have numbers

    def __init__(self, line: Line, entry: Entry, desk: Desk) -> None:
        self.line = line
        self.entry = entry
        self.due = math.inf
        self._desk = desk

    def opened(self) -> None:
        """The first words."""

    def handed(self, delivery: Any) -> None:
        """A message was handed to the network."""

    def ping(self) -> None:
        """Ask whether the client is there."""

    def ponged(self, payload: bytes) -> None:
        """The client answered a ping."""

    def received(self, message: bytes) -> None:
        """The client said something."""

    def announce(self, said: dict[str, Any]) -> None:
        """Something that is no event: a phone that changed hands, a restart."""

    def look(self, now: float) -> None:
        """Its time has come."""

    def flowing(self) -> None:
        """The client, which did not keep up, takes what it is sent again."""


class Plain(Session):
    """The seed's form: notifications, acknowledged by the pong to the ping behind each; what the client says is ignored."""

    __slots__ = ("_unacknowledged",)

    def __init__(self, line: Line, entry: Entry, desk: Desk) -> None:
        super().__init__(line, entry, desk)
        self._unacknowledged: list[int] = []

    def opened(self) -> None:
        """The seed's hint (table 6), if there is anything to synchronize."""
        if self.entry.hint is not None:
            self.line.write(frame(orjson.dumps(hint(self.entry.hint))))

    @classmethod
    def encoded(cls, notice: Notice) -> bytes:
        """A notification's frames: the same bytes for all sockets."""
        return frame(notice.frame.encode()) + asking(notice.interaction_id)

    def notify(self, interaction_id: int, frames: bytes) -> None:
        """A notification goes out."""
        self.line.write(frames, interaction_id)

    def handed(self, delivery: Any) -> None:
        """A notification was handed to the network."""
        self._unacknowledged.append(delivery)
        self._desk.ledger.sent(delivery, self.entry)

    def ping(self) -> None:
        """A ping names the last delivery before it, so its pong says nothing new."""
        self.line.write(asking(self._unacknowledged[-1] if self._unacknowledged else 0))

    def ponged(self, payload: bytes) -> None:
        """Pongs come in order and one may stand for several pings (RFC 6455 section 5.5.3), so it acknowledges what was sent before, too."""
        waiting = self._unacknowledged
        if not payload.isdigit() or len(payload) > 19 or int(payload) not in waiting:
            return
        arrived = waiting.index(int(payload)) + 1
        for interaction_id in waiting[:arrived]:
            self._desk.ledger.acknowledged(interaction_id, self.entry)
        del waiting[:arrived]


def hint(last_sync: int) -> dict[str, Any]:
    """The seed's first message."""
    return {"message": "cloud synchronization recommended", "lastSyncTime": last_sync}
