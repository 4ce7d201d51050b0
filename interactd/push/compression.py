"""Header blocks (RFC 7541), put together from pieces: most of a push's headers are those of the push before.

What is the same for all pushes goes through hpack once, into the tables of both sides, and is a few bytes from then on, which are
kept. What differs from push to push, and who we are, stays out of the tables as never-indexed literals. hpack's Huffman code would
cost more processor time than all the rest of a push.
"""
from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen
from hpack import Encoder, HeaderTuple

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
    """The compression of one connection; h2 takes it for its encoder, and gives it what `block` has made."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        self._known: dict[Pairs, bytes] = {}

    @property
    def header_table_size(self) -> int:
        """The size of the peer's table."""
        return int(self._encoder.header_table_size)

    @header_table_size.setter
    def header_table_size(self, size: int) -> None:
        """The peer wants another size. (Told the same one twice, hpack forgets to say so.)"""
        if size != self._encoder.header_table_size:
            self._encoder.header_table_size = size
            self._known.clear()

    def block(self, fields: Fields) -> list[HeaderTuple]:
        """What h2 is given as headers; it must be sent, since the tables have changed with it."""
        return [HeaderTuple(b"", self._stable(fields.pseudo) + fields.path + self._stable(fields.common) + fields.own)]

    def encode(self, headers: Iterable[tuple[bytes, bytes]], huffman: bool = True) -> bytes:
        """The bytes of a block."""
        (_, block), = headers
        return block

    def _stable(self, pairs: Pairs) -> bytes:
        found = self._known.get(pairs)
        if found is None:
            found = bytes(self._encoder.encode(pairs))
            if all(byte & 0x80 for byte in found) and len(found) == len(pairs):
                self._known[pairs] = found      # an index for each: nothing was put into the table for it
            else:
                self._known.clear()             # older indexes have moved
        return found
