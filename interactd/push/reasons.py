"""What Apple's answers mean, as a table."""
from __future__ import annotations

from enum import Enum, auto
from typing import Any

import orjson
from attrs import frozen


class Act(Enum):
    """What to do about an answer."""

    OK = auto()
    DEAD = auto()               # the token is good no more
    DEAD_IF_OTHERS_LIVE = auto()    # or our settings are wrong, if nothing was accepted lately
    DROP = auto()               # never again: a fault of ours
    FIX = auto()                # the operator must act; the queue is held
    ELSEWHERE = auto()          # at once, by another connection
    NEW_TOKEN = auto()          # at once, by another connection and with a fresh provider token
    DEVICE_LATER = auto()       # this device only
    KEY_LATER = auto()          # everything
    LATER = auto()
    LATER_ELSEWHERE = auto()    # by another connection


def _all(act: Act, status: int, names: str) -> dict[tuple[int, str], Act]:
    return {(status, name): act for name in names.split()}


ACTS: dict[tuple[int, str], Act] = {
    **_all(Act.DEAD_IF_OTHERS_LIVE, 400, "BadDeviceToken DeviceTokenNotForTopic"),
    **_all(Act.DROP, 400, "BadCollapseId BadExpirationDate BadMessageId BadPriority BadTopic DuplicateHeaders InvalidPushType"
                          " MissingDeviceToken MissingTopic PayloadEmpty"),
    **_all(Act.FIX, 400, "TopicDisallowed"),
    **_all(Act.ELSEWHERE, 400, "IdleTimeout"),
    **_all(Act.NEW_TOKEN, 403, "ExpiredProviderToken"),
    **_all(Act.FIX, 403, "InvalidProviderToken MissingProviderToken BadCertificate BadCertificateEnvironment Forbidden UnrelatedKeyIdInToken"
                         " BadEnvironmentKeyIdInToken BadEnvironmentKeyInToken"),
    **_all(Act.DROP, 404, "BadPath"),
    **_all(Act.DROP, 405, "MethodNotAllowed"),
    **_all(Act.DEAD, 410, "Unregistered ExpiredToken"),
    **_all(Act.DROP, 413, "PayloadTooLarge"),
    **_all(Act.DEVICE_LATER, 429, "TooManyRequests"),
    **_all(Act.KEY_LATER, 429, "TooManyProviderTokenUpdates"),
    **_all(Act.LATER, 500, "InternalServerError"),
    **_all(Act.LATER_ELSEWHERE, 503, "ServiceUnavailable Shutdown"),
}

#: what a GOAWAY may give as reason, and only the operator can help
FATAL = frozenset(name for (_, name), act in ACTS.items() if act in (Act.FIX, Act.NEW_TOKEN))


@frozen
class Answer:
    """Apple's answer to one push."""

    status: int
    reason: str = ""
    timestamp: int | None = None

    @property
    def act(self) -> Act:
        """What to do; a reason nobody knows goes by its status."""
        if self.status == 200:
            return Act.OK
        return ACTS.get((self.status, self.reason), Act.LATER if self.status >= 500 else Act.DROP)


def answer(status: int, body: bytes) -> Answer:
    """The answer in a response, whatever its body is."""
    if status == 200:
        return Answer(200)
    said = _object(body)
    timestamp = said.get("timestamp")
    return Answer(status, reason_in(said), timestamp if isinstance(timestamp, int) and not isinstance(timestamp, bool) else None)


def reason(body: bytes) -> str:
    """The `reason` that some bytes of JSON give; empty for none."""
    return reason_in(_object(body))


def reason_in(said: dict[str, Any]) -> str:
    """The `reason` of an object, fit for logs and labels."""
    found = said.get("reason")
    return found if isinstance(found, str) and found.isascii() and found.isalnum() and len(found) <= 64 else ""


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}
