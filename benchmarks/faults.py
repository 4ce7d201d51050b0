"""Everything breaks, again and again, while phones ring: what reaches the devices that follow their sockets.

    python -m benchmarks.faults [--events 10000] [--users 20] [--devices 3] [--only NAME] [--json]
    python -m benchmarks.faults --nodes 3 --bus redis

A daemon of its own, or several, with a PostgreSQL (and a Redis) of their own; clients in Python (interactd/client) behind a proxy, which
takes each new connection to the next node. Of each kind of fault it prints how often it struck, and what became of the events: each that
was stored must be seen exactly once, in order, by each device of its owner, and by nobody else. Exit status 1 if that is not so.
"""
from __future__ import annotations

import argparse
import json
import random
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from benchmarks.faultyclients import Device, Phone, rest
from benchmarks.faultyworld import World
from interactd.client.conversation import Place
from tests import chaos
from tests.chaos import Chaos, Fault

KINDS = (chaos.CUT, chaos.HALF, chaos.FREEZE, chaos.DELAY, chaos.CRUMBS)
MUST_BE_NONE = ("lost", "doubled", "disordered", "strayed", "resyncs", "ended", "vanished", "repeated")
COLUMNS = ("struck", "events", "connections", "expected", "seen", *MUST_BE_NONE, "seconds")


@attrs.define
class Trial:
    """One kind of fault: what is broken, and how often it was."""

    world: World
    events: int
    pace: float
    proxy: Chaos
    devices: list[Device]
    struck: int = 0
    over: bool = False
    answered: list[int] = attrs.field(factory=list)         # what the phones were told that their calls are stored as

    async def load(self) -> None:
        """All events, from all phones at once."""
        left = iter(range(self.events))
        phones = [Phone(self.world, user, lambda: self.proxy.port) for user in self.world.users]

        async def one(phone: Phone) -> None:
            for _ in left:
                self.answered.append(await phone.ring())
                await rest(random.uniform(0, 2 * self.pace))
            await phone.pool.closeCachedConnections()
        await gatherResults([Deferred.fromCoroutine(one(phone)) for phone in phones])
        self.over = True


async def cuts(trial: Trial) -> None:
    """The proxy does it, at any byte of any connection."""
    while not trial.over:
        await rest(0.2)
    trial.proxy.fault = lambda n: None
    trial.struck = sum(trial.proxy.struck.values())


async def everything_cut(trial: Trial) -> None:
    """All connections at once, several times a second."""
    while not trial.over:
        await rest(random.uniform(0.1, 0.5))
        trial.proxy.cut()
        trial.struck += 1


def daemon(number: signal.Signals) -> Callable[[Trial], Awaitable[None]]:
    """The daemon, or one of the nodes, gets this signal and is started again."""
    async def broken(trial: Trial) -> None:
        while not trial.over:
            await rest(random.uniform(1, 3))
            await deferToThread(trial.world.anyone().restart, number)
            trial.struck += 1
    return broken


async def database(trial: Trial) -> None:
    """PostgreSQL is stopped, at once or by kill -9, and started again."""
    while not trial.over:
        await rest(random.uniform(0.5, 1.5))
        await deferToThread(trial.world.restart_database, random.choice((signal.SIGINT, signal.SIGQUIT)))
        trial.struck += 1


async def readers(trial: Trial) -> None:
    """Some devices take their time; others stop reading for longer than the daemon bears."""
    slow, frozen = trial.devices[::3], trial.devices[1::3]
    for device in slow:
        device.pause = 0.01
    while not trial.over:
        for device in frozen:
            device.freeze(True)
        await rest(2.5)
        for device in frozen:
            device.freeze(False)
        await rest(0.5)
        trial.struck += len(frozen)
    for device in slow:
        device.pause = 0


async def frozen(trial: Trial) -> None:
    """A node does nothing for some seconds, and then goes on as if nothing had been."""
    while not trial.over:
        await rest(random.uniform(0.3, 1))
        node = trial.world.anyone()
        node.freeze(True)
        await rest(random.uniform(1, 8))
        node.freeze(False)
        trial.struck += 1


async def bus_cut(trial: Trial) -> None:
    """All connections that carry hints, several times a second."""
    while not trial.over:
        await rest(random.uniform(0.1, 0.5))
        await deferToThread(trial.world.cut_bus)
        trial.struck += 1


async def redis_killed(trial: Trial) -> None:
    """Redis is killed, and back after a while."""
    redis = trial.world.redis
    assert redis is not None
    while not trial.over:
        await rest(random.uniform(0.3, 1))
        await deferToThread(redis.kill)
        await rest(random.uniform(0, 2))
        await deferToThread(redis.start)
        trial.struck += 1


def anywhere(n: int) -> Fault | None:
    """Any fault at any byte; one connection in four lives longer."""
    end = random.randrange(500, 6000)
    return Fault(random.choice(KINDS), random.randrange(end), random.random() < 0.7, end) if random.random() < 0.75 else None


FAULTS: dict[str, Callable[[Trial], Awaitable[None]]] = {
    "connections, at any byte": cuts, "all connections at once": everything_cut, "daemon, kill -9": daemon(signal.SIGKILL),
    "daemon, restarted": daemon(signal.SIGTERM), "PostgreSQL, restarted": database, "slow and frozen readers": readers}
AMONG_NODES = {"a node frozen": frozen, "the bus cut": bus_cut}
WITH_REDIS = {"Redis, kill -9": redis_killed}
EVERY = FAULTS | AMONG_NODES | WITH_REDIS


async def trial(world: World, name: str, events: int, wanted: argparse.Namespace) -> dict[str, float]:
    """The counts of one kind of fault."""
    started, before = time.monotonic(), world.last_event()
    proxy = Chaos(world.next_port, anywhere if EVERY[name] is cuts else lambda n: None)
    proxy.open()
    places = world.places()
    made = [Device(world, user, world.device(user, n), proxy.port, Place(*places[user])) for user in world.users for n in range(wanted.devices)]
    one = Trial(world, events, wanted.pace, proxy, made)
    await gatherResults([Deferred.fromCoroutine(one.load()), Deferred.fromCoroutine(EVERY[name](one))])  # type: ignore[arg-type]
    stored = world.stored(before)
    patience = time.monotonic() + 60
    while any(len(device.seen) < len(stored[device.user]) for device in made) and time.monotonic() < patience:
        await rest(0.1)
    await rest(0.5)                         # for what should not come
    for device in made:
        device.client.stop()
    await gatherResults([device.running for device in made])
    await proxy.close()
    return {"struck": one.struck, "events": sum(map(len, stored.values())), "connections": sum(device.client.connections for device in made),
            **judged(made, stored), **kept(one.answered, stored), "seconds": round(time.monotonic() - started, 1)}


def judged(devices: list[Device], stored: dict[int, list[tuple[int, int]]]) -> dict[str, int]:
    """What came of what should have come: by each device all events of its user, once, by rising number, and no others."""
    counts = dict.fromkeys(("expected", "seen", "lost", "doubled", "disordered", "strayed", "resyncs", "ended"), 0)
    for device in devices:
        due, seen = set(stored[device.user]), device.seen
        counts["expected"] += len(due)
        counts["seen"] += len(seen)
        counts["lost"] += len(due - set(seen))
        counts["doubled"] += len(seen) - len(set(seen))
        counts["disordered"] += sum(later <= earlier for earlier, later in zip(seen, seen[1:]))
        counts["strayed"] += len(set(seen) - due)
        counts["resyncs"] += device.resyncs
        counts["ended"] += device.ended         # told not to come again
    return counts


def kept(answered: list[int], stored: dict[int, list[tuple[int, int]]]) -> dict[str, int]:
    """Each call that was answered is stored, and stored once, whichever node it was sent to how often."""
    there = {ident for events in stored.values() for _, ident in events}
    return {"vanished": len(set(answered) - there), "repeated": len(there - set(answered)) + len(answered) - len(set(answered))}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=10_000, help="of all kinds of faults together")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--devices", type=int, default=3, help="of each user")
    parser.add_argument("--nodes", type=int, default=1, help="daemons on the one database")
    parser.add_argument("--bus", choices=("postgresql", "redis"), default="postgresql", help="what carries hints between them")
    parser.add_argument("--pace", type=float, default=0, help="seconds between two calls of a phone, so that more breaks in the same events")
    parser.add_argument("--only", action="append", default=[], help="the kinds of faults whose names have this in them; more than once for more")
    parser.add_argument("--json", action="store_true", help="print the counts as one JSON object")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


async def run(wanted: argparse.Namespace) -> bool:
    """All trials; whether nothing went wrong."""
    random.seed(wanted.seed)
    kinds = FAULTS | (AMONG_NODES if wanted.nodes > 1 else {}) | (WITH_REDIS if wanted.bus == "redis" else {})
    names = [name for name in kinds if not wanted.only or any(part in name for part in wanted.only)]
    world = await deferToThread(World, range(1, wanted.users + 1), wanted.devices, wanted.nodes, wanted.bus)
    results: dict[str, dict[str, float]] = {}
    try:
        if not wanted.json:
            print(f"{'fault':26}", *(f"{column:>11}" for column in COLUMNS))
        for name in names:
            counts = results[name] = await trial(world, name, wanted.events // len(names), wanted)
            if not wanted.json:
                print(f"{name:26}", *(f"{counts[column]:>11}" for column in COLUMNS), flush=True)
    finally:
        await deferToThread(world.close)
    if wanted.json:
        print(json.dumps(results))
    return not any(counts[column] for counts in results.values() for column in MUST_BE_NONE)


def main(clock: Any) -> Deferred[None]:
    """The whole run."""
    def judge(good: bool) -> None:
        if not good:
            raise SystemExit(1)
    return Deferred.fromCoroutine(run(arguments())).addCallback(judge)


if __name__ == "__main__":
    react(main)
