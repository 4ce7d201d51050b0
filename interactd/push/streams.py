"""The requests on one HTTP/2 connection: what is on its way, how much of it, and what was answered."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Generic, TypeVar

from attrs import define

from interactd.push.compression import Fields
from interactd.push.framing import (DATA, END_HEADERS, END_STREAM, HEADERS, MOST, RST_STREAM, WINDOW, WINDOW_UPDATE, Code, frame,
                                    numbered)
from interactd.push.http2 import INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, Http2, wider

AT_ONCE = 1000          # streams we open, whatever the peer allows
BODY = 1 << 14          # bytes kept of an answer

C = TypeVar("C")


class End(Enum):
    """How a stream ended."""

    ANSWERED = auto()
    REFUSED = auto()        # the peer has not looked at it
    RESET = auto()


@define(eq=False)
class Stream(Generic[C]):
    """A request on its way; `carried` is what its sender knows it by."""

    number: int
    carried: C
    sent_at: float
    rest: bytes             # of the body, for which there was no window
    window: int             # bytes that may go out
    room: int = WINDOW      # bytes that may come in
    status: int = 0
    body: bytes = b""


class Streams(Generic[C]):
    """Requests, each with what it carries. `ended` hears of each one that ends by itself."""

    def __init__(self, ended: Callable[[Stream[C], End], None]) -> None:
        self.http2 = Http2(self)
        self._ended = ended
        self._open: dict[int, Stream[C]] = {}   # in the order in which they were sent
        self._partly: dict[int, Stream[C]] = {}     # those whose body is not out yet

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Stream[C]]:
        return iter(tuple(self._open.values()))

    @property
    def limit(self) -> int:
        """Streams that may be open at the same time."""
        return min(AT_ONCE, self.http2.said[MAX_CONCURRENT_STREAMS])

    def fits(self, size: int) -> bool:
        """Whether the windows have room for a body of so many bytes; a lone one may leave in pieces."""
        return not self._open or self.http2.window >= size

    def send(self, carried: C, sent_at: float, headers: Fields, body: bytes) -> int:
        """Opens a stream and answers its number. After any exception the connection is of no use."""
        number = self.http2.open()
        self._open[number] = stream = Stream(number, carried, sent_at, body, self.http2.said[INITIAL_WINDOW_SIZE])
        block = self.http2.compression.block(headers)
        if len(block) > MOST:
            raise ValueError("the headers of a request do not fit into a frame")
        self.http2.say(frame(HEADERS, END_HEADERS if body else END_HEADERS | END_STREAM, number, block))
        self._go_on(stream)
        return number

    def cancel(self, stream: Stream[C]) -> None:
        """The peer need not go on with it."""
        self.forget(stream)
        self.http2.say(numbered(RST_STREAM, stream.number, Code.CANCEL))

    def forget(self, stream: Stream[C]) -> None:
        """Whatever comes of it is ignored."""
        self._open.pop(stream.number, None)
        self._partly.pop(stream.number, None)

    # What the connection hears of streams.

    def answered(self, number: int, code: int, last: bool) -> None:
        """The status has come, or something before or after it: neither 1xx nor trailers are an answer."""
        stream = self._open.get(number)
        if stream is not None:
            stream.status = code if code >= 200 else stream.status
            if last:
                self._over(stream)

    def came(self, number: int, part: bytes, size: int, last: bool) -> None:
        """A part of an answer's body; the peer is given room for more."""
        stream = self._open.get(number)
        if stream is None:
            return
        if len(stream.body) < BODY:
            stream.body += part
        stream.room -= size
        if last:
            self._over(stream)
        elif stream.room < WINDOW // 2:
            self.http2.say(numbered(WINDOW_UPDATE, number, WINDOW - stream.room))
            stream.room = WINDOW

    def was_reset(self, number: int, code: int) -> None:
        """The peer has given the stream up."""
        stream = self._open.get(number)
        if stream is not None:
            self.forget(stream)
            self._ended(stream, End.REFUSED if code == Code.REFUSED_STREAM else End.RESET)

    def widen(self, more: int, number: int | None = None) -> None:
        """More bytes may go out, or fewer: on all streams, or on one that may be over."""
        for one in self._open if number is None else (number,):
            if one in self._open:
                self._open[one].window = wider(self._open[one].window, more)

    def go_on(self) -> None:
        """What waits goes out, as much as there is room for."""
        for stream in tuple(self._partly.values()):
            self._go_on(stream)

    def _over(self, stream: Stream[C]) -> None:
        if stream.rest:
            self.cancel(stream)                 # answered before it was out whole
        self.forget(stream)
        self._ended(stream, End.ANSWERED)

    def _go_on(self, stream: Stream[C]) -> None:
        http2 = self.http2
        while stream.rest:
            size = min(http2.window, stream.window, http2.said[MAX_FRAME_SIZE], len(stream.rest))
            if size <= 0:
                self._partly[stream.number] = stream
                return
            http2.window -= size
            stream.window -= size
            http2.say(frame(DATA, END_STREAM if size == len(stream.rest) else 0, stream.number, stream.rest[:size]))
            stream.rest = stream.rest[size:]
        self._partly.pop(stream.number, None)
