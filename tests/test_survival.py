"""What was answered 201 is there, once, and was pushed to whom it belongs: under load, after kill -9, after lost backends."""
from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import ring
from benchmarks.load import Client, Socket
from interactd.accounts import own_account
from tests.daemons import Place, Running
from tests.postgres import execute, fresh_database

USERS = 500
SEED = f"""
INSERT INTO users (email) SELECT 'u' || g || '@example.org' FROM generate_series(1, {USERS}) g ORDER BY g;
INSERT INTO trigger_devices (user_id, device_id, salt, key_id, token_hash)
  SELECT id, 'phone-' || id, '', '', sha256(convert_to('tok-' || id, 'UTF8')) FROM users;
INSERT INTO devices (user_id, device_id, canonical) SELECT id, n || id, n || id FROM users, unnest(ARRAY['phone-', 'desk-']) n;
INSERT INTO sessions (user_id, token_hash, scope, expires_at)
  SELECT id, sha256(convert_to('session-' || id, 'UTF8')), 'device app', now() + interval '1 day' FROM users;
INSERT INTO contacts (user_id, contact_type, first_name, seq) SELECT id, 'person', 'Ada ' || id, 0 FROM users;
INSERT INTO basic_infos (user_id, contact_id, type, value, canon, nsn, tail)
  SELECT user_id, id, 'phone', '+49 555 1234567', '+495551234567', '5551234567', '51234567' FROM contacts;
"""
LOSE_BACKENDS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""


class Crowd:
    """Phones that ring one after the other, and the desks that must hear of it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: Counter[int] = Counter()
        self.stored: dict[int, int] = {}            # interaction -> user
        self.frames: Counter[tuple[int, int]] = Counter()
        self.stamps = itertools.count(int(time.time() * 1000))
        self.changed = asyncio.Event()
        self.resting = False

    async def listen(self, users: range) -> None:
        """The desks' sockets are open."""
        loop = asyncio.get_running_loop()
        for user in users:
            path = f"/v2/socket?deviceId=desk-{user}&authToken=session-{user}"
            _, socket = await loop.create_connection(lambda: Socket(path, user, self._framed), "127.0.0.1", self.port)
            await socket.open

    async def phones(self, users: range) -> list[tuple[Client, int]]:
        """A connection for each user's phone."""
        loop, made = asyncio.get_running_loop(), []
        for user in users:
            _, client = await loop.create_connection(partial(Client, partial(self._answered, user)), "127.0.0.1", self.port)
            made.append((client, user))
        return made

    def ring(self, client: Client, user: int) -> None:
        """One event."""
        body = b'{"type":"call-incoming","data":"0555 1234567","time":%d}' % next(self.stamps)
        client.send(b"PUT /v2/interactions HTTP/1.1\r\nHost: localhost\r\ntriggerToken: %b\r\nContent-Length: %d\r\n\r\n%b"
                    % (ring.trigger_token(user).encode(), len(body), body))

    def _answered(self, user: int, client: Client, status: int, body: bytes) -> None:
        self.answers[status] += 1
        if status == 201:
            self.stored[json.loads(body)["entity"]["id"]] = user
        self.changed.set()
        if not self.resting:
            self.ring(client, user)

    def _framed(self, user: int, payload: bytes) -> None:
        ident = json.loads(payload).get("interactionId")
        if ident is not None:
            self.frames[ident, user] += 1
            self.changed.set()

    async def until(self, done: Callable[[], bool]) -> None:
        """Waits for something to be so."""
        while not done():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 60)


class Survival(SynchronousTestCase):
    """A daemon in a process of its own, on a real database."""

    def setUp(self) -> None:
        self.dsn = fresh_database()
        execute(self.dsn, SEED)
        with psycopg2.connect(self.dsn) as connection, connection.cursor() as cursor:
            ring.give(cursor, range(1, USERS + 1))
        connection.close()
        self.place = Place(self, own_account())
        keys = self.place.folder / "trigger-keys"
        ring.write(keys)
        os.chown(keys, self.place.account.uid, self.place.account.gid)
        self.place.environ["INTERACTD_AUTH_TRIGGER_KEYS_FILE"] = str(keys)
        self.place.environ["INTERACTD_DATABASE_URL"] = self.dsn
        self.place.environ["INTERACTD_LIMITS_EVENTS_PER_SECOND"] = "100000"

    def daemon(self) -> tuple[Running, int]:
        """A running daemon and its port."""
        running = self.place.twistd()
        port = int(running.until(r"answers at .*?:(\d+)[;/]")[1])
        running.drain()
        return running, port

    def in_table(self) -> Counter[int]:
        """How often each interaction stands in the table."""
        return Counter(row[0] for row in execute(self.dsn, "SELECT id FROM interactions"))

    def test_five_hundred_at_once(self) -> None:
        """500 events for 500 users while lists are read: each is stored once and pushed once, to its owner alone."""
        _, port = self.daemon()

        async def play() -> Crowd:
            crowd = Crowd(port)
            await crowd.listen(range(1, USERS + 1))
            phones = await crowd.phones(range(1, USERS + 1))
            crowd.resting = True
            lists = Counter[int]()

            def listed(client: Client, status: int, body: bytes) -> None:
                lists[status] += 1
                client.send(read)
            read = b"GET /v2/contacts HTTP/1.1\r\nHost: localhost\r\nauthToken: session-1\r\n\r\n"
            _, reader = await asyncio.get_running_loop().create_connection(lambda: Client(listed), "127.0.0.1", port)
            reader.send(read)
            for client, user in phones:
                crowd.ring(client, user)
            await crowd.until(lambda: sum(crowd.answers.values()) == USERS and len(crowd.frames) == USERS)
            self.assertEqual(set(lists), {200})
            return crowd
        crowd = asyncio.run(play())
        self.assertEqual(crowd.answers, {201: USERS})
        self.assertEqual(crowd.frames, Counter({(ident, user): 1 for ident, user in crowd.stored.items()}))
        self.assertEqual(self.in_table(), Counter(dict.fromkeys(crowd.stored, 1)))

    def test_killed(self) -> None:
        """kill -9 in the middle of a load: after the restart nothing answered 201 is missing, and what was not pushed is."""
        running, port = self.daemon()

        async def load() -> Crowd:
            crowd = Crowd(port)
            await crowd.listen(range(1, 51))
            for client, user in await crowd.phones(range(1, 101)):
                crowd.ring(client, user)
            await crowd.until(lambda: len(crowd.stored) >= 1000)
            running.process.send_signal(signal.SIGKILL)
            crowd.resting = True
            return crowd
        crowd = asyncio.run(load())
        running.process.wait()
        _, port = self.daemon()

        async def again() -> Crowd:
            after = Crowd(port)
            await after.listen(range(1, 101))
            seen = {ident for ident, _ in crowd.frames}
            await after.until(lambda: set(crowd.stored) <= seen | {ident for ident, _ in after.frames})
            return after
        after = asyncio.run(again())
        self.assertLessEqual(set(crowd.stored), set(self.in_table()))
        self.assertEqual(set(self.in_table().values()), {1})
        for ident, user in crowd.frames.keys() | after.frames.keys():
            self.assertEqual(crowd.stored.get(ident, user), user)

    def test_backends_lost(self) -> None:
        """All backends are killed twice under load: only 201 and 503 are answered, what was 201 is there, and it goes on by itself."""
        _, port = self.daemon()

        async def load() -> Crowd:
            crowd = Crowd(port)
            for client, user in await crowd.phones(range(1, 101)):
                crowd.ring(client, user)
            for goal in (300, 600):
                await crowd.until(lambda: len(crowd.stored) >= goal)
                execute(self.dsn, LOSE_BACKENDS)
            await crowd.until(lambda: len(crowd.stored) >= 1200)
            crowd.resting = True
            total = sum(crowd.answers.values())
            await crowd.until(lambda: sum(crowd.answers.values()) >= total)
            return crowd
        crowd = asyncio.run(load())
        self.assertLessEqual(set(crowd.answers), {201, 503})
        self.assertLessEqual(set(crowd.stored), set(self.in_table()))
        self.assertEqual(set(self.in_table().values()), {1})
