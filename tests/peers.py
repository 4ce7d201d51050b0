"""A scripted HTTP peer on loopback: answers what it is told to, broken answers too, and keeps what it was asked."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attrs import field, frozen
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from tests.certificates import Signed

CUT = object()              # in an answer's pieces: the connection is cut here
HOLD = object()             # … nothing more comes


@frozen
class Heard:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


Answering = Callable[[Heard], object]         # bytes, or a list of pieces


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer; `_` in a header's name stands for `-`."""
    lines = [f"HTTP/1.1 {status} So", *(f"{name.replace('_', '-')}: {said}" for name, said in headers.items()), f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Speaking(Protocol):
    """One connection, many requests."""

    def __init__(self, peer: Peer) -> None:
        self.peer, self.data = peer, b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        while (heard := self._heard()) is not None:
            self.peer.heard.append(heard)
            said = self.peer.answering(heard)
            for piece in said if isinstance(said, list) else [said]:
                if piece is CUT:
                    self.transport.loseConnection()
                elif piece is not HOLD:
                    self.transport.write(piece)

    def _heard(self) -> Heard | None:
        head, end, rest = self.data.partition(b"\r\n\r\n")
        if not end:
            return None
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): said.strip() for name, _, said in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return None
        self.data = rest[length:]
        method, path, _ = first.split(" ")
        return Heard(method, path, headers, rest[:length])


class Peer:
    """The peer; `answering` may be replaced at any time."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.heard: list[Heard] = []
        self.port = 0

    async def listen(self, case: TestCase, certificate: Signed | None = None, interface: str = "127.0.0.1", port: int = 0) -> None:
        """It answers from now on, and until the test ends."""
        how = f"tcp:{port}:interface={interface}"
        if certificate is not None:
            file = Path(case.mktemp())
            file.write_bytes(certificate.both)
            how = f"ssl:{port}:interface={interface}:privateKey={file}:certKey={file}"
        listening = await serverFromString(reactor, how).listen(Factory.forProtocol(lambda: _Speaking(self)))
        case.addCleanup(listening.stopListening)
        self.port = listening.getHost().port
