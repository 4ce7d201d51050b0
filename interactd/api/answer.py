"""What a call answers: built by functions that know the envelopes of contract section 1."""
from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import orjson
from attrs import field, frozen

JSON = "application/json; charset=utf-8"


@frozen
class Answer:
    """Status, headers and body (whole, or in pieces that are written as the client takes them).

    `taken` is called when the client has all of it for sure; that may be never.
    """

    status: int
    body: bytes | AsyncIterator[bytes]
    headers: Mapping[str, str] = {}
    media: str = JSON
    taken: Callable[[], None] | None = None


@frozen
class Upgrade(Answer):
    """The connection leaves HTTP: `resource` answers the handshake and keeps the transport."""

    resource: Any = field(kw_only=True, repr=False)
    status: int = 101
    body: bytes = b""


def plain(text: str | bytes, status: int = 200) -> Answer:
    """A JSON text as it stands."""
    return Answer(status, text.encode() if isinstance(text, str) else text)


def value(thing: Any, status: int = 200) -> Answer:
    """A Python value as JSON."""
    return Answer(status, orjson.dumps(thing))


def created(entity: str, devmsg: str = "success", status: int = 201) -> Answer:
    """HTTP 201 with the entity's JSON text (pictures: HTTP 200)."""
    return Answer(status, b'{"code":201,"entity":%b,"devmsg":"%b"}' % (entity.encode(), devmsg.encode()))


def updated(entity: str) -> Answer:
    """HTTP 200 with the entity's JSON text."""
    return Answer(200, b'{"code":200,"entity":%b,"devmsg":"success"}' % entity.encode())


def deleted() -> Answer:
    """HTTP 200, `code` 204."""
    return Answer(200, b'{"code":204,"devmsg":"success"}')


def done() -> Answer:
    """HTTP 200, `code` 200, nothing else to say."""
    return Answer(200, b'{"code":200,"devmsg":"success"}')


def has(headers: Mapping[str, str], etag: str) -> bool:
    """Whether the client says that it has what this ETag stands for."""
    known = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
    return etag in known or known == ["*"]
