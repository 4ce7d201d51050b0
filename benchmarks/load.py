"""The load: PUTs events, holds the owners' sockets, checks that each event comes back as exactly one frame to its owner.

    python -m benchmarks.load PORT --clients 256 --seconds 5          closed loop: each client sends when it was answered
    python -m benchmarks.load PORT --clients 32 --rate 100            open loop: latency from PUT to frame at a fixed rate

It speaks the API of interactd, so any server that answers `PUT /v2/interactions` and pushes to `/v2/socket` will do; `--speech bench`
is for servers that answer and push the bare interaction, to `/ws?user=N`.
Prints `mark` where the measured time begins and where it ends, then one JSON line: events, events/s, milliseconds from PUT to answer
and to frame, and how many were lost, doubled or strayed.
"""
from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import os
import struct
import time
from collections import deque
from typing import Any, Callable

from attrs import frozen

from benchmarks.ring import trigger_token


class Client(asyncio.Protocol):
    """A keep-alive connection that sends one request at a time."""

    def __init__(self, answered: Callable[["Client", int, bytes], None]) -> None:
        self.answered = answered
        self.buffer = b""
        self.sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, request: bytes) -> None:
        self.sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, rest = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        _, known, said = head.lower().partition(b"content-length:")
        if known:
            length = int(said.partition(b"\r\n")[0])
            if len(rest) >= length:
                self.buffer = rest[length:]
                self.answered(self, int(head[9:12]), rest[:length])
        elif rest.endswith(b"0\r\n\r\n"):        # in chunks: one, as answers are short
            self.buffer = b""
            self.answered(self, int(head[9:12]), rest.partition(b"\r\n")[2].partition(b"\r\n")[0])


class Socket(asyncio.Protocol):
    """A WebSocket of one user's device; answers pings, hands over text frames."""

    def __init__(self, path: str, user: int, framed: Callable[[int, bytes], None]) -> None:
        self.path, self.user, self.framed = path, user, framed
        self.buffer = b""
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.open.done():
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.open.set_exception(RuntimeError(self.buffer.decode()))
                return
            self.open.set_result(None)
            self.buffer = rest
        while self._frame():
            pass

    def _frame(self) -> bool:
        if len(self.buffer) < 2:
            return False
        opcode, length, at = self.buffer[0] & 15, self.buffer[1] & 127, 2
        if length == 126:
            if len(self.buffer) < 4:
                return False
            length, at = struct.unpack(">H", self.buffer[2:4])[0], 4
        if len(self.buffer) < at + length:
            return False
        payload, self.buffer = self.buffer[at:at + length], self.buffer[at + length:]
        if opcode == 9:
            self.transport.write(bytes((0x8A, 0x80 | length)) + b"\0\0\0\0" + payload)
        elif opcode == 10:
            self.pong()
        elif opcode == 1:
            self.framed(self.user, payload)
        return True

    def pong(self) -> None:
        """The server has answered a ping."""


@frozen
class Speech:
    """How a server is spoken to: paths and texts with `user`, `contact`, `stamp` to fill in."""

    socket: str
    token: Callable[[int], str]
    data: str
    ident: str          # of the interaction, in a frame


SPEECHES = {
    "interactd": Speech("/v2/socket?deviceId=desk-{user}&authToken=session-{user}", trigger_token, "+49 555 {contact:06}", "interactionId"),
    "bench": Speech("/ws?user={user}", "tok-{:06}".format, "555-{contact:06}", "id"),
}


class Load:
    """One run."""

    def __init__(self, port: int, users: int, speech: Speech) -> None:
        self.port, self.users, self.speech = port, users, speech
        self.number = itertools.count()
        self.stamp = int(time.time() * 1000)
        self.put_at: dict[int, tuple[int, float]] = {}      # interaction -> user, when its PUT left
        self.frame_at: dict[int, tuple[int, float]] = {}    # frames that overtook their answer
        self.owner: dict[Client, int] = {}
        self.puts: list[float] = []
        self.frames: list[float] = []
        self.counts = {"stored": 0, "failed": 0, "doubled": 0, "strayed": 0}
        self.free: deque[Client] = deque()
        self.looping = False

    async def open(self, clients: int) -> None:
        """All connections and sockets."""
        loop = asyncio.get_running_loop()
        for user in range(1, self.users + 1):
            path = self.speech.socket.format(user=user)
            _, socket = await loop.create_connection(lambda: Socket(path, user, self.framed), "127.0.0.1", self.port)
            await socket.open
        for _ in range(clients):
            _, client = await loop.create_connection(lambda: Client(self.answered), "127.0.0.1", self.port)
            self.free.append(client)

    def fire(self) -> None:
        """One event of the next user, from a contact of that user."""
        number = next(self.number)
        user, client = number % self.users + 1, self.free.popleft()
        contact = (user - 1 or 10000) + 10000 * (number // self.users % 9)
        now = max(int(time.time() * 1000), self.stamp)
        self.stamp = now if number % self.users else now + 1      # no user has two events at the same millisecond
        data = self.speech.data.format(contact=contact)
        body = f'{{"type":"call-incoming","data":"{data}","receiverId":"line 1","time":{self.stamp}}}'.encode()
        self.owner[client] = user
        client.send(b"PUT /v2/interactions HTTP/1.1\r\nHost: localhost\r\ntriggerToken: %b\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (self.speech.token(user).encode(), len(body), body))

    def answered(self, client: Client, status: int, body: bytes) -> None:
        """The PUT is answered: its latency counts, and the client is free."""
        self.puts.append(time.perf_counter() - client.sent)
        if status == 201:
            self.counts["stored"] += 1
            said = json.loads(body)
            ident = said.get("entity", said)["id"]
            self._pair(ident, self.owner[client], client.sent, self.frame_at.pop(ident, None))
        else:
            self.counts["failed"] += 1
            self.counts.setdefault("first failure", 0)
            print(status, body[:200]) if self.counts["failed"] == 1 else None
        self.free.append(client)
        if self.looping:
            self.fire()

    def _pair(self, ident: int, user: int, sent: float, frame: tuple[int, float] | None) -> None:
        if frame is None:
            self.put_at[ident] = (user, sent)
        else:
            self.frames.append(frame[1] - sent)
            self.counts["strayed"] += frame[0] != user

    def framed(self, user: int, payload: bytes) -> None:
        """A frame has come: it belongs to one PUT of the same user."""
        now = time.perf_counter()
        ident = json.loads(payload).get(self.speech.ident)
        if ident is None:
            return
        put = self.put_at.pop(ident, None)
        if put is not None:
            self.frames.append(now - put[1])
            self.counts["strayed"] += put[0] != user
        elif ident in self.frame_at:
            self.counts["doubled"] += 1
        else:
            self.frame_at[ident] = (user, now)

    async def run(self, clients: int, seconds: float, rate: float, warm: float) -> dict[str, float]:
        """The figures of one run."""
        await self.open(clients)
        driver = asyncio.ensure_future(self._paced(rate)) if rate else None
        if not rate:
            self.looping = True
            for _ in range(clients):
                self.fire()
        await asyncio.sleep(warm)
        print("mark", flush=True)
        self.puts.clear()
        self.frames.clear()
        started = time.perf_counter()
        await asyncio.sleep(seconds)
        elapsed = time.perf_counter() - started
        print("mark", flush=True)
        puts, frames = sorted(self.puts), sorted(self.frames)
        self.looping = False
        if driver:
            driver.cancel()
        for _ in range(100):
            if not self.put_at and len(self.free) == clients:
                break
            await asyncio.sleep(0.05)
        return {"events": len(puts), "events/s": len(puts) / elapsed,
                "put p50": at(puts, .5), "put p99": at(puts, .99), "frame p50": at(frames, .5),
                "frame p99": at(frames, .99), "lost": len(self.put_at), **self.counts}

    async def _paced(self, rate: float) -> None:
        start = time.perf_counter()
        for tick in itertools.count():
            await asyncio.sleep(max(0.0, start + tick / rate - time.perf_counter()))
            if self.free:
                self.fire()


def at(ordered: list[float], share: float) -> float:
    """Milliseconds below which this share of the times lies."""
    return round(ordered[int(share * (len(ordered) - 1))] * 1000, 3) if ordered else float("nan")


def main() -> None:
    """One run, printed as a JSON line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("port", type=int)
    options.add_argument("--users", type=int, default=256)
    options.add_argument("--clients", type=int, default=256)
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--warm", type=float, default=1)
    options.add_argument("--speech", default="interactd", choices=list(SPEECHES))
    options.add_argument("--rate", type=float, default=0)
    o = options.parse_args()
    print(json.dumps(asyncio.run(Load(o.port, o.users, SPEECHES[o.speech]).run(o.clients, o.seconds, o.rate, o.warm))))


if __name__ == "__main__":
    main()
