"""Sockets: memory, connect rate, fan-out and round trips of interactd, beside peers that only keep sockets.

    scripts/bench live [--sockets 1000 10000] [--rounds 3] [--peers FOLDER]

The server has one core; this process and PostgreSQL have the other. Prints medians. README.md says what the columns mean.
"""
from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from attrs import frozen

from benchmarks import ring
from benchmarks.bench_event import world
from benchmarks.event_servers import OURS, compared
from benchmarks.load import Client, Socket
from benchmarks.processes import OTHER_CORE, Command, Server, free_port, seconds
from tests.postgres import execute

AT_ONCE = 32            # handshakes
PINGS = 500
FAN = 20                # messages to all sockets
WARM = 100              # sockets opened and closed before the memory is looked at
SHOWN = ("KB/socket", "connect/s", "connect us", "fan frames/s", "fan us/frame", "ping p50 ms", "ping p99 ms", "ack p50 ms", "ack p99 ms")
USER, PHONE = 20_000, "fan-phone"
FAN_USER = f"""
INSERT INTO users (id, email, company_id) OVERRIDING SYSTEM VALUE VALUES ({USER}, 'fan@example.org', 1);
INSERT INTO trigger_devices (user_id, device_id, salt, key_id, token_hash) VALUES ({USER}, '{PHONE}', '', '', 'fan');
INSERT INTO devices (user_id, device_id, canonical) SELECT {USER}, 'fan-' || g, 'fan-' || g FROM generate_series(1, 10000) g;
INSERT INTO sessions (user_id, token_hash, scope, expires_at)
  VALUES ({USER}, sha256(convert_to('session-fan', 'UTF8')), 'device app', now() + interval '1 day');"""
LISTENING = f"UPDATE devices SET active = substr(device_id, 5)::int <= %s WHERE user_id = {USER}"
ACKS = "SELECT 1000 * extract(epoch FROM acked_at - sent_at)::float8 FROM deliveries WHERE acked_at IS NOT NULL ORDER BY 1"


@frozen
class Kept:
    """A server of sockets: where one subscribes, and the request that sends a message to all of the fan's sockets."""

    command: Command
    alone: Callable[[int], str]
    fan: Callable[[int], str]
    message: Callable[[int], bytes]
    http_port: int | None = None        # where messages are sent, if not where the sockets are
    dsn: str | None = None


class Pinged(Socket):
    """A socket that can ask the server for a pong."""

    ponged: asyncio.Future[float] | None = None

    async def ping(self) -> float:
        """Milliseconds until the pong."""
        begun = time.perf_counter()
        self.ponged = asyncio.get_running_loop().create_future()
        self.transport.write(bytes((0x89, 0x81)) + b"\0\0\0\0x")
        return (await self.ponged - begun) * 1000

    def pong(self) -> None:
        if self.ponged is not None and not self.ponged.done():
            self.ponged.set_result(time.perf_counter())


class Crowd:
    """The clients of one server."""

    def __init__(self, server: Server, kept: Kept) -> None:
        self.server, self.kept = server, kept
        self.sockets: list[Pinged] = []
        self.frames = 0
        self.enough: tuple[int, asyncio.Future[None]] | None = None

    async def open(self, paths: list[str]) -> None:
        """All are open."""
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(path: str) -> None:
            async with turn:
                _, made = await asyncio.get_running_loop().create_connection(lambda: Pinged(path, 0, self.framed), "127.0.0.1", self.server.port)
                await made.open
                self.sockets.append(made)
        await asyncio.gather(*(one(path) for path in paths))

    async def close(self) -> None:
        """All are gone."""
        for socket in self.sockets:
            socket.transport.abort()
        self.sockets.clear()
        await asyncio.sleep(1)

    def framed(self, _: int, payload: bytes) -> None:
        """One more message has come."""
        self.frames += 1
        if self.enough is not None and self.frames == self.enough[0]:
            self.enough[1].set_result(None)

    async def fan_out(self) -> float:
        """Seconds until FAN messages, one after the other, are on all sockets."""
        loop = asyncio.get_running_loop()
        answers: asyncio.Queue[int] = asyncio.Queue()
        _, client = await loop.create_connection(lambda: Client(lambda c, status, body: answers.put_nowait(status)), "127.0.0.1",
                                                 self.kept.http_port or self.server.port)
        begun = time.perf_counter()
        for number in range(FAN):
            self.frames, self.enough = 0, (len(self.sockets), loop.create_future())
            client.send(self.kept.message(number))
            status = await asyncio.wait_for(answers.get(), 60)
            if status >= 300:
                raise SystemExit(f"the message was answered {status}")
            await asyncio.wait_for(self.enough[1], 60)
        client.transport.close()
        return time.perf_counter() - begun


async def figures(server: Server, kept: Kept, many: int) -> dict[str, float]:
    """The figures of one server with so many sockets."""
    crowd = Crowd(server, kept)
    await crowd.open([kept.alone(n) for n in range(WARM)])
    await crowd.close()
    resident, used, begun = server.process.memory_info().rss, seconds(server.process), time.perf_counter()
    await crowd.open([kept.alone(n) for n in range(many)])
    elapsed = time.perf_counter() - begun
    found = {"connect/s": many / elapsed, "connect us": (seconds(server.process) - used) / many * 1e6}
    await asyncio.sleep(1)
    found["KB/socket"] = (server.process.memory_info().rss - resident) / many / 1024
    pings = sorted([await socket.ping() for socket in itertools.islice(itertools.cycle(crowd.sockets), PINGS)])
    found |= {"ping p50 ms": pings[PINGS // 2], "ping p99 ms": pings[PINGS * 99 // 100]}
    await crowd.close()
    await crowd.open([kept.fan(n) for n in range(many)])
    used = seconds(server.process)
    elapsed = await crowd.fan_out()
    found |= {"fan frames/s": FAN * many / elapsed, "fan us/frame": (seconds(server.process) - used) / (FAN * many) * 1e6}
    await asyncio.sleep(1.5)            # the ledger writes in batches
    await crowd.close()
    acks = [row[0] for row in execute(kept.dsn, ACKS)] if kept.dsn else []
    if kept.dsn:
        execute(kept.dsn, "TRUNCATE interactions, event_keys, activities CASCADE")
    return found | {"ack p50 ms": acks[len(acks) // 2] if acks else float("nan"), "ack p99 ms": acks[len(acks) * 99 // 100] if acks else float("nan")}


def ours(dsn: str, state: str) -> Kept:
    """interactd: an event of one user, who has as many devices as there are sockets."""
    execute(dsn, FAN_USER)
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        ring.give(cursor, range(USER, USER + 1))
    connection.close()
    command = compared(dsn, state, None)[OURS].command
    command.environ.update(INTERACTD_LIVE_SOCKETS_PER_USER="20000")
    stamp = itertools.count(int(time.time() * 1000))

    def message(_: int) -> bytes:
        body = b'{"type":"call-incoming","data":"+49 555 000001","time":%d}' % next(stamp)
        return (b"PUT /v2/interactions HTTP/1.1\r\nHost: localhost\r\ntriggerToken: %b\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (ring.trigger_token(USER).encode(), len(body), body))
    return Kept(command, lambda n: f"/v2/socket?deviceId=desk-{n + 1}&authToken=session-{n + 1}",
                lambda n: f"/v2/socket?deviceId=fan-{n + 1}&authToken=session-fan", message, dsn=dsn)


def peers(folder: Path) -> dict[str, Kept]:
    """Servers that keep sockets and publish what is PUT, and do nothing else."""
    push, environ = folder / "push", {"PYTHONPATH": str(folder)}
    node = subprocess.run(["node", "-e", "require('ws')"], cwd=push, capture_output=True).returncode == 0
    found: dict[str, Kept] = {}
    for name, words in {"autobahn, plain": [sys.executable, "ws_autobahn.py", "{port}"],
                        "autobahn, slim": [sys.executable, "ws_autobahn.py", "{port}", "keep=slim", "send=raw", "quiet=1"],
                        "websockets": [sys.executable, "ws_peers.py", "websockets", "{port}"],
                        "fastapi": [sys.executable, "ws_peers.py", "fastapi", "{port}"],
                        **({"node ws": ["node", "ws_node.js", "{port}"]} if node else {})}.items():
        port = free_port()
        place = words.index("{port}") + 1
        apart = name not in ("fastapi", "node ws")
        command = Command([*words[:place], str(port), *words[place:]] if name != "node ws" else words, environ, push)
        found[name] = Kept(command, lambda n: f"/sub/c{n}", lambda n: "/sub/fan", _published, port if apart else None)
    return found


def _published(number: int) -> bytes:
    body = json.dumps({"type": "call-incoming", "data": "+49 555 000001", "interactionId": number, "time": 1700000000000, "seq": number}).encode()
    return b"PUT /pub/fan HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def main() -> None:
    """Runs the rounds and prints the tables."""
    options: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sockets", nargs="*", type=int, default=[1000, 10000])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--peers", type=Path, help="a folder with push/ws_*: peers to be measured beside")
    o = options.parse_args()
    with tempfile.TemporaryDirectory() as state:
        ring.write(Path(state) / "keys")
        kept = {OURS: ours(world(), state)} | (peers(o.peers.resolve()) if o.peers else {})
        os.sched_setaffinity(0, {OTHER_CORE})
        psutil.Process().rlimit(psutil.RLIMIT_NOFILE, (20_000, psutil.Process().rlimit(psutil.RLIMIT_NOFILE)[1]))
        for many in o.sockets:
            found: dict[str, list[dict[str, float]]] = {name: [] for name in kept}
            for _ in range(o.rounds):
                for name, one in kept.items():
                    if one.dsn:
                        execute(one.dsn, LISTENING, many)
                    with Server(one.command) as server:
                        found[name].append(asyncio.run(figures(server, one, many)))
                    print(f"{many} sockets, {name}: done", file=sys.stderr)
            print(f"\n{f'{many} sockets':18}", *(f"{column:>13}" for column in SHOWN))
            for name, rounds in found.items():
                print(f"{name:18}", *(f"{statistics.median(one[column] for one in rounds):13.2f}" for column in SHOWN))


if __name__ == "__main__":
    main()
