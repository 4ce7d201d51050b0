"""Ordinary calls, side by side in one run: interactd and the same calls written the usual way.

    scripts/bench api [--rounds 3] [--seconds 5]

The servers have one core, PostgreSQL and the load the other. Both run all the time and are driven in turn, so that a busy machine hits
both alike. Prints medians, processor time per request of each process tree, and ratios to the peer. README.md says what they mean.
"""
from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from benchmarks import event_servers, ring
from benchmarks.api_load import CONTACTS, FIRST, LOADS, SYNCED, USERS
from benchmarks.bench_event import world
from benchmarks.bench_intake import VERSION
from benchmarks.event_servers import OURS
from benchmarks.processes import OTHER_CORE, Command, Server, begun, pin, postmaster, seconds
from tests.postgres import execute

PEER = "fastapi"
BESIDE = "one contact, beside a long list"
ALONE = (BESIDE,)                 # what the peer does not have
LONG = 200_000
SHOWN = ("requests/s", "p50", "p99", "max", "server us", "postgres us", "load us", "could do")
Runs = dict[str, dict[str, list[dict[str, Any]]]]          # load -> server -> the figures of each round
SEED = f"""
INSERT INTO contacts (id, user_id, contact_type, first_name, last_name, profession, seq) OVERRIDING SYSTEM VALUE
  SELECT {FIRST} + (u - 1) * {CONTACTS} + g, u, 'person', 'Ada ' || g, 'Lovelace', 'mathematician', 0
  FROM generate_series(1, {USERS}) u, generate_series(0, {CONTACTS - 1}) g;
INSERT INTO basic_infos (user_id, contact_id, type, subtype, value, canon, nsn, tail, canon_version)
  SELECT user_id, id, t, 'work', t || id, t || id, t || id, right(t || id, 8), {VERSION}
  FROM contacts, unnest(ARRAY['mobile', 'phone', 'email']) t WHERE id >= {FIRST};
INSERT INTO addresses (user_id, contact_id, address_line1, zip_code, city, country, subtype)
  SELECT user_id, id, '12 St James''s Square', 'SW1Y 4LB', 'London', 'England', 'home' FROM contacts WHERE id >= {FIRST};
INSERT INTO contact_tags (user_id, contact_id, tag) SELECT user_id, id, t FROM contacts, unnest(ARRAY['friend', 'customer']) t WHERE id >= {FIRST};
INSERT INTO contact_profiles (user_id, contact_id, network, connected, username)
  SELECT user_id, id, t, true, 'ada' || id FROM contacts, unnest(ARRAY['twitter', 'skype']) t WHERE id >= {FIRST};
INSERT INTO deals (user_id, name, contact_id, seq) SELECT user_id, 'deal ' || id, id, 0 FROM contacts WHERE id >= {FIRST};
INSERT INTO interactions (user_id, type, data, time, sort_time, person_id, created_seq, seq)
  SELECT user_id, 'call-incoming', '+49555', 1700000000000 + g, 1700000000000 + g, id, 0, 0
  FROM contacts, generate_series(1, 5) g WHERE id >= {FIRST};
INSERT INTO interactions (user_id, type, data, time, sort_time, created_seq, seq)
  SELECT 1, 'call-incoming', '+49555' || g, 1700000000000 + g, 1700000000000 + g, 0, 0 FROM generate_series(1, {LONG}) g;
UPDATE counters SET seq = 2, epoch = 'b0' WHERE user_id BETWEEN {USERS} + 1 AND 2 * {USERS};
UPDATE devices SET synced_epoch = 'b0', synced_seq = 1, synced_at = {SYNCED} WHERE user_id BETWEEN {USERS} + 1 AND 2 * {USERS};
UPDATE contacts SET seq = 2 WHERE user_id BETWEEN {USERS} + 1 AND 2 * {USERS};
"""


def commands(dsn: str, state: str) -> dict[str, Command]:
    """By name, ours first. Neither writes an access log."""
    return {OURS: event_servers.compared(dsn, state, None)[OURS].command,
            PEER: Command([sys.executable, "-m", "benchmarks.peers.fastapi_api", "{port}", dsn])}


def loads() -> dict[str, list[str]]:
    """Load -> its options."""
    return {**{name: [name] for name in LOADS}, BESIDE: ["one contact", "--beside", "--clients", "1"]}


def measure(server: Server, dsn: str, load: str, o: argparse.Namespace) -> dict[str, Any]:
    """The figures of one stretch; processor times are those between the load's two marks."""
    execute(dsn, "TRUNCATE notes, activities")
    driver = begun(["benchmarks.api_load", str(server.port), "--seconds", str(o.seconds), "--clients", str(o.clients), *loads()[load]])
    trees = {"server us": server.process, "postgres us": postmaster(dsn), "load us": psutil.Process(driver.pid)}
    assert driver.stdout is not None
    marks: list[dict[str, float]] = []
    figures: dict[str, Any] = {}
    for line in driver.stdout:
        if line.strip() == "mark":
            marks.append({name: seconds(tree) for name, tree in trees.items()})
        elif line.startswith("{"):
            figures = json.loads(line)
    if driver.wait() or len(marks) != 2:
        raise SystemExit("the load has failed")
    used = {name: (marks[1][name] - marks[0][name]) / max(1, figures["requests"]) * 1e6 for name in trees}
    return {**figures, **used, "could do": 1e6 / max(used["server us"], used["postgres us"])}


def alike(runs: Runs) -> None:
    """Ends the run if the servers do not answer the same."""
    for load, by_server in runs.items():
        if load not in ALONE:
            ours, theirs = (by_server[name][0]["sample"] for name in (OURS, PEER))
            for sample in (ours, theirs):           # what is another one each time
                sample.get("entity", {}).update(id=0, timestamp=0)
                sample.update(dict.fromkeys(sample.keys() & {"lastSyncTime", "cursor"}))
            if ours != theirs:
                raise SystemExit(f"{load}: the answers differ\n{json.dumps(ours)[:2000]}\n{json.dumps(theirs)[:2000]}")


def report(runs: Runs) -> None:
    """The tables."""
    for load, by_server in runs.items():
        print(f"\n{load:32}", *(f"{column:>11}" for column in SHOWN), f"{'failed':>7}")
        for name, figures in by_server.items():
            middle = [statistics.median(f[column] for f in figures) for column in SHOWN]
            print(f"{name:32}", *(f"{m:11.2f}" if m < 100 else f"{m:11.0f}" for m in middle), f"{sum(f['failed'] for f in figures):7}")
    print("\ninteractd beside the peer, round by round: median (lowest to highest)")
    for load, by_server in runs.items():
        if PEER in by_server:
            pairs = list(zip(by_server[OURS], by_server[PEER]))
            ratios = {column: sorted(a[column] / b[column] for a, b in pairs) for column in ("requests/s", "could do", "server us", "postgres us")}
            said = (f"{column} {statistics.median(r):.2f} ({r[0]:.2f} to {r[-1]:.2f})" for column, r in ratios.items())
            print(f"{load:14}", "   ".join(said))


def driven(dsn: str, state: str, o: argparse.Namespace) -> Runs:
    """Both servers at once, each driven in its turn."""
    runs: Runs = {load: {} for load in o.loads}
    with ExitStack() as running:
        up = {name: running.enter_context(Server(command)) for name, command in commands(dsn, state).items()}
        pin(postmaster(dsn), OTHER_CORE)
        for turn in range(o.rounds):
            for load in o.loads:
                for name in list(up)[::-1] if turn % 2 else list(up):
                    if name == OURS or load not in ALONE:
                        figures = measure(up[name], dsn, load, o)
                        runs[load].setdefault(name, []).append(figures)
                        print(f"round {turn + 1} of {o.rounds}: {load}, {name}: {figures['requests/s']:.0f}/s", file=sys.stderr)
    return runs


def main() -> None:
    """Runs the rounds and prints the tables."""
    options: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=4)
    options.add_argument("--clients", type=int, default=16)
    options.add_argument("--loads", nargs="*", default=list(loads()), choices=list(loads()))
    o = options.parse_args()
    dsn = world()
    execute(dsn, SEED)
    execute(dsn, "VACUUM ANALYZE")
    with tempfile.TemporaryDirectory() as state:
        ring.write(Path(state) / "keys")
        runs = driven(dsn, state, o)
    alike(runs)
    report(runs)


if __name__ == "__main__":
    main()
