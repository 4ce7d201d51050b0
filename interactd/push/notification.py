"""What is pushed, and what can become of it."""
from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from enum import Enum
from uuid import uuid4

from attrs import field, frozen

PUSH_TYPES = ("alert", "background", "voip", "complication", "fileprovider", "mdm", "liveactivity", "location", "pushtotalk", "widgets", "controls")
SIZES = {"voip": 5120}      # bytes of a payload by push type
SIZE = 4096                 # of all others

_TOKEN = re.compile("[0-9a-f]{2,400}")
_TOPIC = re.compile("[A-Za-z0-9.-]{1,200}")
_PRINTABLE = re.compile("[!-~]{0,64}")


class Invalid(ValueError):
    """The notification can not be sent as it is: a fault of ours."""


@frozen
class Notification:
    """One push. `deadline` counts the client's clock; after it nothing is sent any more."""

    token: str = field(repr=False)                  # lower-case hex
    topic: str
    payload: bytes = field(repr=False)
    deadline: float
    push_type: str = "alert"
    priority: int = 10
    expiration: int = 0                             # seconds since 1970 until which Apple keeps it; 0: one attempt
    collapse_id: str = ""                           # with one, a push whose fate is unknown may be sent once more
    apns_id: str = field(factory=lambda: str(uuid4()))
    wanted: Callable[[], Awaitable[bool]] | None = None     # asked again before it is sent later than at once

    def check(self) -> None:
        """Nothing, or Invalid: whatever passes can be sent as headers."""
        if not _TOKEN.fullmatch(self.token):
            raise Invalid("the device token is not hex in small letters")
        if not _TOPIC.fullmatch(self.topic):
            raise Invalid("the topic is no bundle id")
        if not _PRINTABLE.fullmatch(self.collapse_id):
            raise Invalid("the collapse id is not at most 64 printable characters")
        if self.push_type not in PUSH_TYPES:
            raise Invalid("the push type is unknown")
        if self.priority not in ((5,) if self.push_type == "background" else (1, 5, 10)):
            raise Invalid("the priority does not fit")
        if not 0 < len(self.payload) <= SIZES.get(self.push_type, SIZE):
            raise Invalid("the payload is empty or too large")

    @property
    def shown(self) -> str:
        """The device, as logs may show it."""
        return self.token[:8] + "…"


class Kind(Enum):
    """How a push ended."""

    OK = "ok"                   # Apple has taken it
    DEAD = "dead"               # and the device's token is good no more
    DROPPED = "dropped"         # refused for good
    FAILED = "failed"           # refused for now, with no time left for another attempt
    LATER = "later"             # refused for now: to be sent again after `after` seconds
    EXPIRED = "expired"         # never sent, or to be sent again, when its time had passed
    UNKNOWN = "unknown"         # sent, and nobody knows whether it arrived
    BUSY = "busy"               # too many wait already
    WITHDRAWN = "withdrawn"     # it was not wanted any more
    STOPPED = "stopped"         # the client has stopped before it was sent


@frozen
class Outcome:
    """How a push ended: Apple's reason or ours, and with DEAD since when the token is dead (ms), if Apple said."""

    kind: Kind
    reason: str = ""
    status: int = 0
    timestamp: int | None = None
    after: float = 0.0
