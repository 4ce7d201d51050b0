"""WebSocket frames as bytes (RFC 6455 section 5.2), made once however many sockets they go to."""
from __future__ import annotations

TEXT, PING, PONG = 1, 9, 10


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One whole frame as a server sends it: final, unmasked."""
    size = len(payload)
    if size < 126:
        return bytes((128 | opcode, size)) + payload
    if size < 65536:
        return bytes((128 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((128 | opcode, 127)) + size.to_bytes(8, "big") + payload


def asking(delivery: int) -> bytes:
    """The ping whose pong acknowledges `delivery`, and with it everything sent before."""
    return frame(b"%d" % delivery, PING)
