"""The load of bench_api: many connections that each send the next request when they were answered.

    python -m benchmarks.api_load PORT LOAD --clients 16 --seconds 5

Prints `mark` where the measured time begins and where it ends, then one JSON line: requests, requests/s, milliseconds to the answer, how
many answers were not the one wanted, and one answer as a sample.
"""
from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.load import Client, at

USERS = 64              # whose calls they are
CONTACTS = 100          # of each of them, in a row: user 1 has the contacts FIRST to FIRST + 99
FIRST = 1_000_001
LISTED = "/v2/interactions"
SYNCED = (int(time.time()) // 86400 - 1) * 86400000          # ms: when the ones who sync did so before
CURSOR = f"b0.1.{SYNCED}"


def request(verb: str, path: str, user: int, body: bytes = b"") -> bytes:
    """One request on a connection that stays open."""
    return (f"{verb} {path} HTTP/1.1\r\nHost: localhost\r\nauthToken: session-{user}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def contact_of(n: int) -> tuple[int, int]:
    """The n-th user and contact: another one each time."""
    user = n % USERS + 1
    return user, FIRST + (user - 1) * CONTACTS + n // USERS % CONTACTS


def one_contact(n: int) -> bytes:
    """GET /v2/contacts/:id"""
    user, contact = contact_of(n)
    return request("GET", f"/v2/contacts/{contact}", user)


def contacts(n: int) -> bytes:
    """GET /v2/contacts, 50 of them in base projection"""
    return request("GET", f"/v2/contacts?limit=50&offset={n // USERS % 2 * 50}", n % USERS + 1)


def note(n: int) -> bytes:
    """PUT /v2/notes"""
    user, contact = contact_of(n)
    return request("PUT", "/v2/notes", user, b'{"message": "Call back number %d", "relatedTo": {"id": %d, "type": "contact"}}' % (n, contact))


def sync(n: int) -> bytes:
    """GET /v2/sync of somebody else, who has ten changes"""
    user = n % USERS + USERS + 1
    return request("GET", f"/v2/sync?deviceId=desk-{user}&cursor={CURSOR}", user)


LOADS: dict[str, Callable[[int], bytes]] = {"one contact": one_contact, "50 contacts": contacts, "new note": note, "sync": sync}


class Load:
    """One run."""

    def __init__(self, port: int, make: Callable[[int], bytes]) -> None:
        self.port, self.make = port, make
        self.number: Iterator[int] = itertools.count()
        self.took: list[float] = []
        self.failed = 0
        self.looping = True

    def send(self, client: Client) -> None:
        """The next request."""
        client.send(self.make(next(self.number)))

    def answered(self, client: Client, status: int, body: bytes) -> None:
        """Its time counts; the next one leaves."""
        self.took.append(time.perf_counter() - client.sent)
        if status not in (200, 201):
            self.failed += 1
            print(status, body[:200]) if self.failed == 1 else None
        if self.looping:
            self.send(client)

    async def sample(self) -> Any:
        """The answer to the first request."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bytes] = loop.create_future()
        _, client = await loop.create_connection(lambda: Client(lambda c, s, body: waiter.set_result(body)), "127.0.0.1", self.port)
        client.send(self.make(0))
        return json.loads(await waiter)

    async def run(self, clients: int, seconds: float, warm: float, beside: bool) -> dict[str, Any]:
        """The figures of one run."""
        sample = await self.sample()
        lists = asyncio.ensure_future(self._listing()) if beside else None
        for _ in range(clients):
            _, client = await asyncio.get_running_loop().create_connection(lambda: Client(self.answered), "127.0.0.1", self.port)
            self.send(client)
        await asyncio.sleep(warm)
        self.took.clear()
        print("mark", flush=True)
        started = time.perf_counter()
        await asyncio.sleep(seconds)
        elapsed, took = time.perf_counter() - started, sorted(self.took)
        print("mark", flush=True)
        self.looping = False
        if lists:
            lists.cancel()
        return {"requests": len(took), "requests/s": len(took) / elapsed, "p50": at(took, .5), "p99": at(took, .99), "max": at(took, 1),
                "failed": self.failed, "sample": sample}

    async def _listing(self) -> None:
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(request("GET", LISTED, 1).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
            while await reader.read(1 << 20):
                pass
            writer.close()


def main() -> None:
    """One run, printed as a JSON line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("port", type=int)
    options.add_argument("load", choices=list(LOADS))
    options.add_argument("--clients", type=int, default=16)
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--warm", type=float, default=1)
    options.add_argument("--beside", action="store_true", help="the first user's long list is sent all the time")
    o = options.parse_args()
    print(json.dumps(asyncio.run(Load(o.port, LOADS[o.load]).run(o.clients, o.seconds, o.warm, o.beside))))


if __name__ == "__main__":
    main()
