"""A list of any length costs the daemon the memory of a slice, and nobody waits for it."""
from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import orjson
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.load import Client
from interactd.accounts import own_account
from tests.daemons import Place
from tests.postgres import execute, fresh_database

MANY = 200_000
MOST = 10 << 20         # bytes by which the daemon may grow; 30 MB are promised, the list itself has some 25
SEED = f"""
INSERT INTO users (email) VALUES ('me@example.org');
INSERT INTO sessions (user_id, token_hash, scope, expires_at)
  SELECT id, sha256(convert_to('session', 'UTF8')), 'device app', now() + interval '1 day' FROM users;
INSERT INTO contacts (id, user_id, contact_type, first_name, seq) SELECT 1, id, 'person', 'Ada', 0 FROM users;
INSERT INTO interactions (user_id, type, data, time, sort_time, receiver_id, created_seq, seq)
  SELECT u.id, 'call-incoming', '+49 555 ' || g, 1700000000000 + g, 1700000000000 + g, 'line 1', g, g FROM users u, generate_series(1, {MANY}) g;
"""
HEAD = "Host: localhost\r\nauthToken: session\r\n\r\n"
ONE = f"GET /v2/contacts/1 HTTP/1.1\r\n{HEAD}".encode()


def memory(pid: int, what: str) -> int:
    """Bytes that a process has in memory (VmRSS), or had at most (VmHWM)."""
    found = re.search(what + r":\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


class Others:
    """Somebody who asks for a contact, again and again."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.waiter: asyncio.Future[None] | None = None

    async def connect(self, port: int) -> None:
        """The connection is open."""
        _, self.client = await asyncio.get_running_loop().create_connection(lambda: Client(self._answered), "127.0.0.1", port)

    async def ask(self, times: int) -> None:
        """So many answers, one after the other."""
        self.wanted, self.waiter = len(self.answers) + times, asyncio.get_running_loop().create_future()
        self.client.send(ONE)
        await self.waiter

    def _answered(self, client: Client, status: int, body: bytes) -> None:
        self.answers.append(status)
        if len(self.answers) < self.wanted:
            client.send(ONE)
        elif self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class LongList(SynchronousTestCase):
    """A daemon in a process of its own, and a user with 200 000 interactions."""

    def setUp(self) -> None:
        self.dsn = fresh_database()
        execute(self.dsn, SEED)
        place = Place(self, own_account())
        place.environ["INTERACTD_DATABASE_URL"] = self.dsn
        running = place.twistd()
        self.port = int(running.until(r"answers at .*?:(\d+)[;/]")[1])
        self.pid = running.process.pid
        running.drain()

    async def open_list(self, query: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The list, as it begins to come; as in HTTP/1.0 it ends with its connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET /v2/interactions{query} HTTP/1.0\r\n{HEAD}".encode())
        self.assertIn(b" 200 ", (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
        return reader, writer          # a writer that nobody holds is closed

    async def play(self) -> tuple[list[Any], list[int], int]:
        """The list read by a client that stops for a while; what others were answered meanwhile; by how much the daemon grew."""
        others = [Others() for _ in range(16)]          # more than the pool has connections
        for one in others:
            await one.connect(self.port)
            await one.ask(2)
        warm, writer = await self.open_list("?limit=5000")
        self.assertEqual(orjson.loads(await warm.read())["length"], 5000)
        writer.close()
        before = memory(self.pid, "VmRSS")
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")        # the most so far is forgotten
        reader, writer = await self.open_list()
        beginning = await reader.readexactly(1 << 16)
        await asyncio.gather(*(one.ask(5) for one in others))       # nothing of the list is taken meanwhile
        rest = asyncio.ensure_future(reader.read())
        await others[0].ask(100)
        self.assertFalse(rest.done(), "the list was sent before others were answered")
        entries = orjson.loads(beginning + await rest)
        writer.close()
        return entries, [status for one in others for status in one.answers], memory(self.pid, "VmHWM") - before

    def test_whole_in_bounded_memory(self) -> None:
        """It is whole and in order; the daemon hardly grows; others are answered while it is sent, and while nobody takes it."""
        listed, answers, grown = asyncio.run(self.play())
        times = [entry["time"] for entry in listed]
        self.assertEqual(times, list(range(1700000000000 + MANY, 1700000000000, -1)))
        self.assertEqual(set(answers), {200})
        self.assertLess(grown, MOST)
