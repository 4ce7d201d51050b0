"""Our side of HTTP/2 against h2's other side: whatever is sent, in whatever pieces, both understand the same."""
from __future__ import annotations

from typing import Any

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from interactd.push.compression import Fields, literal, path, status
from interactd.push.framing import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, MOST, PADDED, PING, PRIORITIZED,
                                    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WIDEST, WINDOW, WINDOW_UPDATE, Code, Cutter,
                                    Malformed, frame, numbered, read_number, settings)
from interactd.push.http2 import ROOM
from interactd.push.streams import BODY, End, Streams

FIELDS = Fields(((b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"apple.example")), path(b"/3/device/00"),
                ((b"apns-topic", b"org.example"),), literal(b"apns-id", b"1"))
ENDS = {End.REFUSED: "refused", End.RESET: "reset", End.ANSWERED: "answered"}


class Pair:
    """Streams of ours and a server of h2's; bytes travel in pieces of `cuts` bytes, over and over."""

    def __init__(self, cuts: list[int], **options: int) -> None:
        self.ended: dict[int, tuple[str, int, bytes]] = {}
        self.got: dict[int, bytes] = {}
        self.whole: set[int] = set()
        self.ours: Streams[int] = Streams(self._ended)
        self.theirs = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.theirs.local_settings = Settings(client=False, initial_values={SettingCodes[name]: value for name, value in options.items()})
        self._cutter = Cutter()
        self._cuts = cuts or [1 << 20]
        self.theirs.initiate_connection()
        self.ours.http2.begin()
        self.settle()

    def _ended(self, stream: Any, end: End) -> None:
        assert stream.number not in self.ended, "it ended twice"
        self.ended[stream.number] = (ENDS[end], stream.status, stream.body)

    def settle(self) -> None:
        """Everything has arrived at both sides."""
        while (data := self.ours.http2.data_to_send()) or self.theirs._data_to_send:
            for event in self.theirs.receive_data(data):
                self._heard(event)
            self.hear(self.theirs.data_to_send())

    def hear(self, data: bytes) -> None:
        """Our side reads, piece by piece."""
        turn = 0
        while data:
            piece, data = data[:self._cuts[turn % len(self._cuts)]], data[self._cuts[turn % len(self._cuts)]:]
            turn += 1
            for said in self._cutter.cut(piece):
                self.ours.http2.received(said)

    def _heard(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            assert dict(event.headers)[b":path"] == b"/3/device/00"
            self.got[event.stream_id] = b""
        elif isinstance(event, h2.events.DataReceived):
            self.got[event.stream_id] += event.data
            try:
                self.theirs.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            except h2.exceptions.StreamClosedError:
                pass
        elif isinstance(event, h2.events.StreamEnded):
            self.whole.add(event.stream_id)


ANSWER = st.tuples(st.just("answer"), st.integers(0, 9), st.sampled_from((200, 400, 410, 503, 999)), st.sampled_from((0, 1, 30, 16_000, 40_000)),
                   st.booleans(), st.integers(0, 255))
STEP = st.one_of(
    st.tuples(st.just("send"), st.sampled_from((1, 200, 5_000, 40_000, 100_000))), ANSWER, ANSWER,
    st.tuples(st.just("reset"), st.integers(0, 9), st.sampled_from((2, 7, 8))),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("settings"), st.sampled_from(("HEADER_TABLE_SIZE", "INITIAL_WINDOW_SIZE", "MAX_FRAME_SIZE", "MAX_CONCURRENT_STREAMS")),
              st.integers(0, 2)),
    st.tuples(st.just("ping")))
VALUES = {"HEADER_TABLE_SIZE": (0, 100, 4096), "INITIAL_WINDOW_SIZE": (10, 20_000, 65_535), "MAX_FRAME_SIZE": (MOST, 20_000, 50_000),
          "MAX_CONCURRENT_STREAMS": (0, 1, 100)}


class Understood(SynchronousTestCase):
    """Random conversations."""

    @given(st.lists(st.integers(1, 3000), max_size=5), st.sampled_from((100, 65_535)), st.lists(STEP, max_size=25))
    def test_the_same_on_both_sides(self, cuts: list[int], window: int, steps: list[Any]) -> None:
        """Bodies arrive whole, answers with status and the beginning of their bodies; each stream ends once."""
        pair, sent, expected = Pair(cuts, INITIAL_WINDOW_SIZE=window), {}, {}
        for what, *how in steps:
            asked = [number for number in pair.got if number not in expected]
            if what == "send" and pair.ours.fits(how[0]) and len(pair.ours) < pair.ours.limit:
                sent[pair.ours.send(0, 0.0, FIELDS, b"x" * how[0])] = how[0]
            elif what == "answer" and asked:
                expected[asked[how[0] % len(asked)]] = self.answer(pair, asked[how[0] % len(asked)], *how[1:])
            elif what == "reset" and asked:
                pair.theirs.reset_stream(asked[how[0] % len(asked)], how[1])
                expected[asked[how[0] % len(asked)]] = ("refused" if how[1] == 7 else "reset", 0, b"")
            elif what == "cancel" and asked:
                number = asked[how[0] % len(asked)]
                pair.ours.cancel(next(stream for stream in pair.ours if stream.number == number))
                expected[number] = None
            elif what == "settings":
                pair.theirs.update_settings({SettingCodes[how[0]]: VALUES[how[0]][how[1]]})
            elif what == "ping" and pair.ours.http2.ponged:
                pair.ours.http2.ping()
            pair.settle()
        for number in sent:
            if number not in expected:
                self.assertEqual((number in pair.whole, len(pair.got[number])), (True, sent[number]))
        self.assertEqual(pair.ended, {number: end for number, end in expected.items() if end is not None})
        self.assertEqual((len(pair.ours), pair.ours.http2.ponged, pair.ours.limit), (len(sent) - len(expected), True, min(
            1000, pair.theirs.local_settings.max_concurrent_streams or 0)))

    def answer(self, pair: Pair, number: int, code: int, size: int, informed: bool, padding: int) -> tuple[str, int, bytes]:
        """An answer of the other side; what ours should make of it."""
        if informed:
            pair.theirs.send_headers(number, [(b":status", b"103"), (b"link", b"x")])
        pair.theirs.send_headers(number, [(b":status", b"%d" % code), (b"apns-id", b"0123-abc"), (b"x-odd", b"\xff\xfe")], end_stream=not size)
        body = bytes(range(256)) * (size // 256 + 1)
        body = body[:size]
        for start in range(0, size, 10_000):
            pair.theirs.send_data(number, body[start:start + 10_000], end_stream=start + 10_000 >= size, pad_length=padding or None)
            pair.settle()
        kept = 0
        while kept < min(BODY, size):
            kept += min(10_000, size - kept)
        return "answered", code, body[:kept]


def answer(stream: int = 1, flags: int = END_HEADERS) -> bytes:
    """The frame of a good answer's headers."""
    return frame(HEADERS, flags, stream, b"\x88")


class Refused(SynchronousTestCase):
    """What a peer may not say, and which error it is told."""

    def setUp(self) -> None:
        """A connection with one request."""
        self.pair = Pair([])
        self.pair.ours.send(0, 0.0, FIELDS, b"x")
        self.pair.settle()

    def test_each(self) -> None:
        """RFC 9113, sections 4 to 6."""
        size, flow, protocol = Code.FRAME_SIZE_ERROR, Code.FLOW_CONTROL_ERROR, Code.PROTOCOL_ERROR
        for name, said, code in (
            ("too large", (MOST + 1).to_bytes(3, "big") + bytes(6), size),
            ("an idle stream's headers", answer(3), protocol), ("its data", frame(DATA, 0, 3, b"x"), protocol),
            ("its reset", numbered(RST_STREAM, 3, 8), protocol), ("its window", numbered(WINDOW_UPDATE, 3, 1), protocol),
            ("a stream of the peer's", answer(2), protocol), ("data of no stream", frame(DATA, 0, 0, b"x"), protocol),
            ("more padding than frame", frame(DATA, PADDED, 1, b"\5xx"), protocol), ("no padding at all", frame(DATA, PADDED, 1), protocol),
            ("priority cut off", frame(HEADERS, PRIORITIZED | END_HEADERS, 1, b"xx"), size),
            ("a promise", frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), protocol),
            ("headers from nowhere", frame(CONTINUATION, END_HEADERS, 1, b"\x88"), protocol),
            ("headers that do not go on", answer(flags=0) + frame(PING, 0, 0, bytes(8)), protocol),
            ("headers that go on elsewhere", answer(flags=0) + frame(CONTINUATION, END_HEADERS, 3, b"\x88"), protocol),
            ("headers without end", answer(flags=0) + frame(CONTINUATION, 0, 1, bytes(MOST)) * 5, Code.ENHANCE_YOUR_CALM),
            ("an index that no table has", frame(HEADERS, END_HEADERS, 1, b"\xc0"), Code.COMPRESSION_ERROR),
            ("a field cut off", frame(HEADERS, END_HEADERS, 1, b"\x48\x83a"), Code.COMPRESSION_ERROR),
            ("a short reset", frame(RST_STREAM, 0, 1, b"x"), size), ("a short window", frame(WINDOW_UPDATE, 0, 1, b"x"), size),
            ("a window that grows by nothing", numbered(WINDOW_UPDATE, 0, 0), protocol),
            ("too wide a window", numbered(WINDOW_UPDATE, 0, WIDEST), flow), ("too wide a stream's", numbered(WINDOW_UPDATE, 1, WIDEST), flow),
            ("too wide by setting", numbered(WINDOW_UPDATE, 1, WIDEST - 65_534) + settings({4: WIDEST}), flow),
            ("too wide a first window", settings({4: WIDEST + 1}), flow), ("too small frames", settings({5: MOST - 1}), protocol),
            ("pushes", settings({2: 1}), protocol), ("half a setting", frame(SETTINGS, 0, 0, bytes(5)), size),
            ("a stream's settings", frame(SETTINGS, 0, 1), protocol), ("an ack that says something", frame(SETTINGS, ACK, 0, bytes(6)), size),
            ("a short ping", frame(PING, 0, 0, b"x"), size), ("a stream's ping", frame(PING, 0, 1, bytes(8)), protocol),
        ):
            self.setUp()
            fault = self.assertRaises(Malformed, self.pair.hear, said)
            self.assertEqual(fault.code, code, name)

    def test_room(self) -> None:
        """What was read is given room again, what comes for streams that are over, too."""
        full, given = frame(DATA, 0, 1, bytes(MOST)), {0: 0, 1: 0}
        for over in (False, True):
            if over:
                self.pair.ours.cancel(next(iter(self.pair.ours)))
            for _ in range(ROOM // MOST):
                self.pair.hear(full)
            for said in Cutter().cut(self.pair.ours.http2.data_to_send()):
                if said.kind == WINDOW_UPDATE:
                    given[said.stream] += read_number(said)
        self.assertGreater(given[0], 2 * ROOM - ROOM // 2 - 2 * MOST)
        self.assertGreater(given[1], ROOM - WINDOW)

    def test_before_the_settings(self) -> None:
        """They come first."""
        fresh: Streams[int] = Streams(lambda stream, end: None)
        for said in Cutter().cut(frame(PING, 0, 0, bytes(8))):
            self.assertRaises(Malformed, fresh.http2.received, said)

    def test_ignored(self) -> None:
        """Unknown frames and settings, priorities, answers to what is over, a ping's answer that was not asked for, trailers, none at all."""
        self.pair.ours.http2.ping()
        for said in (frame(200, 0xFF, 77, b"x"), settings({99: 1}), frame(PRIORITY, 0, 1, bytes(5)), frame(PING, ACK, 0, bytes(8)),
                     frame(HEADERS, END_HEADERS | PRIORITIZED | PADDED, 1, b"\2" + bytes(5) + b"\x88" + bytes(2)),
                     frame(HEADERS, END_HEADERS, 1), frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01x\x01y"), answer(),
                     frame(DATA, 0, 1, b"x"), numbered(RST_STREAM, 1, 8),
                     numbered(WINDOW_UPDATE, 1, 5)):
            self.pair.hear(said)
        self.assertEqual((self.pair.ended, self.pair.ours.http2.ponged), ({1: ("answered", 200, b"")}, False))

    @given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 3), st.binary(max_size=40)), max_size=10))
    def test_noise(self, said: list[tuple[int, int, int, bytes]]) -> None:
        """Whatever frames come, nothing but Malformed is raised."""
        pair = Pair([])
        pair.ours.send(0, 0.0, FIELDS, b"x")
        try:
            for one in said:
                pair.hear(frame(*one))
        except Malformed:
            pass

    @given(st.binary(max_size=60))
    def test_noise_in_headers(self, block: bytes) -> None:
        """They are read, or Malformed."""
        try:
            self.assertIn(status(block), range(1000))
        except Malformed:
            pass
