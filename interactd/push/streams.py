"""The requests on one HTTP/2 connection: streams, windows, answers. Bytes in, bytes out; no time and no transport."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Any, Generic, TypeVar

import h2.events
from attrs import define, field
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings

from interactd.push.compression import Compression, Fields

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
    status: int = 0
    body: bytearray = field(factory=bytearray)


class _Silent:
    """h2's own log, of which it makes a dozen lines a request."""

    def debug(self, *said: object) -> None:
        """Nothing."""

    trace = debug


class _Protocol(H2Connection):
    """h2 counts the open streams anew at each request; `Streams` knows their number, so that here it only clears away what has ended."""

    _asked = 0

    @property
    def open_outbound_streams(self) -> int:
        self._asked += 1
        if self._asked % 64 == 0:
            super().open_outbound_streams
        return 0


class Streams(Generic[C]):
    """Requests, each with what it carries. `ended` hears of each one that ends by itself."""

    def __init__(self, ended: Callable[[Stream[C], End], None]) -> None:
        # What is sent is checked before it comes here, and what comes is read leniently.
        config = H2Configuration(client_side=True, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False,
                                 validate_inbound_headers=False, normalize_inbound_headers=False, logger=_Silent())   # type: ignore[arg-type]
        self.settled = False                    # whether the peer's first SETTINGS have come
        self.ponged = True                      # whether no ping is unanswered
        self.h2: H2Connection = _Protocol(config)
        self._compression = Compression()
        self.h2.encoder = self._compression                 # type: ignore[assignment]
        self.h2.local_settings = Settings(client=True, initial_values={SettingCodes.ENABLE_PUSH: 0})
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
        return min(AT_ONCE, self.h2.remote_settings.max_concurrent_streams)

    def fits(self, size: int) -> bool:
        """Whether the windows have room for a body of so many bytes; a lone one may leave in pieces."""
        return not self._open or bool(self.h2.outbound_flow_control_window >= size)

    def send(self, carried: C, sent_at: float, headers: Fields, body: bytes) -> int:
        """Opens a stream and answers its number. After any exception the connection is of no use."""
        number = self.h2.get_next_available_stream_id()
        self._open[number] = stream = Stream(number, carried, sent_at, body)
        self.h2.send_headers(number, self._compression.block(headers))
        self._go_on(stream)
        return number

    def received(self, frame: bytes) -> None:
        """A frame has come."""
        for event in self.h2.receive_data(frame):
            act = _EVENTS.get(type(event))
            if act is not None:
                act(self, event)

    def cancel(self, stream: Stream[C]) -> None:
        """The peer need not go on with it."""
        self.forget(stream)
        self.h2.reset_stream(stream.number, ErrorCodes.CANCEL)

    def forget(self, stream: Stream[C]) -> None:
        """Whatever comes of it is ignored."""
        self._open.pop(stream.number, None)
        self._partly.pop(stream.number, None)

    def ping(self) -> None:
        """Asks whether the peer is there."""
        self.ponged = False
        self.h2.ping(b"interact")

    def _settings(self, event: h2.events.RemoteSettingsChanged) -> None:
        self.settled = True
        self._go_on_all(event)

    def _go_on_all(self, event: h2.events.Event) -> None:
        for stream in tuple(self._partly.values()):
            self._go_on(stream)

    def _response(self, event: h2.events.ResponseReceived) -> None:
        stream = self._open.get(event.stream_id or 0)
        said = next((value for name, value in event.headers or () if name == b":status"), b"")
        if stream is not None and len(said) == 3 and said.isdigit():
            stream.status = int(said)

    def _data(self, event: h2.events.DataReceived) -> None:
        number = event.stream_id or 0
        self.h2.acknowledge_received_data(event.flow_controlled_length or 0, number)
        stream = self._open.get(number)
        if stream is not None and len(stream.body) < BODY:
            stream.body += event.data or b""

    def _stream_ended(self, event: h2.events.StreamEnded) -> None:
        stream = self._open.get(event.stream_id or 0)
        if stream is not None:
            if stream.rest:
                self.cancel(stream)             # answered before it was out whole
            self.forget(stream)
            self._ended(stream, End.ANSWERED)

    def _stream_reset(self, event: h2.events.StreamReset) -> None:
        stream = self._open.get(event.stream_id or 0)
        if stream is not None:
            self.forget(stream)
            self._ended(stream, End.REFUSED if event.error_code == ErrorCodes.REFUSED_STREAM else End.RESET)

    def _pong(self, event: h2.events.PingAckReceived) -> None:
        self.ponged = True

    def _go_on(self, stream: Stream[C]) -> None:
        """As much of the body as the windows let out."""
        while stream.rest:
            size = min(self.h2.local_flow_control_window(stream.number), self.h2.max_outbound_frame_size, len(stream.rest))
            if size <= 0:
                self._partly[stream.number] = stream
                return
            self.h2.send_data(stream.number, stream.rest[:size], end_stream=size == len(stream.rest))
            stream.rest = stream.rest[size:]
        self._partly.pop(stream.number, None)


_EVENTS: dict[type[h2.events.Event], Callable[[Streams[Any], Any], None]] = {
    h2.events.RemoteSettingsChanged: Streams._settings, h2.events.WindowUpdated: Streams._go_on_all,
    h2.events.ResponseReceived: Streams._response, h2.events.DataReceived: Streams._data,
    h2.events.StreamEnded: Streams._stream_ended, h2.events.StreamReset: Streams._stream_reset, h2.events.PingAckReceived: Streams._pong,
}
