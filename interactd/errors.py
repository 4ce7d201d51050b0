"""Every error an answer can carry: class -> HTTP status, exception, detail (contract section 3).

The 14-digit code of an answer is exception (4) · action (3) · realm (3) · detail (4); action and realm belong to the
call, so the pipeline puts the code together and an error knows its own two parts only.
"""
from __future__ import annotations

from typing import ClassVar

from attrs import frozen


@frozen
class Fault:
    """One thing that is wrong with a body or a query."""

    attribute: str
    problem: str


class ApiError(Exception):
    """An error whose text may be shown to a client."""

    status: ClassVar[int] = 500
    exception: int = 9999
    detail: int = 1001

    def __init__(self, devmsg: str, *, detail: int | None = None, details: tuple[Fault, ...] = (), retry_after: int | None = None) -> None:
        super().__init__(devmsg)
        self.devmsg = devmsg
        self.details = details
        self.retry_after = retry_after
        if detail is not None:
            self.detail = detail

    def code(self, action: int, realm: int) -> int:
        """The 14-digit error code of this error in a call of that action and realm."""
        return ((self.exception * 1000 + action) * 1000 + realm) * 10000 + self.detail


class Internal(ApiError):
    """Something nobody foresaw; the log says more under the request id."""


class Invalid(ApiError):
    """The request has the wrong type, form or value (detail 2003), is out of range (2004), empty (2002) or unknown (2005)."""

    status = 400
    exception = 9201
    detail = 2003


class Missing(ApiError):
    """Something mandatory is not there."""

    status = 400
    exception = 9202
    detail = 2001


class Refused(ApiError):
    """A well-formed request that may not be (`companyId` set twice, a group without members)."""

    status = 400
    exception = 9300
    detail = 6002


class Assigned(ApiError):
    """The basicInfo stands with another contact already."""

    status = 400
    exception = 9301
    detail = 6002


class Registered(ApiError):
    """The device is registered already."""

    status = 400
    exception = 9302
    detail = 6002


class Unauthenticated(ApiError):
    """No token (5001), a dead one (5002), or wrong credentials (5003)."""

    status = 401
    exception = 9401
    detail = 5002


class Forbidden(ApiError):
    """The role or scope is missing (4004), or it is somebody else's company (4003)."""

    status = 403
    exception = 9402
    detail = 4004


class ForeignPicture(ApiError):
    """A picture of an external system can not be changed here."""

    status = 403
    exception = 9305


#: what is not there -> its exception
KINDS = {
    "entity": 9100, "address": 9101, "basicinfo": 9102, "company": 9103, "contact": 9104, "organization": 9105, "person": 9106,
    "deal": 9107, "device": 9108, "group": 9109, "interaction": 9110, "note": 9111, "profile": 9112, "role": 9113, "tag": 9114,
    "task": 9115, "tasklist": 9116, "user": 9117, "variation": 9118, "picture": 9119,
    "session": 9100,
}


class NotFound(ApiError):
    """It is not there, or not yours: one answer for both. Detail 3003 when a body refers to it."""

    status = 404

    def __init__(self, what: str, *, detail: int = 1001, devmsg: str | None = None, details: tuple[Fault, ...] = ()) -> None:
        super().__init__(devmsg or f"{what} not found", detail=detail, details=details)
        self.exception = KINDS[what]


class WrongVerb(ApiError):
    """The path is known, the verb is not."""

    status = 405
    exception = 9300

    def __init__(self, allow: tuple[str, ...]) -> None:
        super().__init__("method not allowed; allowed: " + ", ".join(allow))
        self.allow = allow


class Outdated(ApiError):
    """The entity has changed since the version the client knows."""

    status = 409
    exception = 9304
    detail = 6001


class EmailTaken(ApiError):
    """The e-mail belongs to another user."""

    status = 409
    exception = 9303
    detail = 6002


class Conflict(ApiError):
    """It exists already, or something still hangs on it."""

    status = 409
    exception = 9300
    detail = 6002


class TooLarge(ApiError):
    """The body is larger than the call takes."""

    status = 413
    exception = 9300
    detail = 2004


class WrongMedia(ApiError):
    """The declared media type can not be read as JSON."""

    status = 415
    exception = 9300
    detail = 2003


class UpgradeRequired(ApiError):
    """The call is a WebSocket handshake."""

    status = 426
    exception = 9300


class LoginRefused(ApiError):
    """An external system does not take the user name and password; the caller's own token stays good."""

    status = 401
    exception = 9002
    detail = 7001


class NotAllowed(ApiError):
    """An external system knows the user and does not allow it."""

    status = 403
    exception = 9002
    detail = 7001


class TooMany(ApiError):
    """The caller's fair share is used up; `retry_after` seconds say when to come again."""

    status = 429
    exception = 9300
    detail = 2004


class Unavailable(ApiError):
    """The database is away or a queue is full; nothing was done."""

    status = 503
    exception = 9002

    def __init__(self, devmsg: str = "not available right now", *, detail: int | None = None, retry_after: int = 1) -> None:
        super().__init__(devmsg, detail=detail, retry_after=retry_after)


def refusal(state: str, what: str, detail: str) -> ApiError:
    """The error that a statement raised by the SQL functions `refuse` and `must` (schema/0001)."""
    if state == "IA404":
        return NotFound(what.partition(" ")[0], detail=int(detail or 1001), devmsg=f"{what} not found")
    kind = REFUSALS[state]
    return kind(what, detail=int(detail)) if detail and detail != "1001" else kind(what)


REFUSALS: dict[str, type[ApiError]] = {
    "IA400": Invalid, "IA401": Unauthenticated, "IA402": Refused, "IA403": Forbidden, "IA409": Outdated, "IA410": Conflict,
    "IA301": Assigned, "IA302": Registered, "IA303": EmailTaken, "IA305": ForeignPicture, "IA429": TooMany,
}
