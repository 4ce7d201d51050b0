"""What has happened, told inside this process: events and the Hub that carries them.

Events are hints, published after the commit; the rows are the truth. Whoever misses one reads the rows.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import field, frozen
from twisted.logger import Logger

E = TypeVar("E")


@frozen
class Changed:
    """A user's data is at number `seq` now; `action` (insert, update, delete) happened to this entity."""

    user_id: int
    seq: int
    action: str
    entity_type: str
    entity_id: int


@frozen
class Notice:
    """A stored event that `device_ids` must hear of: `frame` is the notification's JSON text (contract section 6)."""

    user_id: int
    interaction_id: int
    seq: int
    prev: int
    device_ids: tuple[int, ...]
    frame: str = field(repr=False)
    type: str
    late: bool = False


@frozen
class Ended:
    """Sessions and devices of a user that are good no more: `None` means all of them. Their sockets close with 4401 (sessions) or 4403 (devices)."""

    user_id: int
    session_ids: tuple[int, ...] | None = None
    device_ids: tuple[int, ...] = ()
    kept_session_id: int | None = None


@frozen
class Entered:
    """A device opened a socket and has this generation now: what it had open before, here or at another node, is over."""

    user_id: int
    device_id: int
    generation: int


@frozen
class Acknowledged:
    """The device has the notification: its socket said so (the row follows within a tenth of a second)."""

    user_id: int
    device_id: int
    interaction_id: int


@frozen
class PasswordReset:
    """A link that was mailed to the account has set its password; `name` is what login limits count it by, `address` the client's."""

    user_id: int
    email: str = field(repr=False)
    name: str = field(repr=False)
    address: str = field(repr=False)


@frozen
class DeviceMoved:
    """A phone changed hands: this device of the user is inactive now."""

    user_id: int
    device_id: int


@frozen
class Progress:
    """How far a long piece of work for a user has come; `told` is what the user's devices hear of it."""

    user_id: int
    told: dict[str, Any] = field(repr=False)


@frozen
class Elsewhere:
    """Another node has written rows of these users: `told` have events, `ended` have sessions or devices that may be good no more, `worked`
    have an import that has come further.

    `everybody`: hints may have been lost, so any user's rows may be new.
    """

    told: tuple[int, ...] = ()
    ended: tuple[int, ...] = ()
    worked: tuple[int, ...] = ()
    everybody: bool = False


class Hub:
    """Tells each event to whoever subscribed to its class; one subscriber's failure is logged and stops nobody."""

    log = Logger()

    def __init__(self) -> None:
        self._subscribers: dict[type, list[Callable[[Any], None]]] = {}

    def subscribe(self, kind: type[E], tell: Callable[[E], None]) -> Callable[[], None]:
        """`tell` is called with each event of class `kind` from now on; the answer ends that."""
        told = self._subscribers.setdefault(kind, [])
        told.append(tell)
        return lambda: told.remove(tell)

    def publish(self, event: object) -> None:
        """Everybody who subscribed to the event's class is told, in the order of subscription."""
        for tell in tuple(self._subscribers.get(type(event), ())):
            try:
                tell(event)
            except Exception:
                self.log.failure("a subscriber failed on {kind}", kind=type(event).__name__)
