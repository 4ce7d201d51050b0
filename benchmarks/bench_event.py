"""PUT to frame, side by side in one run: interactd and what a person would write instead.

    scripts/bench event [--rounds 5] [--seconds 4] [--loads "256 clients"] [--peers FOLDER]

The servers have one core, PostgreSQL and the load the other. All servers run all the time and are driven in turn, in short
stretches and in another order each round, so that a busy machine hits all alike. Prints medians, processor time per event of each
process tree, and ratios to the FastAPI peer that calls the same function, one event a call. README.md says what they mean.
"""
from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from benchmarks import ring
from benchmarks.bench_intake import SEED
from benchmarks.event_servers import OURS, Compared, compared
from benchmarks.processes import OTHER_CORE, Server, begun, pin, postmaster, seconds
from tests.postgres import execute, fresh_database

SESSIONS = """INSERT INTO sessions (user_id, token_hash, scope, expires_at)
  SELECT g, sha256(convert_to('session-' || g, 'UTF8')), 'device app', now() + interval '1 day' FROM generate_series(1, 10000) g;"""
LOADS = {"32 clients": ["--clients", "32"], "256 clients": ["--clients", "256"], "100/s": ["--clients", "64", "--rate", "100"]}
SHOWN = ("events/s", "put p50", "put p99", "frame p50", "frame p99", "server us", "postgres us", "load us", "could do")
FAULTS = ("lost", "doubled", "strayed", "failed")
Runs = dict[str, dict[str, list[dict[str, float]]]]      # load -> server -> the figures of each round


def measure(server: Server, one: Compared, load: str, stretch: float) -> dict[str, float]:
    """The figures of one stretch; processor times are those between the load's two marks."""
    one.emptied()
    driver = begun(["benchmarks.load", str(server.port), "--seconds", str(stretch), "--speech", one.speech, *LOADS[load]])
    trees = {"server us": server.process, "postgres us": postmaster(one.dsn), "load us": psutil.Process(driver.pid)}
    assert driver.stdout is not None
    marks: list[dict[str, float]] = []
    figures: dict[str, float] = {}
    for line in driver.stdout:
        if line.strip() == "mark":
            marks.append({name: seconds(tree) for name, tree in trees.items()})
        elif line.startswith("{"):
            figures = json.loads(line)
    if driver.wait() or len(marks) != 2:
        raise SystemExit("the load has failed")
    used = {name: (marks[1][name] - marks[0][name]) / max(1.0, figures["events"]) * 1e6 for name in trees}
    return {**figures, **used, "could do": 1e6 / max(used["server us"], used["postgres us"] + used["load us"])}


def world() -> str:
    """A database with 10 000 users, their contacts, devices and tokens, on the other core."""
    dsn = fresh_database()
    random.seed(1)
    execute(dsn, SEED)
    execute(dsn, SESSIONS)
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        ring.give(cursor, range(1, 10_001))
    connection.close()
    execute(dsn, "VACUUM ANALYZE")
    pin(postmaster(dsn), OTHER_CORE)
    return dsn


def report(runs: Runs) -> None:
    """The tables."""
    for load, by_server in runs.items():
        print(f"\n{load:28}", *(f"{column:>11}" for column in SHOWN), *(f"{fault:>8}" for fault in FAULTS))
        for name, figures in by_server.items():
            middle = [statistics.median(f[column] for f in figures) for column in SHOWN]
            print(f"{name:28}", *(f"{m:11.2f}" if m < 100 else f"{m:11.0f}" for m in middle),
                  *(f"{sum(f[fault] for f in figures):8.0f}" for fault in FAULTS))
    print("\ninteractd beside the others, round by round: median (lowest to highest)")
    for load, by_server in runs.items():
        for name in list(by_server)[1:]:
            pairs = list(zip(by_server[OURS], by_server[name]))
            ratios = {column: sorted(a[column] / b[column] for a, b in pairs) for column in ("events/s", "could do", "frame p50")}
            said = (f"{column} {statistics.median(r):.2f} ({r[0]:.2f} to {r[-1]:.2f})" for column, r in ratios.items())
            print(f"{load:12} {name:28}", "   ".join(said))


def driven(servers: dict[str, Compared], rounds: int, stretch: float, loads: list[str]) -> Runs:
    """All servers at once, each driven in its turn."""
    runs: Runs = {load: {name: [] for name in servers} for load in loads}
    with ExitStack() as running:
        up = {name: running.enter_context(Server(one.command)) for name, one in servers.items()}
        pin(postmaster(next(iter(servers.values())).dsn), OTHER_CORE)
        for turn in range(rounds):
            order = list(servers)[::-1] if turn % 2 else list(servers)
            for load in loads:
                for name in order:
                    figures = measure(up[name], servers[name], load, stretch)
                    runs[load][name].append(figures)
                    print(f"round {turn + 1} of {rounds}: {load}, {name}: {figures['events/s']:.0f}/s", file=sys.stderr)
    return runs


def main() -> None:
    """Runs the rounds and prints the tables."""
    options: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=4)
    options.add_argument("--loads", nargs="*", default=list(LOADS), choices=list(LOADS))
    options.add_argument("--peers", type=Path, help="a folder with schema.sql and push/e2e_*: more peers, with the simple statement")
    o = options.parse_args()
    dsn = world()
    with tempfile.TemporaryDirectory() as state:
        ring.write(Path(state) / "keys")
        report(driven(compared(dsn, state, o.peers and o.peers.resolve()), o.rounds, o.seconds, o.loads))


if __name__ == "__main__":
    main()
