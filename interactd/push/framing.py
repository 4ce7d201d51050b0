"""HTTP/2 frames (RFC 9113 sections 4 and 6): a byte stream cut into them, and the bytes of new ones."""
from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from attrs import frozen

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, PRIORITIZED = 0x4, 0x8, 0x20
MOST = 1 << 14          # bytes in a frame: we never allow more
WINDOW = (1 << 16) - 1  # bytes of a window at first
WIDEST = (1 << 31) - 1

_HEAD = Struct(">BHBBL")    # size (24 bits), type, flags, stream
_SETTING = Struct(">HL")
_NUMBER = Struct(">L")


class Code(IntEnum):
    """Why a stream or a connection ends (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Malformed(Exception):
    """The peer does not speak HTTP/2."""

    def __init__(self, why: str, code: Code = Code.PROTOCOL_ERROR) -> None:
        super().__init__(why)
        self.code = code


class Frame(NamedTuple):
    """A frame that has come."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Cutter:
    """Keeps what is not a whole frame yet."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> Iterator[Frame]:
        """Each whole frame."""
        data = self._rest + data if self._rest else data
        start, end = 0, len(data)
        while end - start >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, start)
            size = high << 16 | low
            if size > MOST:
                raise Malformed("a frame is too large", Code.FRAME_SIZE_ERROR)
            if end - start < _HEAD.size + size:
                break
            start += _HEAD.size + size
            yield Frame(kind, flags, stream & WIDEST, data[start - size:start])
        self._rest = data[start:]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """The bytes of a frame."""
    return _HEAD.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values.items()))


def numbered(kind: int, stream: int, number: int) -> bytes:
    """A frame whose payload is a number: WINDOW_UPDATE or RST_STREAM."""
    return frame(kind, 0, stream, _NUMBER.pack(number))


def leaving(code: Code) -> bytes:
    """A GOAWAY frame of a client, whose peer has opened no streams."""
    return frame(GOAWAY, 0, 0, bytes(4) + _NUMBER.pack(code))


def read_settings(said: Frame) -> list[tuple[int, int]]:
    """What a SETTINGS frame says, in its order."""
    if said.stream or len(said.payload) % _SETTING.size or said.flags & ACK and said.payload:
        raise Malformed("SETTINGS are malformed", Code.PROTOCOL_ERROR if said.stream else Code.FRAME_SIZE_ERROR)
    return [(name, value) for name, value in _SETTING.iter_unpack(said.payload)]


def read_number(said: Frame) -> int:
    """The number in a WINDOW_UPDATE or RST_STREAM frame."""
    if len(said.payload) != _NUMBER.size:
        raise Malformed("a number has four bytes", Code.FRAME_SIZE_ERROR)
    return int(_NUMBER.unpack(said.payload)[0])


def unpadded(said: Frame) -> bytes:
    """What a DATA or HEADERS frame holds besides padding and priority."""
    payload, start = said.payload, 0
    if said.flags & PADDED:
        if not payload or payload[0] >= len(payload):
            raise Malformed("there is more padding than frame")
        payload, start = payload[:len(payload) - payload[0]], 1
    if said.kind == HEADERS and said.flags & PRIORITIZED:
        start += 5
    if start > len(payload):
        raise Malformed("a frame is too short", Code.FRAME_SIZE_ERROR)
    return payload[start:] if start else payload


@frozen
class GoAway:
    """The peer's last word: which streams it has looked at."""

    last_stream_id: int
    code: int
    debug: bytes


def goaway(said: Frame) -> GoAway:
    """What a GOAWAY frame says."""
    if len(said.payload) < 8 or said.stream:
        raise Malformed("a GOAWAY is malformed")
    last, code = _NUMBER.unpack_from(said.payload)[0] & WIDEST, _NUMBER.unpack_from(said.payload, 4)[0]
    return GoAway(last, code, said.payload[8:])
