"""Header blocks (RFC 7541): those of requests, put together from pieces, and the status in those of answers.

Most of a push's headers are those of the push before.

What is the same for all pushes goes through hpack once, into the tables of both sides, and is a few bytes from then on, which are
kept. What differs from push to push, and who we are, stays out of the tables as never-indexed literals. hpack's Huffman code would
cost more processor time than all the rest of a push.
"""
from __future__ import annotations

from functools import lru_cache

from attrs import frozen
from hpack import Decoder, Encoder, HPACKError

from interactd.push.framing import Code, Malformed

TABLE = 4096            # bytes of the peer's table that are used

Pairs = tuple[tuple[bytes, bytes], ...]

_PATH, _AUTHORIZATION = 4, 23       # in the static table


def literal(name: bytes | int, value: bytes) -> bytes:
    """A header that no table remembers; the name as such, or its number in the static table."""
    head = b"\x10" + _string(name) if isinstance(name, bytes) else _integer(0x10, 15, name)
    return head + _string(value)


def path(value: bytes) -> bytes:
    """The literal of `:path`."""
    return literal(_PATH, value)


def authorization(value: bytes) -> bytes:
    """The literal of `authorization`."""
    return literal(_AUTHORIZATION, value)


def _string(value: bytes) -> bytes:
    return _integer(0, 127, len(value)) + value


def _integer(flags: int, most: int, value: int) -> bytes:
    if value < most:
        return bytes((flags | value,))
    found, value = bytearray((flags | most,)), value - most
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


@frozen
class Fields:
    """The headers of a request: pseudo-headers first, as RFC 9113 wants it. `path` and `own` are literals."""

    pseudo: Pairs
    path: bytes
    common: Pairs
    own: bytes


class Compression:
    """The compression of the requests of one connection."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        self._known: dict[Pairs, bytes] = {}

    def resize(self, size: int) -> None:
        """The peer's table may have another size. (Told the same one twice, hpack forgets to say so.)"""
        size = min(TABLE, size)
        if size != self._encoder.header_table_size:
            self._encoder.header_table_size = size
            self._known.clear()

    def block(self, fields: Fields) -> bytes:
        """The headers of a request; they must be sent, since the tables have changed with them."""
        return self._stable(fields.pseudo) + fields.path + self._stable(fields.common) + fields.own

    def _stable(self, pairs: Pairs) -> bytes:
        found = self._known.get(pairs)
        if found is None:
            found = bytes(self._encoder.encode(pairs))
            if all(byte & 0x80 for byte in found) and len(found) == len(pairs):
                self._known[pairs] = found      # an index for each: nothing was put into the table for it
            else:
                self._known.clear()             # older indexes have moved
        return found


def status(block: bytes) -> int:
    """The status in the headers of an answer by a peer that was allowed no table; 0 if they do not begin with one.

    What follows it is not looked at: pushes need the status alone, and undoing the Huffman code would cost more than all the rest.
    """
    try:
        start = 0
        while start < len(block) and block[start] & 0xE0 == 0x20:       # the table has another size, none
            start = _read_integer(block, start, 31)[1]
        if start == len(block):
            return 0
        name, value = _field(block[start:_end(block, start)])
    except (IndexError, HPACKError):
        raise Malformed("headers can not be read", Code.COMPRESSION_ERROR) from None
    return int(value) if name == b":status" and len(value) == 3 and value.isdigit() else 0


def _end(block: bytes, start: int) -> int:
    """Where the field ends that begins here."""
    first = block[start]
    if first & 0x80:
        return _read_integer(block, start, 127)[1]
    index, end = _read_integer(block, start, 63 if first & 0x40 else 15)
    for _ in range(1 if index else 2):
        size, end = _read_integer(block, end, 127)
        end += size
    return end


def _read_integer(block: bytes, start: int, most: int) -> tuple[int, int]:
    """A number whose first byte has room for `most`, and where it ends."""
    value, shift = block[start] & most, 0
    while value >= most and (shift == 0 or block[start] & 0x80):
        start += 1
        value += (block[start] & 127) << shift
        shift += 7
        if shift > 28:
            raise IndexError("a number without end")
    return value, start + 1


@lru_cache(maxsize=256)
def _field(field: bytes) -> tuple[bytes, bytes]:
    """One field, by no table but the static one."""
    for name, value in Decoder().decode(field, raw=True):
        return bytes(name), bytes(value)
    return b"", b""
