"""A byte stream cut into HTTP/2 frames (RFC 9113 section 4.1).

h2 closes itself on a GOAWAY and loses what stood before it in the same read; so it is given one frame at a time, and GOAWAY never.
"""
from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
HEAD = 9
MOST = 1 << 14          # bytes in a frame: we never allow more


class Malformed(Exception):
    """The peer does not speak HTTP/2."""


class Cutter:
    """Keeps what is not a whole frame yet."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Each whole frame with its type."""
        data = self._rest + data
        start = 0
        while len(data) - start >= HEAD:
            size = int.from_bytes(data[start:start + 3], "big")
            if size > MOST:
                raise Malformed("a frame is too large")
            if len(data) - start < HEAD + size:
                break
            yield data[start + 3], data[start:start + HEAD + size]
            start += HEAD + size
        self._rest = data[start:]


@frozen
class GoAway:
    """The peer's last word: which streams it has looked at."""

    last_stream_id: int
    code: int
    debug: bytes


def goaway(frame: bytes) -> GoAway:
    """What a GOAWAY frame says."""
    if len(frame) < HEAD + 8 or frame[5:HEAD] != bytes(4):
        raise Malformed("a GOAWAY is malformed")
    return GoAway(int.from_bytes(frame[HEAD:HEAD + 4], "big") & 0x7FFFFFFF, int.from_bytes(frame[HEAD + 4:HEAD + 8], "big"), frame[HEAD + 8:])
