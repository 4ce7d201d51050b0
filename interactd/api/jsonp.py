"""JSONP: the same answer as a script (contract section 1)."""
from __future__ import annotations

import re
from collections.abc import AsyncIterator

from interactd.api.answer import JSON, Answer
from interactd.errors import Invalid

_NAME = re.compile(r"[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*", re.ASCII)
MEDIA = "application/javascript; charset=utf-8"


def function(said: str) -> bytes:
    """The callback's name; 400 when it is none."""
    if len(said) > 128 or not _NAME.fullmatch(said):
        raise Invalid("callback must be the name of a function", detail=2003)
    return said.encode()


def script(name: bytes, answer: Answer) -> Answer:
    """`/**/name(…);` with status 200: browsers run no script that was sent with another."""
    if answer.media != JSON:
        return answer
    headers = {**answer.headers, "X-Content-Type-Options": "nosniff"}
    if isinstance(answer.body, bytes):
        return Answer(200, b"/**/%b(%b);" % (name, _safe(answer.body)), headers, MEDIA, answer.taken)
    return Answer(200, _pieces(name, answer.body), headers, MEDIA, answer.taken)


async def _pieces(name: bytes, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield b"/**/%b(" % name
    async for piece in body:
        yield _safe(piece)
    yield b");"


def _safe(text: bytes) -> bytes:
    return text.replace("\u2028".encode(), b"\\u2028").replace("\u2029".encode(), b"\\u2029")
