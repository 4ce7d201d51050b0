"""Where sockets are: at this node, or at others."""
from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

Listening = Callable[[int, int], bool]


@frozen
class Presence:
    """This node among the others: its `number`; `here` says whether a user's device has a socket, `elsewhere` whether other nodes live."""

    here: Listening = lambda user_id, device_id: False
    elsewhere: Callable[[], bool] = lambda: False
    number: Callable[[], int] = lambda: 0
    alive: float = 0.0      # seconds for which a node's sign of life holds
