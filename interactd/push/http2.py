"""One HTTP/2 connection of a client (RFC 9113): what its frames mean, its settings and windows. Bytes in, bytes out; no time and no transport.

Only what a client that pushes needs: requests whose headers fit into a frame, and of the headers of an answer the status.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field

from interactd.push.compression import Compression, status
from interactd.push.framing import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, MOST, PING, PREFACE, PUSH_PROMISE,
                                    RST_STREAM, SETTINGS, WIDEST, WINDOW, WINDOW_UPDATE, Code, Frame, Malformed, frame, leaving,
                                    numbered, read_number, read_settings, settings, unpadded)

BLOCK = 1 << 16         # bytes of headers in an answer
ROOM = (1 << 20) + WINDOW   # bytes of answers that may be on their way
PINGED = b"interact"

TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
_ANY = range(1 << 32)
_ALLOWED = {ENABLE_PUSH: range(1), INITIAL_WINDOW_SIZE: range(WIDEST + 1), MAX_FRAME_SIZE: range(MOST, 1 << 24)}


class Requests(Protocol):
    """Whom a connection tells what it hears of its streams, which may be over."""

    def answered(self, number: int, code: int, last: bool) -> None:
        """Headers with this status; 0 if they have none."""

    def came(self, number: int, part: bytes, size: int, last: bool) -> None:
        """A part of a body, in a frame of so many bytes."""

    def was_reset(self, number: int, code: int) -> None:
        """The peer has given the stream up."""

    def widen(self, more: int, number: int | None = None) -> None:
        """More bytes may go out on a stream, or on all of them."""

    def go_on(self) -> None:
        """There may be room for what waits."""


@define
class _Block:
    """Headers that go on in the next frame."""

    first: Frame
    read: bytearray = field(factory=bytearray)


class Http2:
    """A connection's frames. Malformed is raised for what the peer may not say."""

    def __init__(self, requests: Requests) -> None:
        self.settled = False                    # whether the peer's first SETTINGS have come
        self.ponged = True                      # whether no ping is unanswered
        self.window = WINDOW                    # bytes that may go out on all streams together
        self.said = {MAX_CONCURRENT_STREAMS: WIDEST, INITIAL_WINDOW_SIZE: WINDOW, MAX_FRAME_SIZE: MOST}    # the peer's settings
        self.compression = Compression()
        self._requests = requests
        self._next = 1                          # the number of the next stream
        self._room = ROOM
        self._out: list[bytes] = []
        self._block: _Block | None = None
        self._acts: dict[int, Callable[[Frame], None]] = {
            DATA: self._data, HEADERS: self._headers, CONTINUATION: self._continuation, RST_STREAM: self._reset, SETTINGS: self._settings,
            WINDOW_UPDATE: self._window_update, PING: self._ping, PUSH_PROMISE: _promised,
        }

    def begin(self) -> None:
        """The client's first words. The peer's compression keeps no table for us, so that its headers can be read, or not, one by one."""
        self._out += PREFACE, settings({TABLE_SIZE: 0, ENABLE_PUSH: 0}), numbered(WINDOW_UPDATE, 0, ROOM - WINDOW)

    def leave(self, code: Code = Code.NO_ERROR) -> None:
        """The client's last word."""
        self._out.append(leaving(code))

    def open(self) -> int:
        """The number of a new stream."""
        self._next += 2
        return self._next - 2

    def say(self, said: bytes) -> None:
        """A frame of a stream."""
        self._out.append(said)

    def ping(self) -> None:
        """Asks whether the peer is there."""
        self.ponged = False
        self._out.append(frame(PING, 0, 0, PINGED))

    def data_to_send(self) -> bytes:
        """All bytes that have not gone out yet."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def received(self, said: Frame) -> None:
        """A frame has come, of any kind but GOAWAY."""
        if self._block is not None and (said.kind, said.stream) != (CONTINUATION, self._block.first.stream):
            raise Malformed("headers do not go on")
        if not self.settled and said.kind != SETTINGS:
            raise Malformed("no SETTINGS at the beginning")
        opened = said.stream % 2 == 1 and said.stream < self._next or said.stream == 0 and said.kind == WINDOW_UPDATE
        if said.kind in _OF_STREAMS and not opened:
            raise Malformed("a stream was never opened")
        act = self._acts.get(said.kind)
        if act is not None:
            act(said)

    def _headers(self, said: Frame) -> None:
        self._block = _Block(said)
        self._go_on(said, unpadded(said))

    def _continuation(self, said: Frame) -> None:
        self._go_on(said, said.payload)

    def _go_on(self, said: Frame, part: bytes) -> None:
        block = self._block
        if block is None:
            raise Malformed("headers go on that have not begun")
        block.read += part
        if len(block.read) > BLOCK:
            raise Malformed("headers without end", Code.ENHANCE_YOUR_CALM)
        if said.flags & END_HEADERS:
            self._block = None
            self._requests.answered(said.stream, status(bytes(block.read)), bool(block.first.flags & END_STREAM))

    def _data(self, said: Frame) -> None:
        self._room -= len(said.payload)
        if self._room < ROOM // 2:              # so there is always room for a frame more
            self._out.append(numbered(WINDOW_UPDATE, 0, ROOM - self._room))
            self._room = ROOM
        self._requests.came(said.stream, unpadded(said), len(said.payload), bool(said.flags & END_STREAM))

    def _reset(self, said: Frame) -> None:
        self._requests.was_reset(said.stream, read_number(said))

    def _settings(self, said: Frame) -> None:
        values = read_settings(said)
        if said.flags & ACK:
            return
        for name, value in values:
            if value not in _ALLOWED.get(name, _ANY):
                raise Malformed("a setting is out of bounds", Code.FLOW_CONTROL_ERROR if name == INITIAL_WINDOW_SIZE else Code.PROTOCOL_ERROR)
            if name == INITIAL_WINDOW_SIZE:
                self._requests.widen(value - self.said[name])
            if name == TABLE_SIZE:
                self.compression.resize(value)
            if name in self.said:
                self.said[name] = value
        self.settled = True
        self._out.append(frame(SETTINGS, ACK, 0))
        self._requests.go_on()

    def _window_update(self, said: Frame) -> None:
        more = read_number(said) & WIDEST
        if more == 0:
            raise Malformed("a window grows by nothing")
        if said.stream == 0:
            self.window = wider(self.window, more)
        else:
            self._requests.widen(more, said.stream)
        self._requests.go_on()

    def _ping(self, said: Frame) -> None:
        if said.stream or len(said.payload) != 8:
            raise Malformed("a PING is malformed", Code.PROTOCOL_ERROR if said.stream else Code.FRAME_SIZE_ERROR)
        if not said.flags & ACK:
            self._out.append(frame(PING, ACK, 0, said.payload))
        elif said.payload == PINGED:
            self.ponged = True


_OF_STREAMS = frozenset((DATA, HEADERS, CONTINUATION, RST_STREAM, WINDOW_UPDATE))


def _promised(said: Frame) -> None:
    raise Malformed("nothing may be promised")


def wider(window: int, more: int) -> int:
    """A window that has grown, or shrunk."""
    if window + more > WIDEST:
        raise Malformed("a window is too wide", Code.FLOW_CONTROL_ERROR)
    return window + more
