"""What telling other nodes costs the commits told of: nothing told, NOTIFY inside each commit, hints gathered on a connection of their own.

    python -m benchmarks.bench_bus [--dsn DSN] [--rounds 5] [--seconds 3] [--clients 32]

The ways take turns in every round, so that whatever else the machine does hits all alike; a ratio is that of medians. Give the DSN of a
database on a disk, such as `interactctl postgres` prints: the test server's is in memory, where a commit waits for no disk.
"""
from __future__ import annotations

import argparse
import asyncio
import time
from statistics import median
from typing import Any

import asyncpg

from interactd.nodes.bus import GATHER
from interactd.nodes.hints import Gathered
from tests.postgres import fresh_database


class Nobody:
    """Nothing is told."""

    name = "nothing told"

    async def ring(self, connection: Any, user: int) -> None:
        """One commit."""
        await connection.execute(f"INSERT INTO bench_bus (user_id) VALUES ({user})")


class Inside(Nobody):
    """The commit itself tells."""

    name = "NOTIFY in each commit"

    async def ring(self, connection: Any, user: int) -> None:
        """One commit that notifies."""
        await connection.execute(f"BEGIN; INSERT INTO bench_bus (user_id) VALUES ({user}); NOTIFY bench_bus, '{user}'; COMMIT")


class Beside(Nobody):
    """As the bus does it: gathered after the commits, on a connection of its own."""

    name = "hints beside"

    def __init__(self, teller: Any) -> None:
        self.teller = teller
        self.gathered = Gathered()
        self.sending: asyncio.Task[None] | None = None
        self.turn = asyncio.Lock()

    async def ring(self, connection: Any, user: int) -> None:
        """One commit, and a hint that leaves within GATHER."""
        await super().ring(connection, user)
        self.gathered.told.add(user)
        if self.sending is None or self.sending.done():
            self.sending = asyncio.create_task(self.send())

    async def send(self) -> None:
        """What gathered is told."""
        await asyncio.sleep(GATHER)
        gathered, self.gathered = self.gathered, Gathered()
        for hint in gathered.hints(1):
            async with self.turn:
                await self.teller.execute("SELECT pg_notify('bench_bus', $1)", hint.text())


async def rate(way: Nobody, connections: list[Any], seconds: float) -> float:
    """Commits a second."""
    end = time.monotonic() + seconds
    done = 0

    async def client(connection: Any, number: int) -> None:
        nonlocal done
        while time.monotonic() < end:
            await way.ring(connection, done * 100 + number)
            done += 1
    await asyncio.gather(*(client(connection, number) for number, connection in enumerate(connections)))
    return done / seconds


async def measure(options: argparse.Namespace) -> None:
    """All ways, in turns."""
    connections = [await asyncpg.connect(options.dsn) for _ in range(options.clients)]
    teller, listener = await asyncpg.connect(options.dsn), await asyncpg.connect(options.dsn)
    await listener.add_listener("bench_bus", lambda *heard: None)
    await teller.execute("CREATE TABLE bench_bus (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint NOT NULL)")
    ways = [Nobody(), Inside(), Beside(teller)]
    rates: dict[str, list[float]] = {way.name: [] for way in ways}
    try:
        for _ in range(options.rounds):
            for way in ways:
                rates[way.name].append(await rate(way, connections, options.seconds))
    finally:
        await teller.execute("DROP TABLE bench_bus")
        for connection in (*connections, teller, listener):
            await connection.close()
    base = median(rates[Nobody.name])
    for name, found in rates.items():
        print(f"{name:24} {median(found):8.0f} commits/s {median(found) / base:6.2f}   ({min(found):.0f} to {max(found):.0f})")


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--dsn", default="")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3)
    options.add_argument("--clients", type=int, default=32)
    chosen = options.parse_args()
    chosen.dsn = chosen.dsn or fresh_database()
    asyncio.run(measure(chosen))


if __name__ == "__main__":
    main()
